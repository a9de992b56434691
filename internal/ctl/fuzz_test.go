package ctl

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"govmd/internal/qmp/qjson"
)

// A description of commands that means ill, or arguments that nobody would type,
// end in JSON or in an error.
func FuzzSchema(f *testing.F) {
	f.Add(strings.TrimPrefix(smallSchema, `"return": `), "id=1 back.type=file many.0.type=none", "back.")
	f.Add(`[{"name": "x", "meta-type": "command", "arg-type": "a", "ret-type": "a"}, {"name": "a", "meta-type": "array", "element-type": "a"}]`, "a.0.0.0=1", "a.0.0.")
	f.Add(`[{"name": "x", "meta-type": "command", "arg-type": "a", "ret-type": "a"}, {"name": "a", "meta-type": "alternate", "members": [{"type": "a"}, {"type": "b"}]}]`, "a=1", "")
	f.Add(`[{"name": "x", "meta-type": "command", "arg-type": "a", "ret-type": "a"}, {"name": "a", "meta-type": "object", "tag": "t",
		"members": [{"name": "t", "type": "a"}], "variants": [{"case": "1", "type": "a"}]}]`, "t.t.t=1", "t.t.t.")
	f.Fuzz(func(t *testing.T, text, args, last string) {
		doc, err := qjson.Parse([]byte(text))
		if err != nil {
			return
		}
		s := readSchema(doc.Root())
		words := strings.Fields(args)
		root, argErr := parseArgs(words)
		for name, c := range s.commands {
			if help := s.help(name, c); strings.ContainsRune(help, '\x1b') {
				t.Errorf("control characters reach the terminal: %q", help)
			}
			s.argCandidates(c.arg, words, last)
			if argErr != nil {
				continue
			}
			out, err := encoder{s}.appendObject(nil, root, s.typ(c.arg), "")
			if err != nil {
				continue
			}
			if _, err := qjson.Parse(out); err != nil {
				t.Errorf("%s: no JSON: %v", out, err)
			}
		}
	})
}

// peer is a monitor that has said all that it will say.
type peer struct {
	net.Conn
	said io.Reader
}

func (p *peer) Read(b []byte) (int, error) { return p.said.Read(b) }
func (*peer) Write(b []byte) (int, error)  { return len(b), nil }
func (*peer) SetDeadline(time.Time) error  { return nil }
func (*peer) Close() error                 { return nil }
func newPeer(said []byte) *Client {
	return &Client{conn: &peer{said: bytes.NewReader(said)}, buf: make([]byte, 512)}
}

// Whatever a monitor sends is an answer, an event or an error, and nothing of it
// acts on the terminal.
func FuzzMonitor(f *testing.F) {
	f.Add([]byte(greeting + `{"return": {}, "id": 1}{"event": "A", "data": {"x": ["\u001b"]}}{"return": [{"a": 1}], "id": 2}{"error": {"class": 1}}`))
	f.Add([]byte(greeting + `{"return": {}, "id": 1}{"event": "A", "timestamp": {"seconds": -1, "microseconds": 1e9}}{"return": "a\nb", "id": 2}`))
	f.Fuzz(func(t *testing.T, said []byte) {
		c := newPeer(said)
		shown := ""
		err := c.greet(time.Time{})
		for err == nil {
			var v qjson.Value
			if v, err = c.Execute("x", nil); err == nil {
				shown += render(v) + flatten(v)
			}
			for len(c.events) > 0 {
				e, _ := c.Event()
				shown += (&program{}).eventText(e)
			}
		}
		if exitStatus(err) == 0 {
			t.Error("there is no end")
		}
		if i := strings.IndexFunc(shown, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }); i >= 0 {
			t.Errorf("%q reaches the terminal", shown[i:])
		}
	})
}
