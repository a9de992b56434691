package ctl

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"govmd/internal/qmp/qjson"
)

// clean makes text that came from elsewhere fit for a terminal: control
// characters and what is no UTF-8 are escaped. Line breaks and tabs stay if
// lines is true.
func clean(s string, lines bool) string {
	plain := func(r rune) bool {
		return lines && (r == '\n' || r == '\t') || r != utf8.RuneError && !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case plain(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// scalarText returns a value that is no object or array as people read it.
func scalarText(v qjson.Value) string {
	if v.Kind() == qjson.String {
		return clean(v.Text(), false)
	}
	return string(v.Append(nil))
}

// render returns a result for people: members and elements on lines of their
// own, indented by how deep they are.
func render(v qjson.Value) string {
	var b strings.Builder
	switch v.Kind() {
	case qjson.Object, qjson.Array:
		renderInto(&b, v, "", "")
	case qjson.String: // of the human monitor: text of several lines
		text := clean(strings.ReplaceAll(v.Text(), "\r\n", "\n"), true)
		b.WriteString(text)
		if text != "" && !strings.HasSuffix(text, "\n") {
			b.WriteByte('\n')
		}
	default:
		b.WriteString(scalarText(v) + "\n")
	}
	return b.String()
}

// renderInto writes the members or elements of v. The first line begins with
// first, all others with indent.
func renderInto(b *strings.Builder, v qjson.Value, first, indent string) {
	isArray := v.Kind() == qjson.Array
	for m := v.First(); m.Exists(); m = m.Next() {
		b.WriteString(first)
		first = indent
		label := "- "
		if !isArray {
			label = clean(string(m.Key()), false) + ":"
		}
		switch {
		case m.First().Exists() && isArray:
			renderInto(b, m, label, indent+"  ")
		case m.First().Exists():
			b.WriteString(label + "\n")
			renderInto(b, m, indent+"  ", indent+"  ")
		case isArray:
			b.WriteString(label + scalarText(m) + "\n")
		default:
			b.WriteString(strings.TrimRight(label+" "+scalarText(m), " ") + "\n")
		}
	}
}

// flatten returns an object on one line, in the form in which arguments are given.
func flatten(v qjson.Value) string {
	var words []string
	var walk func(v qjson.Value, path string)
	walk = func(v qjson.Value, path string) {
		if !v.First().Exists() {
			if path != "" {
				words = append(words, path+"="+scalarText(v))
			}
			return
		}
		i := 0
		for m := v.First(); m.Exists(); m = m.Next() {
			key := clean(string(m.Key()), false)
			if v.Kind() == qjson.Array {
				key = strconv.Itoa(i)
			}
			if path != "" {
				key = path + "." + key
			}
			walk(m, key)
			i++
		}
	}
	walk(v, "")
	return strings.Join(words, " ")
}

func join(words []string, sep string) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = clean(w, false)
	}
	return strings.Join(all, sep)
}

// article puts a or an before a word.
func article(word string) string {
	if word != "" && strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}
