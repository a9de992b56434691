package human

import (
	"fmt"
	"io"
	"strings"

	"govmd/internal/qmp"
)

// maxLine bounds a line, however it comes.
const maxLine = 4095

// say writes to somebody who may have gone.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }

// call is a command with its arguments.
type call struct {
	cmd  *qmp.HumanCommand // nil for an empty line
	args qmp.HumanArgs
}

// read finds the command of a line and reads its arguments. An error is in the
// words that are to be shown.
func (m *Monitor) read(ctx *qmp.Context, line string, out io.Writer) (*call, error) {
	t := &text{s: line, register: func(name string) (int64, error) { return m.register(ctx.CPU(), name) }}
	cmd, name, err := t.command(m.cfg.Commands)
	if cmd == nil || err != nil {
		return &call{}, err
	}
	args, err := t.arguments(cmd, &m.format, out)
	if err != nil {
		return nil, fmt.Errorf("%w\nTry \"help %s\" for more information", err, name)
	}
	return &call{cmd, args}, nil
}

// command reads a command's name and returns it with the name as it was written.
// It returns nil when there is none.
func (t *text) command(in *qmp.HumanRegistry) (*qmp.HumanCommand, string, error) {
	t.skipSpace()
	start := t.pos
	var cmd *qmp.HumanCommand
	name := ""
	for {
		word := t.commandWord()
		if word == "" {
			return cmd, name, nil
		}
		name = t.s[start:t.pos]
		if cmd = in.Lookup(word); cmd == nil {
			return nil, "", fmt.Errorf("unknown command: '%s'", name)
		}
		t.skipSpace()
		if cmd.Sub == nil {
			return cmd, name, nil
		}
		in = cmd.Sub
	}
}

// commandWord reads a word of a command's name, which ends where a format begins.
func (t *text) commandWord() string {
	start := t.pos
	for c := t.peek(); !t.end() && c != '/' && !isSpace(c); c = t.peek() {
		t.pos++
	}
	return t.s[start:t.pos]
}

func (m *Monitor) register(cpu int, name string) (int64, error) {
	if m.cfg.Register == nil {
		return 0, errNoRegister
	}
	v, known, err := m.cfg.Register(cpu, name)
	if err == nil && !known {
		err = errNoRegister
	}
	return v, err
}

// maxWords is how many words of a line are looked at to complete it or to help.
const maxWords = 20

// words cuts a line into words, as far as it is well-formed.
func words(line string) (list []string) {
	t := &text{s: line}
	for len(list) < maxWords {
		w, ok := t.word(io.Discard)
		if !ok {
			break
		}
		list = append(list, w)
	}
	return list
}

// clean returns a line as it can be carried out.
func clean(line string) string {
	return strings.ReplaceAll(line[:min(len(line), maxLine)], "\x00", "")
}
