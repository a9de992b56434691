package ctl

import (
	"os"
	"strings"
	"time"
)

// completionTime is how long a machine may take to say what there is: somebody
// waits at the keyboard.
const completionTime = 2 * time.Second

// printCompletions prints what the last of the words can be, one a line. What
// takes more after it ends with "=" or ".". Without an answer it prints nothing.
func (p *program) printCompletions(words []string) error {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	var out strings.Builder
	for _, c := range p.candidates(words[:len(words)-1], last) {
		if strings.HasPrefix(c, last) && !strings.ContainsFunc(c, notPlain) {
			out.WriteString(c + "\n")
		}
	}
	return p.print(out.String())
}

// notPlain finds characters that a shell or terminal would take for something else.
func notPlain(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("'\"\\`$&;|<>()*?!#", r)
}

func (p *program) candidates(before []string, last string) []string {
	if n := len(before); n > 0 {
		for _, d := range optionDefs {
			if d.arg != "" && d.name == before[n-1] {
				return p.optionValues(d.name, before)
			}
		}
	}
	words, err := p.parseOptions(before)
	if err != nil {
		return nil
	}
	if strings.HasPrefix(last, "-") {
		return optionNames(words)
	}
	if len(words) == 0 {
		return append(p.machines(), "list")
	}
	if len(words) == 1 {
		names := verbNames()
		if s := p.remoteSchema(words[0]); s != nil {
			names = append(names, sortedKeys(s.commands)...)
		}
		return names
	}
	s := p.remoteSchema(words[0])
	if s == nil {
		return nil
	}
	switch v := findVerb(words[1]); {
	case v != nil && v.name == "events":
		return sortedKeys(s.events)
	case v != nil && v.name == "help" && len(words) == 2:
		return sortedKeys(s.commands)
	case v != nil || s.commands[words[1]] == nil:
		return nil
	}
	return s.argCandidates(s.commands[words[1]].arg, words[2:], last)
}

func optionNames(words []string) []string {
	var names []string
	for _, d := range optionDefs {
		if !d.verb {
			names = append(names, d.name)
		}
	}
	if len(words) > 1 {
		if v := findVerb(words[1]); v != nil {
			names = append(names, v.options...)
		}
	}
	return names
}

func (p *program) optionValues(name string, before []string) []string {
	if name != "--chardev" {
		return nil
	}
	words, err := p.parseOptions(before[:len(before)-1])
	if err != nil || len(words) == 0 {
		return nil
	}
	c := p.remote(words[0])
	if c == nil {
		return nil
	}
	defer c.Close()
	list, err := c.Execute("query-chardev", nil)
	if err != nil {
		return nil
	}
	var labels []string
	for v := list.First(); v.Exists(); v = v.Next() {
		labels = append(labels, v.Get("label").Text())
	}
	return labels
}

func (p *program) remote(name string) *Client {
	path, err := p.resolve(name)
	if err != nil {
		return nil
	}
	c, err := Dial(path, time.Now().Add(completionTime))
	if err != nil {
		return nil
	}
	return c
}

func (p *program) remoteSchema(name string) *schema {
	c := p.remote(name)
	if c == nil {
		return nil
	}
	defer c.Close()
	s, err := c.schema()
	if err != nil {
		return nil
	}
	return s
}

// argCandidates returns what last, an argument of type typ, can become. given are
// the arguments before it.
func (s *schema) argCandidates(typ string, given []string, last string) []string {
	root, err := parseArgs(given)
	if err != nil {
		return nil
	}
	key, value, isValue := strings.Cut(last, "=")
	parts := strings.Split(key, ".")
	if isValue {
		t := s.walk(typ, root, parts)
		return prefixed(key+"=", s.values(t, value))
	}
	open := parts[:len(parts)-1]
	t := s.branch(s.walk(typ, root, open))
	at := root.at(open)
	prefix := ""
	if len(open) > 0 {
		prefix = strings.Join(open, ".") + "."
	}
	var names []string
	for _, m := range s.membersOf(t, at.tagOf(t)) {
		if at != nil && at.kids[m.name] != nil && at.kids[m.name].leaf {
			continue // there already
		}
		end := "="
		switch k := s.typ(m.typ); {
		case k.meta == "object":
			end = "."
		case k.meta == "array":
			end = ".0="
			if s.typ(k.element).meta == "object" {
				end = ".0."
			}
		}
		names = append(names, prefix+m.name+end)
	}
	return names
}

// branch returns a type, or of an alternate the one that has members or elements.
func (s *schema) branch(name string) *entity {
	t := s.typ(name)
	if t.meta != "alternate" {
		return t
	}
	for _, m := range t.members {
		if k := s.typ(m.typ); k.meta == "object" || k.meta == "array" {
			return k
		}
	}
	return t
}

// walk returns the type that a path of keys leads to.
func (s *schema) walk(typ string, n *node, path []string) string {
	for _, part := range path {
		t := s.branch(typ)
		next := ""
		if t.meta == "array" {
			next = t.element
		} else {
			for _, m := range s.membersOf(t, n.tagOf(t)) {
				if m.name == part {
					next = m.typ
				}
			}
		}
		typ = next
		n = n.at([]string{part})
	}
	return typ
}

// at returns the node under a path, nil where there is none.
func (n *node) at(path []string) *node {
	for _, part := range path {
		if n == nil {
			return nil
		}
		n = n.kids[part]
	}
	return n
}

// tagOf returns what n, as an object of type t, gives its tag for.
func (n *node) tagOf(t *entity) string {
	if n != nil && n.kids[t.tag] != nil {
		return n.kids[t.tag].text
	}
	return ""
}

// values returns what a value of a type can be; files where anything can.
func (s *schema) values(typ, begun string) []string {
	switch t := s.typ(typ); {
	case t.meta == "enum":
		return t.values
	case t.json == "boolean":
		return []string{"on", "off"}
	case t.json == "string":
		return fileNames(begun)
	case t.meta == "alternate":
		var all []string
		for _, m := range s.branches(t) {
			all = append(all, s.values(m.typ, begun)...)
		}
		return all
	}
	return nil
}

// fileNames returns the files whose names begin so, if a path is being typed.
func fileNames(begun string) []string {
	slash := strings.LastIndexByte(begun, '/')
	if slash < 0 {
		return nil
	}
	dir := begun[:slash+1]
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		name := dir + e.Name()
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	return names
}

func prefixed(prefix string, words []string) []string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = prefix + w
	}
	return all
}
