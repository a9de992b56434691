package human

import (
	"bytes"
	"strings"
	"testing"
)

// screen is what a terminal of one endless line shows: a model of its own.
type screen struct {
	t    *testing.T
	line []byte
	at   int
}

func (s *screen) write(p []byte) {
	for len(p) > 0 {
		switch {
		case bytes.HasPrefix(p, []byte("\x1b[D")):
			if s.at == 0 {
				s.t.Fatal("the cursor leaves the line")
			}
			s.at--
			p = p[3:]
		case bytes.HasPrefix(p, []byte("\x1b[C")):
			if s.at++; s.at > len(s.line) {
				s.t.Fatal("the cursor leaves the text")
			}
			p = p[3:]
		case bytes.HasPrefix(p, []byte("\x1b[K")):
			s.line = s.line[:s.at]
			p = p[3:]
		case bytes.HasPrefix(p, []byte("\x1b[2J\x1b[1;1H")):
			s.line, s.at = nil, 0
			p = p[10:]
		case bytes.HasPrefix(p, []byte("\r\n")):
			s.line, s.at = nil, 0
			p = p[2:]
		default:
			s.line = append(s.line[:s.at], append([]byte{p[0]}, s.line[min(s.at+1, len(s.line)):]...)...)
			s.at++
			p = p[1:]
		}
	}
}

func newEditor(complete ...string) *editor {
	e := &editor{history: &history{}}
	e.complete = func(string) []string { return complete }
	e.prompt()
	return e
}

func (e *editor) typed(text string) (lines []string) {
	for _, c := range []byte(text) {
		if line, done := e.key(c); done {
			lines = append(lines, line)
			e.prompt()
		}
	}
	return lines
}

func TestEditing(t *testing.T) {
	for _, c := range []struct{ keys, want string }{
		{"abc", "abc|"}, {"abc\x01X", "X|abc"}, {"abc\x01\x05X", "abcX|"}, {"abc\x1b[D\x1b[DX", "aX|bc"}, {"abc\x1b[D\x1b[CX", "abcX|"},
		{"abc\x02\x02X", "aX|bc"}, {"abc\x01\x06X", "aX|bc"}, {"abc\b\x7f", "a|"}, {"\b\x7f\x04\x17", "|"},
		{"abc\x01\x04\x1b[3~", "|c"}, {"abc def\x17", "abc |"}, {"abc def  \x17", "abc |"}, {"abc\x02\x0b", "ab|"}, {"abc\x02\x15", "|c"},
		{"abc\x1b[1~X\x1b[4~Y", "XabcY|"}, {"abc\x1b[HX\x1b[FY", "XabcY|"}, {"abc\x1bOHX\x1bOFY", "XabcY|"}, {"abc\x1b[7~\x1b[8~", "abc|"},
		{"ab\x1b[1;5Dc", "ac|b"}, {"ab\x1b[200~c", "abc|"}, {"ab\x9bDc", "ac|b"}, {"a\x1bxb", "ab|"}, {"a\x00\x1c\x1fb", "ab|"},
		{"a\x03b", "b|"}, {"p 1\rp 2\r\x1b[A", "p 2|"}, {"p 1\rp 2\r\x1b[A\x1b[A\x1b[A", "p 1|"}, {"p 1\rp 2\r\x10\x10\x0e", "p 2|"},
		{"p 1\rx\x1b[A\x1b[B", "|"}, {"p 1\rp 2\rp 1\r\x10\x10", "p 2|"}, {"abc\x0c", "abc|"}, {"a b\x02\x0c", "a |b"},
	} {
		e := newEditor()
		s := &screen{t: t}
		e.typed(c.keys)
		s.write(e.out)
		if got := string(s.line[:s.at]) + "|" + string(s.line[s.at:]); got != prompt+c.want {
			t.Errorf("%q shows %q, want %q", c.keys, got, prompt+c.want)
		}
		if string(e.line[:e.pos])+"|"+string(e.line[e.pos:]) != c.want {
			t.Errorf("%q makes %q at %d", c.keys, e.line, e.pos)
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		keys, want string
		list       []string
	}{
		{"st\t", "stop |", []string{"stop", "quit"}}, {"s\t", "s|", []string{"stop", "sum"}}, {"x\t", "x|", []string{"stop"}},
		{"log /t\t", "log /tmp/|", []string{"/tmp/"}}, {"s\t", "st|", []string{"stop", "stap", "stop"}},
	} {
		e := newEditor(c.list...)
		s := &screen{t: t}
		e.typed(c.keys)
		s.write(e.out)
		if got := string(s.line[:s.at]) + "|"; got != prompt+c.want {
			t.Errorf("%q of %q shows %q", c.keys, c.list, got)
		}
	}
	if got, want := columns([]string{"stop", "stopcapture"}), "stop         stopcapture  \r\n"; got != want {
		t.Errorf("%q", got)
	}
	if got := columns([]string{strings.Repeat("x", 100), "y"}); strings.Count(got, "\r\n") != 2 {
		t.Errorf("%q", got)
	}
}

// A line is bounded, and so is the history.
func TestBounds(t *testing.T) {
	e := newEditor()
	for range maxLine + 10 {
		e.key('x')
		e.out = e.out[:0]
	}
	if line, _ := e.key('\r'); len(line) != maxLine {
		t.Error(len(line))
	}
	for i := range 3 * maxHistory {
		e.typed(strings.Repeat("y", i+1) + "\r")
		e.out = e.out[:0]
	}
	if n := len(e.history.lines); n != maxHistory {
		t.Error(n)
	}
}

// Whatever comes, what the terminal shows is the line.
func FuzzEditor(f *testing.F) {
	f.Add([]byte("abc\x1b[D\x1b[1~\x0c\t\rxyz\x1b[A\x17\x03\x9b5;6A\x1bOP"))
	f.Fuzz(func(t *testing.T, keys []byte) {
		if len(keys) > 2000 {
			return
		}
		e := newEditor("abc", "abd", "x/")
		s := &screen{t: t}
		for _, c := range keys {
			if _, done := e.key(c); done {
				e.prompt()
			}
			// What a terminal would act upon is not modelled.
			if bytes.ContainsFunc(e.line, func(r rune) bool { return r < ' ' || r > '~' }) {
				return
			}
			s.write(e.out)
			e.out = e.out[:0]
			if got := string(s.line); got != prompt+string(e.line) || s.at != len(prompt)+e.pos {
				t.Fatalf("%q shows %q at %d, not %q at %d", keys, got, s.at, e.line, e.pos)
			}
		}
	})
}
