package human

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	"govmd/internal/option"
	"govmd/internal/qmp"
)

// format is the last part of "x/4xw": how many, as what, how many bytes each.
type format struct {
	count  int64
	letter byte
	size   int64 // -1 for instructions
}

// lastFormat is what a format's letters were last, which they are until told otherwise.
type lastFormat struct {
	mu     sync.Mutex
	letter byte
	size   int64
}

// resolve completes f, and remembers it.
func (l *lastFormat) resolve(f *format, given bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.letter == 0 {
		l.letter, l.size = 'x', 4
	}
	if f.letter == 0 {
		f.letter = l.letter
	}
	switch {
	case f.letter == 'i':
		f.size = -1
	case f.size == 0:
		f.size = l.size
	}
	if !given {
		return
	}
	l.letter = f.letter
	if f.size > 0 {
		l.size = f.size
	}
}

// argSpec is one argument of a command, from HumanCommand.Args.
type argSpec struct {
	name     string
	kind     byte   // as there; '-' for flags
	flag     byte   // a flag's letter
	value    bool   // a flag is followed by a word
	optional bool   // may be missing
	dotted   bool   // is there when a dot comes before it
	all      string // the letters of all flags
}

// argSpecs reads a description of arguments. It panics when that is malformed: a
// mistake in the program.
func argSpecs(args string) []argSpec {
	if args == "" {
		return nil
	}
	var list []argSpec
	flags := ""
	for _, part := range strings.Split(args, ",") {
		name, kind, ok := strings.Cut(part, ":")
		a := argSpec{name: name}
		kind, a.optional = strings.CutSuffix(kind, "?")
		kind, a.dotted = strings.CutSuffix(kind, ".")
		switch {
		case !ok || kind == "":
			panic("human: malformed argument " + part)
		case kind[0] == '-' && len(kind) > 1:
			a.flag, a.value = kind[1], kind[2:] == "s"
			flags += string(a.flag)
		case len(kind) != 1 || !strings.Contains("sBFSOliMoTb/", kind):
			panic("human: malformed argument " + part)
		}
		a.kind = kind[0]
		list = append(list, a)
	}
	for i := range list {
		list[i].all = flags
	}
	return list
}

// arguments reads the arguments of cmd, which called it name. What there is to
// say of single words goes to out.
func (t *text) arguments(cmd *qmp.HumanCommand, last *lastFormat, out io.Writer) (qmp.HumanArgs, error) {
	args := qmp.HumanArgs{}
	for _, a := range argSpecs(cmd.Args) {
		if err := t.argument(cmd.Name, &a, args, last, out); err != nil {
			return nil, err
		}
	}
	t.skipSpace()
	if !t.end() {
		return nil, fmt.Errorf("%s: extraneous characters at the end of line", cmd.Name)
	}
	return args, nil
}

func (t *text) argument(cmd string, a *argSpec, args qmp.HumanArgs, last *lastFormat, out io.Writer) error {
	t.skipSpace()
	if a.optional && t.end() {
		return nil
	}
	if a.dotted {
		if t.peek() != '.' {
			return nil
		}
		t.pos++
		t.skipSpace()
	}
	switch a.kind {
	case 's', 'B', 'F':
		return t.wordArgument(cmd, a, args, out)
	case 'O':
		word, _ := t.word(out)
		args[a.name] = word
	case 'S':
		if t.end() {
			return fmt.Errorf("%s: string expected", cmd)
		}
		args[a.name] = t.s[t.pos:]
		t.pos = len(t.s)
	case '/':
		return t.format(args, last)
	case 'i', 'l', 'M':
		v, err := t.expr()
		switch {
		case err != nil:
			return err
		case a.kind == 'i' && v>>32 != 0:
			return fmt.Errorf("'%s' has failed: integer is for 32-bit values", cmd)
		case a.kind == 'M' && v < 0:
			return errors.New("enter a positive value")
		case a.kind == 'M':
			v <<= 20
		}
		args[a.name] = v
	case 'o':
		return t.size(a.name, args)
	case 'T':
		return t.time(a.name, args)
	case 'b':
		return t.onOff(a.name, args)
	case '-':
		return t.flag(cmd, a, args, out)
	}
	return nil
}

func (t *text) wordArgument(cmd string, a *argSpec, args qmp.HumanArgs, out io.Writer) error {
	word, ok := t.word(out)
	if ok {
		args[a.name] = word
		return nil
	}
	what := map[byte]string{'s': "string", 'B': "block device name", 'F': "filename"}
	return fmt.Errorf("%s: %s expected", cmd, what[a.kind])
}

// word reads a word, which can be in quotation marks. It reports false when there
// is none or, having said so, when it is malformed.
func (t *text) word(out io.Writer) (string, bool) {
	t.skipSpace()
	if t.end() {
		return "", false
	}
	if t.peek() != '"' {
		start := t.pos
		for !t.end() && !isSpace(t.peek()) {
			t.pos++
		}
		return t.s[start:t.pos], true
	}
	var b strings.Builder
	for t.pos++; !t.end(); t.pos++ {
		c := t.peek()
		switch c {
		case '"':
			t.pos++
			return b.String(), true
		case '\\':
			t.pos++
			switch c = t.peek(); c {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case '\\', '\'', '"':
			default:
				fmt.Fprintf(out, "unsupported escape code: '\\%c'\n", c)
				return "", false
			}
		}
		b.WriteByte(c)
	}
	fmt.Fprintln(out, "unterminated string")
	return "", false
}

// format reads a format, if there is one.
func (t *text) format(args qmp.HumanArgs, last *lastFormat) error {
	f := format{count: 1}
	given := t.peek() == '/'
	if given {
		t.pos++
		start := t.pos
		for digit(t.peek()) < 10 {
			t.pos++
		}
		if start < t.pos {
			n, err := strconv.ParseInt(t.s[start:t.pos], 10, 64)
			if err != nil {
				return errors.New("number too large")
			}
			f.count = n
		}
		for ; !t.end() && !isSpace(t.peek()); t.pos++ {
			switch c := t.peek(); c {
			case 'o', 'd', 'u', 'x', 'i', 'c':
				f.letter = c
			case 'b':
				f.size = 1
			case 'h':
				f.size = 2
			case 'w':
				f.size = 4
			case 'g', 'L':
				f.size = 8
			default:
				return fmt.Errorf("invalid char in format: '%c'", c)
			}
		}
	}
	last.resolve(&f, given)
	args["count"], args["format"], args["size"] = f.count, int64(f.letter), f.size
	return nil
}

// size reads a size, in MiB unless it has a suffix.
func (t *text) size(name string, args qmp.HumanArgs) error {
	end := t.pos
	for end < len(t.s) && (isWord(t.s[end]) || t.s[end] == '.') {
		end++
	}
	// The longest part that is a size: what follows it is somebody else's.
	for ; end > t.pos; end-- {
		n, err := option.ParseSizeIn(t.s[t.pos:end], 'M')
		if err != nil {
			continue
		}
		if n > math.MaxInt64 {
			break
		}
		args[name] = n
		t.pos = end
		return nil
	}
	return errors.New("invalid size")
}

// time reads a number of seconds.
func (t *text) time(name string, args qmp.HumanArgs) error {
	end := t.pos
	for end < len(t.s) && strings.IndexByte("0123456789.+-eE", t.s[end]) >= 0 {
		end++
	}
	v, err := strconv.ParseFloat(t.s[t.pos:end], 64)
	if err != nil {
		return errors.New("Number expected")
	}
	t.pos = end
	for suffix, unit := range map[string]float64{"ms": 1e3, "us": 1e6, "ns": 1e9} {
		if strings.HasPrefix(t.s[t.pos:], suffix) {
			v /= unit
			t.pos += len(suffix)
			break
		}
	}
	if !t.end() && !isSpace(t.peek()) {
		return errors.New("Unknown unit suffix")
	}
	args[name] = v
	return nil
}

func (t *text) onOff(name string, args qmp.HumanArgs) error {
	start := t.pos
	for !t.end() && !isSpace(t.peek()) {
		t.pos++
	}
	switch t.s[start:t.pos] {
	case "on":
		args[name] = true
	case "off":
		args[name] = false
	default:
		return errors.New("Expected 'on' or 'off'")
	}
	return nil
}

// flag reads a flag, if that is what comes.
func (t *text) flag(cmd string, a *argSpec, args qmp.HumanArgs, out io.Writer) error {
	if t.peek() != '-' {
		return nil
	}
	var letter byte
	if t.pos+1 < len(t.s) {
		letter = t.s[t.pos+1]
	}
	if letter != a.flag {
		if letter == 0 || strings.IndexByte(a.all, letter) < 0 {
			return fmt.Errorf("%s: unsupported option -%c", cmd, letter)
		}
		return nil // another's
	}
	t.pos += 2
	if !a.value {
		args[a.name] = true
		return nil
	}
	word, ok := t.word(out)
	if !ok {
		return fmt.Errorf("%s: value expected for -%c", cmd, a.flag)
	}
	args[a.name] = word
	return nil
}
