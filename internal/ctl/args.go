package ctl

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"govmd/internal/option"
	"govmd/internal/qmp/qjson"
)

// node is an argument, or with dotted keys an object or a list of them.
type node struct {
	text string
	json bool // key:=JSON: the text is JSON whatever the type is
	leaf bool
	keys []string // in the order in which they were given
	kids map[string]*node
}

// parseArgs reads arguments in the form key=value, with dotted keys for what is in
// objects ("a.b=1") and lists ("l.0=x"), or key:=JSON.
func parseArgs(args []string) (*node, error) {
	root := &node{}
	for _, arg := range args {
		key, text, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fail(Usage, "expected key=value, not '%s'", arg)
		}
		key, isJSON := strings.CutSuffix(key, ":")
		if err := root.set(key, text, isJSON); err != nil {
			return nil, &Error{Usage, err}
		}
	}
	return root, nil
}

func (n *node) set(key, text string, isJSON bool) error {
	at := n
	for part := range strings.SplitSeq(key, ".") {
		if part == "" {
			return fmt.Errorf("'%s' is no key: a part of it is empty", key)
		}
		if at.leaf {
			return fmt.Errorf("'%s' is given as a value and as an object", key)
		}
		kid := at.kids[part]
		if kid == nil {
			kid = &node{}
			if at.kids == nil {
				at.kids = map[string]*node{}
			}
			at.kids[part] = kid
			at.keys = append(at.keys, part)
		}
		at = kid
	}
	if at.leaf || at.kids != nil {
		return fmt.Errorf("'%s' is given twice", key)
	}
	at.text, at.json, at.leaf = text, isJSON, true
	return nil
}

// isList reports whether the keys are 0, 1, 2 and so on, in any order.
func (n *node) isList() bool {
	for i := range n.keys {
		if n.kids[strconv.Itoa(i)] == nil {
			return false
		}
	}
	return len(n.keys) > 0
}

// encoder turns arguments into JSON of the types that a schema, which may be nil,
// says.
type encoder struct{ schema *schema }

// appendNode appends n as a value of the named type; path names it in errors.
func (e encoder) appendNode(dst []byte, n *node, typ, path string) ([]byte, error) {
	if n.leaf {
		if n.json {
			return appendJSON(dst, n.text, path)
		}
		return e.appendScalar(dst, n.text, typ, path)
	}
	t := e.schema.typ(typ)
	if t.meta == "alternate" {
		want := "object"
		if n.isList() {
			want = "array"
		}
		for _, m := range t.members {
			if k := e.schema.typ(m.typ); k.meta == want {
				return e.appendNode(dst, n, m.typ, path)
			}
		}
	}
	if t.meta == "array" || t.meta != "object" && n.isList() {
		return e.appendList(dst, n, t.element, path)
	}
	return e.appendObject(dst, n, t, path)
}

func (e encoder) appendList(dst []byte, n *node, element, path string) (_ []byte, err error) {
	if !n.isList() {
		return nil, fmt.Errorf("'%s' is a list: its elements are %s.0=, %s.1= and so on", path, path, path)
	}
	dst = append(dst, '[')
	for i := range n.keys {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		key := strconv.Itoa(i)
		if dst, err = e.appendNode(dst, n.kids[key], element, path+"."+key); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

func (e encoder) appendObject(dst []byte, n *node, t *entity, path string) (_ []byte, err error) {
	members := e.schema.membersOf(t, n.tagOf(t))
	dst = append(dst, '{')
	for i, key := range n.keys {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		full := key
		if path != "" {
			full = path + "." + key
		}
		// What the schema does not list (device properties) goes as text, for
		// the machine to judge.
		typ := ""
		if j := slices.IndexFunc(members, func(m member) bool { return m.name == key }); j >= 0 {
			typ = members[j].typ
		}
		dst = append(qjson.AppendString(dst, key), ": "...)
		if dst, err = e.appendNode(dst, n.kids[key], typ, full); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func appendJSON(dst []byte, text, path string) ([]byte, error) {
	out, err := tryJSON(dst, text)
	if err != nil {
		return nil, fmt.Errorf("'%s' is no JSON: %w", path, err)
	}
	return out, nil
}

func tryJSON(dst []byte, text string) ([]byte, error) {
	doc, err := qjson.Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	defer doc.Release()
	return doc.Root().Append(dst), nil
}

// errOther is for a text that is of another type.
var errOther = errors.New("of another type")

func (e encoder) appendScalar(dst []byte, text, typ, path string) ([]byte, error) {
	out, err := e.tryScalar(dst, text, typ)
	if errors.Is(err, errOther) {
		err = fmt.Errorf("'%s' does not take '%s': it is %s", path, text, article(e.schema.describe(typ)))
		if t := e.schema.typ(typ); t.meta == "enum" {
			err = fmt.Errorf("'%s' does not take '%s': it is one of %s%s", path, text, join(t.values, ", "), option.DidYouMean(text, t.values))
		}
	} else if err != nil {
		err = fmt.Errorf("'%s': %w", path, err)
	}
	return out, err
}

// tryScalar appends text as a value of a type, or returns errOther.
func (e encoder) tryScalar(dst []byte, text, typ string) ([]byte, error) {
	t := e.schema.typ(typ)
	kind := t.meta
	if kind == "builtin" {
		kind = t.json
	}
	switch kind {
	case "int":
		if n, err := option.ParseInt(text); err == nil {
			return strconv.AppendInt(dst, n, 10), nil
		}
		if n, err := option.ParseSize(text); err == nil { // 4k, and what is above 2^63
			return strconv.AppendUint(dst, n, 10), nil
		}
		return nil, errOther
	case "number":
		f, err := option.ParseFloat(text)
		if err != nil {
			return nil, errOther
		}
		return qjson.AppendFloat(dst, f), nil
	case "boolean":
		v, err := option.ParseBool(text)
		if text == "1" || text == "0" {
			v, err = text == "1", nil
		}
		if err != nil {
			return nil, errOther
		}
		return qjson.AppendBool(dst, v), nil
	case "null":
		if text != "null" {
			return nil, errOther
		}
		return append(dst, text...), nil
	case "enum":
		if !slices.Contains(t.values, text) {
			return nil, errOther
		}
	case "array", "object":
		open := map[string]string{"array": "[", "object": "{"}[kind]
		if !strings.HasPrefix(strings.TrimSpace(text), open) {
			return nil, errOther
		}
		return tryJSON(dst, text)
	case "value": // anything: JSON where it is JSON
		if out, err := tryJSON(dst, text); err == nil {
			return out, nil
		}
	case "alternate":
		return e.tryAlternate(dst, text, t)
	}
	return qjson.AppendString(dst, text), nil
}

// tryAlternate takes the first branch that fits, a string last: anything is one.
func (e encoder) tryAlternate(dst []byte, text string, t *entity) ([]byte, error) {
	isString := func(m member) bool { return e.schema.typ(m.typ).json == "string" }
	for _, last := range []bool{false, true} {
		for _, m := range e.schema.branches(t) {
			if isString(m) != last {
				continue
			}
			if out, err := e.tryScalar(dst, text, m.typ); err == nil {
				return out, nil
			}
		}
	}
	return nil, errOther
}
