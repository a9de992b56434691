package option

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Section is one section of a configuration file: an option of a group, with an
// id or without.
//
//	[drive "disk0"]
//	  file = "disk.img"
type Section struct {
	Group string
	ID    string // "" for none
	Line  int    // where it begins, from 1
	List  List   // without the id
}

// maxConfigLine bounds a line of a configuration file, in bytes.
const maxConfigLine = 64 << 10

// ParseConfig reads a configuration file as -readconfig takes it. Its errors
// begin with "name:line: ".
func ParseConfig(name string, r io.Reader) ([]Section, error) {
	var sections []Section
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxConfigLine)
	n := 0
	for lines.Scan() {
		n++
		fail := func(text string) ([]Section, error) { return nil, fmt.Errorf("%s:%d: %s", name, n, text) }
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			s, ok := header(line[1:])
			if !ok {
				return fail("parse error")
			}
			s.Line = n
			if s.ID != "" {
				if err := CheckID("id", s.ID); err != nil {
					return fail(err.Error())
				}
			}
			sections = append(sections, s)
		default:
			it, ok := assignment(line)
			switch {
			case !ok:
				return fail("parse error")
			case len(sections) == 0:
				return fail("no group defined")
			}
			s := &sections[len(sections)-1]
			s.List = append(s.List, it)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s:%d: the line is longer than %d bytes", name, n+1, maxConfigLine)
	case err != nil:
		return nil, fmt.Errorf("Cannot read config file %s: %w", name, err)
	}
	return sections, nil
}

// header reads what follows the bracket of [group] or [group "id"].
func header(text string) (s Section, ok bool) {
	text, ok = strings.CutSuffix(text, "]")
	if !ok {
		return s, false
	}
	group, id, quoted := strings.Cut(strings.TrimSpace(text), "\"")
	s.Group = strings.TrimSpace(group)
	if quoted {
		if s.ID, ok = strings.CutSuffix(id, "\""); !ok || s.ID == "" || strings.Contains(s.ID, "\"") {
			return s, false
		}
	}
	return s, s.Group != "" && !strings.ContainsAny(s.Group, " \t]")
}

// assignment reads key = "value", which a comment may follow. A value has no
// quotation mark in it.
func assignment(line string) (it Item, ok bool) {
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return it, false
	}
	it.Key = strings.TrimSpace(key)
	value, ok = strings.CutPrefix(strings.TrimSpace(value), "\"")
	if !ok {
		return it, false
	}
	var rest string
	it.Value, rest, ok = strings.Cut(value, "\"")
	rest = strings.TrimSpace(rest)
	return it, ok && (rest == "" || rest[0] == '#') && it.Key != "" && !strings.ContainsAny(it.Key, " \t\",")
}
