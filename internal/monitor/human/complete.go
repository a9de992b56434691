package human

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"govmd/internal/qmp"
)

// maxCandidates bounds how many completions are looked at.
const maxCandidates = 4096

// lastWord returns the word that a line ends with; "" after a blank.
func lastWord(line string) string {
	return line[strings.LastIndexFunc(line, func(r rune) bool { return r < 0x80 && isSpace(byte(r)) })+1:]
}

// candidates returns those of list that begin with word, sorted, each once.
func candidates(list []string, word string) []string {
	var found []string
	for _, s := range list {
		if s != "" && strings.HasPrefix(s, word) {
			found = append(found, s)
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return found[:min(len(found), maxCandidates)]
}

// common returns what all of a sorted list begin with.
func common(list []string) string {
	first, last := list[0], list[len(list)-1]
	n := 0
	for n < min(len(first), len(last)) && first[n] == last[n] {
		n++
	}
	return first[:n]
}

// columns shows a list on a terminal of 80 columns.
func columns(list []string) string {
	const screen = 80
	width := 0
	for _, s := range list {
		width = max(width, len(s))
	}
	width = min(max(width+2, 10), screen)
	each := screen / width
	var b strings.Builder
	for i, s := range list {
		fmt.Fprintf(&b, "%-*s", width, s)
		if (i+1)%each == 0 || i == len(list)-1 {
			b.WriteString("\r\n")
		}
	}
	return b.String()
}

// completions returns what the last word of a line can become.
func (m *Monitor) completions(ctx *qmp.Context, line string) []string {
	list := words(line)
	if lastWord(line) == "" {
		list = append(list, "")
	}
	return m.completeIn(ctx, m.cfg.Commands, list)
}

func (m *Monitor) completeIn(ctx *qmp.Context, in *qmp.HumanRegistry, list []string) []string {
	if len(list) == 0 {
		return nil
	}
	if len(list) == 1 {
		return in.Names()
	}
	cmd := in.Lookup(list[0])
	switch {
	case cmd == nil:
		return nil
	case cmd.Sub != nil:
		return m.completeIn(ctx, cmd.Sub, list[1:])
	case cmd.Complete != nil:
		var found []string
		// Where the lane has ended there is nothing to complete.
		_ = m.cfg.Lane.Do(ctx, func() { found = cmd.Complete(ctx, list) })
		return found
	case in == m.cfg.Commands && cmd == in.Lookup("help"):
		return m.completeIn(ctx, in, list[1:])
	}
	if a := argumentAt(cmd, list[1:]); a != nil && a.kind == 'F' {
		return m.cfg.Files(list[len(list)-1])
	}
	return nil
}

// argumentAt returns which argument the last of the words is.
func argumentAt(cmd *qmp.HumanCommand, list []string) *argSpec {
	specs := argSpecs(cmd.Args)
	at := 0
	skipFlags := func() {
		for at < len(specs) && (specs[at].kind == '-' || specs[at].kind == '/') {
			at++
		}
	}
	skipFlags()
	for _, w := range list[:len(list)-1] {
		if strings.HasPrefix(w, "-") {
			continue
		}
		at++
		skipFlags()
	}
	if at < len(specs) {
		return &specs[at]
	}
	return nil
}

// hostFiles returns the names of the host's files that begin with prefix.
func hostFiles(prefix string) []string {
	dir := prefix[:strings.LastIndexByte(prefix, '/')+1]
	f, err := os.Open(cmp.Or(dir, "."))
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, _ := f.ReadDir(maxCandidates) // what could be read
	var found []string
	for _, e := range entries {
		name := dir + e.Name()
		if !strings.HasPrefix(name, prefix) || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			continue // what no line can hold, or no terminal shall be sent
		}
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			name += "/"
		}
		found = append(found, name)
	}
	return found
}
