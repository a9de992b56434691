package qjson

import (
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// AppendString appends s as a JSON string in ASCII: everything else is escaped,
// and a byte that is not UTF-8 becomes U+FFFD.
func AppendString[S []byte | string](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		if c < 0x80 {
			dst = appendEscape(dst, c)
			i++
		} else {
			var seq [utf8.UTFMax]byte
			r, n := utf8.DecodeRune(seq[:copy(seq[:], s[i:])])
			if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
				dst = appendUnicode(appendUnicode(dst, r1), r2)
			} else {
				dst = appendUnicode(dst, r)
			}
			i += n
		}
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return appendUnicode(dst, rune(c))
}

func appendUnicode(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// AppendFloat appends f with 17 significant digits. JSON has no infinities: they
// are written as numbers that read back as such; NaN becomes null.
func AppendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "null"...)
	case math.IsInf(f, 1):
		return append(dst, "1e+999"...)
	case math.IsInf(f, -1):
		return append(dst, "-1e+999"...)
	}
	return strconv.AppendFloat(dst, f, 'g', 17, 64)
}

// AppendBool appends true or false.
func AppendBool(dst []byte, v bool) []byte { return strconv.AppendBool(dst, v) }

// Append appends v on one line, with a space after each comma and colon.
func (v Value) Append(dst []byte) []byte {
	switch v.Kind() {
	case Bool:
		return AppendBool(dst, v.Bool())
	case Int:
		n, _ := v.Int()
		return strconv.AppendInt(dst, n, 10)
	case Uint:
		n, _ := v.Uint()
		return strconv.AppendUint(dst, n, 10)
	case Float:
		f, _ := v.Float()
		return AppendFloat(dst, f)
	case String:
		return AppendString(dst, v.Bytes())
	case Array:
		dst = append(dst, '[')
		for e := v.First(); e.Exists(); e = e.Next() {
			dst = e.Append(dst)
			if e.doc.nodes[e.i].next != 0 {
				dst = append(dst, ", "...)
			}
		}
		return append(dst, ']')
	case Object:
		dst = append(dst, '{')
		for m := v.First(); m.Exists(); m = m.Next() {
			dst = AppendString(dst, m.Key())
			dst = m.Append(append(dst, ": "...))
			if m.doc.nodes[m.i].next != 0 {
				dst = append(dst, ", "...)
			}
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

// AppendPretty appends src, which is what this package wrote on one line, with
// each element and member on a line of its own, indented by four spaces.
func AppendPretty(dst, src []byte) []byte {
	depth := 0
	newline := func() {
		dst = append(dst, '\n')
		for range depth {
			dst = append(dst, "    "...)
		}
	}
	for i := 0; i < len(src); i++ {
		switch c := src[i]; c {
		case '"':
			j := i + 1
			for j < len(src) && src[j] != '"' {
				if src[j] == '\\' {
					j++
				}
				j++
			}
			j = min(j+1, len(src))
			dst = append(dst, src[i:j]...)
			i = j - 1
		case '{', '[':
			dst = append(dst, c)
			depth++
			if i+1 < len(src) && src[i+1] != c+2 { // "}" and "]" are two after "{" and "["
				newline()
			}
		case '}', ']':
			depth--
			newline()
			dst = append(dst, c)
		case ',':
			dst = append(dst, c)
			newline()
			if i+1 < len(src) && src[i+1] == ' ' {
				i++
			}
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
