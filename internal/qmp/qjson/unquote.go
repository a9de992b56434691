package qjson

import (
	"unicode/utf16"
	"unicode/utf8"
)

// unquote appends the decoding of the string token to the document's text and
// returns what is wrong with it, or "".
func (r *Reader) unquote() string {
	d := r.b.begin()
	if s := r.tok[1 : len(r.tok)-1]; r.plain {
		d.text = append(d.text, s...)
		return ""
	}
	// The closing quote stays at the end of s: no escape reads past it.
	s := r.tok[1:]
	for len(s) > 1 {
		c := s[0]
		switch {
		case c >= 0x80:
			rn, n := decodeRune(s[:len(s)-1])
			if n == 0 {
				return "invalid UTF-8 sequence in string"
			}
			d.text = utf8.AppendRune(d.text, rn)
			s = s[n:]
		case c != '\\':
			d.text = append(d.text, c)
			s = s[1:]
		case s[1] == 'u':
			rn, n := unicodeEscape(s)
			if n == 0 {
				bad := s[2:min(6, len(s))]
				return `\u` + string(bad) + " is not a valid Unicode character"
			}
			d.text = utf8.AppendRune(d.text, rn)
			s = s[n:]
		default:
			c, ok := simpleEscape(s[1])
			if !ok {
				return "invalid escape sequence in string"
			}
			d.text = append(d.text, c)
			s = s[2:]
		}
	}
	return ""
}

func simpleEscape(c byte) (byte, bool) {
	switch c {
	case '"', '\'', '\\', '/':
		return c, true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}

// unicodeEscape decodes a \uXXXX, or two that are a surrogate pair, and returns
// how long it is; 0 when it is none.
func unicodeEscape(s []byte) (rune, int) {
	hi, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(hi) {
		lo, ok := hex4(s[6:])
		if !ok {
			return 0, 0
		}
		// A high surrogate alone decodes to U+FFFD, which no pair encodes.
		if hi = utf16.DecodeRune(hi, lo); hi == utf8.RuneError || noncharacter(hi) {
			return 0, 0
		}
		return hi, 12
	}
	return hi, 6 * boolInt(!noncharacter(hi))
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// hex4 reads \uXXXX.
func hex4(s []byte) (r rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for _, c := range s[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// decodeRune decodes a UTF-8 sequence that does not begin with an ASCII byte.
// U+0000 is written as the two bytes C0 80 ("modified UTF-8"). n is 0 when the
// sequence is invalid or a noncharacter.
func decodeRune(s []byte) (r rune, n int) {
	if len(s) >= 2 && s[0] == 0xc0 && s[1] == 0x80 {
		return 0, 2
	}
	r, n = utf8.DecodeRune(s)
	if r == utf8.RuneError && n <= 1 || noncharacter(r) {
		return 0, 0
	}
	return r, n
}

// noncharacter reports whether Unicode reserves r for internal use.
func noncharacter(r rune) bool {
	return r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe
}
