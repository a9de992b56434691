package chardev

import (
	"slices"
	"strings"
	"testing"

	"govmd/internal/qmp"
)

func TestHumanCommands(t *testing.T) {
	r := newRegistry(t)
	var h, info qmp.HumanRegistry
	h.Add(r.HumanCommands()...)
	info.Add(r.InfoCommands()...)
	run := func(name string, args qmp.HumanArgs) string {
		cmd := h.Lookup(name)
		if cmd == nil {
			cmd = info.Lookup(name)
		}
		var out strings.Builder
		if err := cmd.Run(&qmp.Context{}, args, &out); err != nil {
			out.WriteString("Error: " + err.Error())
		}
		return out.String()
	}
	for _, c := range []struct {
		name string
		args qmp.HumanArgs
		want string
	}{
		{"chardev-add", qmp.HumanArgs{"args": "ringbuf,id=r,size=64"}, ""},
		{"chardev-add", qmp.HumanArgs{"args": "ringbuf,id=r,size=64"}, "Error: Chardev with id 'r' already exists"},
		{"chardev-add", qmp.HumanArgs{"args": "ringbuf"}, "Error: chardev: no id specified"},
		{"chardev-add", qmp.HumanArgs{"args": "nope,id=q"}, "Error: 'nope' is not a valid char driver name"},
		{"chardev-add", qmp.HumanArgs{"args": "file,id=q,path=/none/x"}, "Error: Could not open '/none/x': No such file or directory"},
		{"chardev-add", qmp.HumanArgs{"args": "socket,id=q,fd=7"}, "Error: File descriptor named '7' has not been found"},
		{"ringbuf_write", qmp.HumanArgs{"device": "r", "data": "a\\b\tc\r"}, ""},
		{"ringbuf_read", qmp.HumanArgs{"device": "r", "size": int64(100)}, "a\\\\b\tc\\u000D\n"},
		{"ringbuf_read", qmp.HumanArgs{"device": "r", "size": int64(0)}, "Error: size must be greater than zero"},
		{"ringbuf_read", qmp.HumanArgs{"device": "x", "size": int64(9)}, "Error: Device 'x' not found"},
		{"chardev-change", qmp.HumanArgs{"id": "r", "args": "null,id=z"}, "Error: Unexpected 'id' parameter"},
		{"chardev-change", qmp.HumanArgs{"id": "x", "args": "null"}, "Error: Chardev 'x' does not exist"},
		{"chardev-change", qmp.HumanArgs{"id": "r", "args": "null"}, ""},
		{"ringbuf_read", qmp.HumanArgs{"device": "r", "size": int64(9)}, "Error: r is not a ringbuf device"},
		{"chardev-send-break", qmp.HumanArgs{"id": "r"}, ""},
		{"chardev-send-break", qmp.HumanArgs{"id": "x"}, "Error: Chardev 'x' not found"},
		{"chardev-add", qmp.HumanArgs{"args": "null,id=m,mux=on"}, ""},
		{"chardev-change", qmp.HumanArgs{"id": "m", "args": "null"}, "Error: Mux device hotswap not supported yet"},
		{"chardev", nil, "m: filename=mux\nm-base: filename=null\nr: filename=null\n"},
		{"chardev-remove", qmp.HumanArgs{"id": "m-base"}, "Error: Chardev 'm-base' is busy"},
		{"chardev-remove", qmp.HumanArgs{"id": "r"}, ""},
		{"chardev-remove", qmp.HumanArgs{"id": "r"}, "Error: Chardev 'r' not found"},
	} {
		if got := run(c.name, c.args); got != c.want {
			t.Errorf("%s %v: %q, want %q", c.name, c.args, got, c.want)
		}
	}
	if got := run("chardev-add", qmp.HumanArgs{"args": "pty,id=p"}); got != "char device redirected to "+r.Get("p").PTY()+" (label p)\n" {
		t.Errorf("a terminal: %q", got)
	}
	if got := h.Lookup("chardev-remove").Complete(nil, []string{"chardev-remove", ""}); !slices.Contains(got, "p") {
		t.Errorf("completions %q", got)
	}
	if got := h.Lookup("chardev-add").Complete(nil, []string{"chardev-add", ""}); !slices.Contains(got, "socket") {
		t.Errorf("completions %q", got)
	}
}
