package option

import (
	"fmt"
	"strconv"
	"strings"

	"govmd/internal/qmp/qjson"
)

// Limits of dotted keys.
const (
	maxKeyPart  = 127 // bytes in a part of a key
	maxKeyParts = 64  // parts in a key
	maxKeyTotal = 1 << 20
)

// Keyval is an option read by ParseKeyval or ParseValue.
type Keyval struct {
	// Doc holds an Object. Read from key=value text, each of its leaves is a
	// String; the decoder that takes it converts them.
	Doc  *qjson.Doc
	JSON bool // the option was JSON: its values have their own types
	Help bool // a bare "help" or "?" was among the items
}

// ParseValue reads an option that is either JSON (it begins with a brace) or
// key=value text.
func ParseValue(text, implied string) (Keyval, error) {
	if !strings.HasPrefix(text, "{") {
		return ParseKeyval(text, implied)
	}
	doc, err := qjson.Parse([]byte(text))
	if err != nil {
		return Keyval{}, err
	}
	return Keyval{Doc: doc, JSON: true}, nil
}

// part is a node of the tree that dotted keys make.
type part struct {
	name     string
	value    string
	children []*part
	index    map[string]*part // of children, when there are many
	branch   bool             // has children
}

const manyChildren = 16

func (p *part) child(name string) *part {
	if p.index != nil {
		return p.index[name]
	}
	for _, c := range p.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (p *part) add(name string) *part {
	c := &part{name: name}
	p.children = append(p.children, c)
	p.branch = true
	if p.index != nil {
		p.index[name] = c
	} else if len(p.children) > manyChildren {
		p.index = make(map[string]*part)
		for _, c := range p.children {
			p.index[c.name] = c
		}
	}
	return c
}

// ParseKeyval reads key=value text with dotted keys: "a.b=1" is the object
// {"a": {"b": "1"}} and "l.0=x,l.1=y" the object {"l": ["x", "y"]}. A comma
// within a value is doubled. Of a key that is given twice the last one counts.
// When implied is not empty and the first item has no "=", it is the value of
// the key implied.
func ParseKeyval(text, implied string) (Keyval, error) {
	var kv Keyval
	root := &part{branch: true}
	total := 0
	for first := true; text != ""; first = false {
		key, val, rest, help, err := keyvalItem(text, first, implied)
		if err != nil {
			return Keyval{}, err
		}
		if total += len(text) - len(rest); total > maxKeyTotal {
			return Keyval{}, fmt.Errorf("option is longer than %d bytes", maxKeyTotal)
		}
		text = rest
		if help {
			kv.Help = true
			continue
		}
		if err := root.set(key, val); err != nil {
			return Keyval{}, err
		}
	}
	var b qjson.Builder
	if err := root.build(&b, ""); err != nil {
		return Keyval{}, err
	}
	kv.Doc = b.Finish()
	return kv, nil
}

// keyvalItem takes the first item off text.
func keyvalItem(text string, first bool, implied string) (key, val, rest string, help bool, err error) {
	end := strings.IndexAny(text, "=,")
	word := text
	if end >= 0 {
		word = text[:end]
	}
	if end >= 0 && text[end] == '=' {
		key = word
		val, rest = value(text[end+1:])
		return key, val, rest, false, nil
	}
	if IsHelp(word) {
		if end >= 0 {
			rest = text[end+1:]
		}
		return "", "", rest, true, nil
	}
	if first && implied != "" && word != "" {
		val, rest = value(text)
		return implied, val, rest, false, nil
	}
	if word == "" {
		return "", "", "", false, &KeyError{Key: ""}
	}
	return "", "", "", false, &ValueError{word, "Expected '=' after parameter '" + word + "'"}
}

// set stores val under a dotted key.
func (p *part) set(key, val string) error {
	rest := key
	for n := 1; ; n++ {
		name, tail, more := strings.Cut(rest, ".")
		if len(name) > maxKeyPart || n > maxKeyParts {
			return &ValueError{key, "Parameter '" + key + "' is too long"}
		}
		if !validPart(name, n == 1) {
			return &KeyError{Key: key}
		}
		c := p.child(name)
		if c == nil {
			c = p.add(name)
			if !more {
				c.value = val
				return nil
			}
			c.branch = true
		}
		if c.branch != more {
			prefix := key
			if more {
				prefix = strings.TrimSuffix(key, "."+tail)
			}
			return inconsistent(prefix)
		}
		if !more {
			c.value = val
			return nil
		}
		p, rest = c, tail
	}
}

func inconsistent(prefix string) error {
	return &ValueError{prefix, "Parameters '" + prefix + ".*' used inconsistently"}
}

// validPart reports whether s can be part of a key: letters, digits, '-' and
// '_' after a letter, or, except in the first place, a number.
func validPart(s string, first bool) bool {
	if s == "" {
		return false
	}
	if digitsLen(s) == len(s) {
		return !first
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c != '-' && c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

// build turns the tree into a value: parts whose children are all numbers
// become arrays.
func (p *part) build(b *qjson.Builder, path string) error {
	if !p.branch {
		b.String([]byte(p.value))
		return nil
	}
	numbers := 0
	for _, c := range p.children {
		if digitsLen(c.name) == len(c.name) {
			numbers++
		}
	}
	join := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	switch {
	case numbers == 0:
		b.Begin(qjson.Object)
		for _, c := range p.children {
			b.Key([]byte(c.name))
			if err := c.build(b, join(c.name)); err != nil {
				return err
			}
		}
	case numbers < len(p.children):
		return inconsistent(path)
	default:
		elems := make([]*part, len(p.children))
		for _, c := range p.children {
			i, err := strconv.ParseUint(c.name, 10, 32)
			if err == nil && i < uint64(len(elems)) && elems[i] == nil {
				elems[i] = c
			}
		}
		b.Begin(qjson.Array)
		for i, c := range elems {
			if c == nil {
				missing := join(strconv.Itoa(i))
				return &ValueError{missing, "Parameter '" + missing + "' missing"}
			}
			if err := c.build(b, join(c.name)); err != nil {
				return err
			}
		}
	}
	b.End()
	return nil
}
