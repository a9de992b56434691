package option

import "strings"

// Item is one key=value of a list. A bare word is one too: "foo" is foo=on and
// "nofoo" is foo=off; Short marks it.
type Item struct {
	Key, Value string
	Short      bool
}

// List is an option in its classic form, in the order in which it was given. A
// key can occur more than once; mostly the last one counts.
type List []Item

// Parse cuts an option into its items. A comma within a value is doubled. When
// implied is not empty and the first item has no "=", it is the value of the key
// implied. Nothing is unknown to Parse: a Schema checks.
func Parse(text, implied string) List {
	var list List
	for first := true; text != ""; first = false {
		end := strings.IndexAny(text, "=,")
		var it Item
		switch {
		case end >= 0 && text[end] == '=':
			it.Key = text[:end]
			it.Value, text = value(text[end+1:])
		case first && implied != "":
			it.Key = implied
			it.Value, text = value(text)
		default:
			word := text
			if end >= 0 {
				word, text = text[:end], text[end+1:]
			} else {
				text = ""
			}
			it = Item{word, "on", true}
			if strings.HasPrefix(word, "no") {
				it.Key, it.Value = word[2:], "off"
			}
		}
		list = append(list, it)
	}
	return list
}

// value takes a value, in which commas are doubled, and the comma after it off s.
func value(s string) (v, rest string) {
	end := strings.IndexByte(s, ',')
	if end < 0 {
		return s, ""
	}
	if end+1 >= len(s) || s[end+1] != ',' { // the usual case: no comma in it
		return s[:end], s[end+1:]
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, ',')
		if i < 0 {
			b.WriteString(s)
			return b.String(), ""
		}
		b.WriteString(s[:i])
		if i+1 >= len(s) || s[i+1] != ',' {
			return b.String(), s[i+1:]
		}
		b.WriteByte(',')
		s = s[i+2:]
	}
}

// IsHelp reports whether s asks for help: "help" or "?".
func IsHelp(s string) bool { return s == "help" || s == "?" }

// Help reports whether one of the bare words asks for help.
func (l List) Help() bool {
	for _, it := range l {
		if it.Short && IsHelp(it.Key) {
			return true
		}
	}
	return false
}

// Get returns the value of key; the last one when there are several.
func (l List) Get(key string) (value string, ok bool) {
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].Key == key {
			return l[i].Value, true
		}
	}
	return "", false
}

// Without returns the items whose keys are none of keys.
func (l List) Without(keys ...string) List {
	var out List
next:
	for _, it := range l {
		for _, k := range keys {
			if it.Key == k {
				continue next
			}
		}
		out = append(out, it)
	}
	return out
}

// Warnings returns what is to be said about bare words that stand for booleans.
func (l List) Warnings() []string {
	var out []string
	for _, it := range l {
		if !it.Short || IsHelp(it.Key) {
			continue
		}
		word := it.Key
		if it.Value == "off" {
			word = "no" + word
		}
		out = append(out, "short-form boolean option '"+word+"' deprecated\nPlease use "+it.Key+"="+it.Value+" instead")
	}
	return out
}

// String returns the option's text, which Parse reads back as the same list.
func (l List) String() string {
	var b strings.Builder
	for i, it := range l {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(it.Key)
		b.WriteByte('=')
		b.WriteString(strings.ReplaceAll(it.Value, ",", ",,"))
	}
	return b.String()
}

// ValidID reports whether s can be the id of something: letters, digits, '-',
// '.' and '_', starting with a letter.
func ValidID(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		other := '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return s != ""
}

// CheckID returns an error when s cannot be an id; name is the parameter's.
func CheckID(name, s string) error {
	if ValidID(s) {
		return nil
	}
	return &ValueError{Key: name, Text: "Parameter '" + name + "' expects an identifier\n" +
		"Identifiers consist of letters, digits, '-', '.', '_', starting with a letter."}
}

// ValueError is a value that its key does not take.
type ValueError struct {
	Key  string
	Text string
}

func (e *ValueError) Error() string { return e.Text }
