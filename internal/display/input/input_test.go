package input

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"govmd/internal/clock"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
	"govmd/internal/runstate"
)

// rig is a router whose devices write down what they get.
type rig struct {
	*Router
	t   *testing.T
	run *runstate.Controller
	clk *clock.Clock
	log []string
}

type device struct {
	name string
	*rig
}

func (d device) Key(number uint8, down bool) {
	d.log = append(d.log, fmt.Sprintf("%s %#x %v", d.name, number, down))
}
func (d device) Move(dx, dy, dz int, buttons uint8) {
	d.rig.log = append(d.rig.log, fmt.Sprintf("%s %d %d %d %d", d.name, dx, dy, dz, buttons))
}

func newRig(t *testing.T) *rig {
	t.Helper()
	set, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	set.Virtual.SetManual()
	r := &rig{t: t, run: runstate.New(lane.New(), &event.Bus{}, set.Virtual), clk: set.Virtual}
	r.Router = New(r.run, set.Virtual)
	t.Cleanup(r.Router.Close)
	if err := r.run.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) expect(what string, want ...string) {
	r.t.Helper()
	if !slices.Equal(r.log, want) {
		r.t.Errorf("%s: %q, want %q", what, r.log, want)
	}
	r.log = nil
}

func (r *rig) pass(d time.Duration) { r.clk.Advance(r.clk.Now() + int64(d)) }

// do asks for a command as a client does.
func (r *rig) do(name, args string) error {
	r.t.Helper()
	reg := qmp.NewRegistry()
	reg.Add(r.Commands()...)
	doc, err := qjson.Parse([]byte(args))
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = reg.Lookup(name).Call(&qmp.Context{Registry: reg}, doc.Root(), qmp.JSON, nil)
	return err
}

// say asks for a human command.
func (r *rig) say(name string, args qmp.HumanArgs) string {
	r.t.Helper()
	var out strings.Builder
	for _, c := range append(r.HumanCommands(), r.InfoCommands()...) {
		if c.Name == name {
			if err := c.Run(&qmp.Context{}, args, &out); err != nil {
				fmt.Fprintf(&out, "Error: %v\n", err)
			}
			return out.String()
		}
	}
	r.t.Fatalf("there is no command %s", name)
	return ""
}

func TestType(t *testing.T) {
	r := newRig(t)
	if err := r.Type([]Key{0x1e}, 0); err == nil || err.Error() != "the machine has no keyboard" {
		t.Error(err)
	}
	remove := r.AddKeyboard(device{"kbd", r})
	r.AddKeyboard(device{"other", r})
	if err := r.do("send-key", `{"keys": [{"type": "qcode", "data": "ctrl"}, {"type": "number", "data": 30}, {"type": "qcode", "data": "unmapped"}], "hold-time": 50}`); err != nil {
		t.Fatal(err)
	}
	if err := r.do("send-key", `{"keys": [{"type": "qcode", "data": "b"}]}`); err != nil {
		t.Fatal(err)
	}
	r.expect("at once", "kbd 0x1d true")
	r.pass(pace)
	r.expect("then", "kbd 0x1e true")
	r.pass(pace + 50*time.Millisecond - 1)
	r.expect("while the last is held")
	r.pass(1)
	r.expect("the last has no code")
	r.pass(2 * pace)
	r.expect("released", "kbd 0x1e false", "kbd 0x1d false")
	r.pass(pace)
	r.expect("the next", "kbd 0x30 true")
	r.pass(defaultHold - 1)
	r.expect("while it is held")
	if err := r.run.Stop(runstate.Paused); err != nil {
		t.Fatal(err)
	}
	if err := r.Type([]Key{0x1e}, 0); err != nil {
		t.Error(err)
	}
	if err := r.run.Start(); err != nil {
		t.Fatal(err)
	}
	r.pass(1)
	r.expect("released after a pause, and what came in it is lost", "kbd 0x30 false")
	r.pass(time.Hour)
	remove()
	if err := r.Type([]Key{0x1e}, 0); err != nil {
		t.Error(err)
	}
	r.expect("the other keyboard", "other 0x1e true")
	r.pass(time.Hour)
	r.expect("the other keyboard", "other 0x1e false")
	if _, armed := r.clk.NextDeadline(); armed {
		t.Error("a timer is armed at rest")
	}
}

func TestTypeIsBounded(t *testing.T) {
	r := newRig(t)
	r.AddKeyboard(device{"kbd", r})
	for range maxStrokes / 2 {
		if err := r.Type([]Key{1}, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := r.Type([]Key{1, 2}, 0); err == nil || err.Error() != "too many keys wait to be typed: 4095" {
			t.Fatal(err)
		}
	}
	for _, hold := range []string{"-1", "3600001", "9223372036854775807", "-9223372036854775808"} {
		if err := r.do("send-key", `{"keys": [], "hold-time": `+hold+`}`); err == nil ||
			err.Error() != "Parameter 'hold-time' expects a number of milliseconds up to 3600000" {
			t.Errorf("held for %s: %v", hold, err)
		}
	}
	r.pass(time.Hour)
	if len(r.log) != maxStrokes {
		t.Errorf("%d strokes", len(r.log))
	}
}

func TestSendEvents(t *testing.T) {
	r := newRig(t)
	remove := r.AddKeyboard(device{"kbd", r})
	r.AddMouse("A mouse", device{"mouse", r})
	for _, c := range []struct{ events, err string }{
		{`{"type": "key", "data": {"down": true, "key": {"type": "qcode", "data": "pause"}}}`, ""},
		{`{"type": "btn", "data": {"down": true, "button": "middle"}}, {"type": "rel", "data": {"axis": "x", "value": 5}},` +
			`{"type": "rel", "data": {"axis": "y", "value": -9223372036854775808}}, {"type": "btn", "data": {"down": true, "button": "wheel-up"}}`, ""},
		{`{"type": "btn", "data": {"down": false, "button": "wheel-up"}}, {"type": "btn", "data": {"down": true, "button": "extra"}},` +
			`{"type": "btn", "data": {"down": true, "button": "wheel-down"}}`, ""},
		{`{"type": "btn", "data": {"down": false, "button": "middle"}}`, ""},
		{`{"type": "btn", "data": {"down": true, "button": "left"}}, {"type": "abs", "data": {"axis": "x", "value": 5}}`,
			"Input handler not found for event type abs"},
		{`{"type": "btn", "data": {"down": true, "button": "left"}}, {"type": "key", "data": {"down": true, "key": {"type": "number", "data": 256}}}`,
			"key number 256 is not one of 0 to 255"},
	} {
		if err := r.do("input-send-event", `{"events": [`+c.events+`]}`); fmt.Sprint(err) != c.err && (err != nil || c.err != "") {
			t.Errorf("%s: %v, want %q", c.events, err, c.err)
		}
	}
	r.expect("events", "kbd 0xc6 true", "mouse 5 -1048576 -1 4", "mouse 0 0 1 20", "mouse 0 0 0 16")
	remove()
	if err := r.do("input-send-event", `{"events": [{"type": "key", "data": {"down": true, "key": {"type": "number", "data": 1}}}]}`); err == nil {
		t.Error("a key is pressed without a keyboard")
	}
	if err := r.run.Stop(runstate.Paused); err != nil {
		t.Fatal(err)
	}
	if err := r.do("input-send-event", `{"events": []}`); err == nil || err.Error() != "VM not running" {
		t.Error(err)
	}
	r.Move(1, 1, 1)
	r.expect("while the machine is stopped")
}

func TestMice(t *testing.T) {
	r := newRig(t)
	if got := r.say("mice", nil); got != "No mouse devices connected\n" {
		t.Errorf("%q", got)
	}
	r.AddKeyboard(device{"kbd", r})
	removeA := r.AddMouse("A", device{"a", r})
	r.AddMouse("B", device{"b", r})
	if got := r.say("mice", nil); got != "* Mouse #2: A\n  Mouse #3: B\n" {
		t.Errorf("%q", got)
	}
	r.say("mouse_move", qmp.HumanArgs{"dx_str": "0x10", "dy_str": "-2"})
	if got := r.say("mouse_set", qmp.HumanArgs{"index": int64(3)}); got != "" {
		t.Errorf("%q", got)
	}
	if got := r.say("mouse_set", qmp.HumanArgs{"index": int64(1)}); got != "Mouse at index '1' not found\n" {
		t.Errorf("%q", got)
	}
	if got := r.say("mice", nil); got != "* Mouse #3: B\n  Mouse #2: A\n" {
		t.Errorf("%q", got)
	}
	r.say("mouse_button", qmp.HumanArgs{"button_state": int64(0xf3)})
	r.say("mouse_move", qmp.HumanArgs{"dx_str": "99999999999", "dy_str": "0", "dz_str": "2"})
	r.say("mouse_move", qmp.HumanArgs{"dx_str": "1", "dy_str": "1", "dz_str": "2"})
	if got := r.say("mouse_move", qmp.HumanArgs{"dx_str": "1", "dy_str": "up"}); got != "invalid parameter: up\n" {
		t.Errorf("%q", got)
	}
	r.expect("moves", "a 16 -2 0 0", "b 0 0 0 3", "b 1048576 0 -2 3", "b 1 1 -2 3")
	removeA()
	if got := r.say("mice", nil); got != "* Mouse #3: B\n" {
		t.Errorf("%q", got)
	}
}

func TestParseKeys(t *testing.T) {
	for _, c := range []struct {
		text  string
		keys  []Key
		wrong string
	}{
		{"a", []Key{0x1e}, ""}, {"ctrl-alt-f1", []Key{0x1d, 0x38, 0x3b}, ""}, {"<", []Key{0x56}, ""}, {"0xc6-ret", []Key{0xc6, 0x1c}, ""},
		{"A", nil, "A"}, {"a--b", nil, ""}, {"0x100", nil, "0x100"}, {"0xg-foo", nil, "0xg"}, {"30", nil, "30"}, {"", nil, ""},
	} {
		if keys, wrong := parseKeys(c.text); !slices.Equal(keys, c.keys) || wrong != c.wrong {
			t.Errorf("%q: %#x, %q", c.text, keys, wrong)
		}
	}
	if got := completeKeys(nil, []string{"sendkey", "ctrl-al"}); !slices.Contains(got, "ctrl-alt_r") || len(got) != len(keyNames) {
		t.Errorf("%q", got)
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, s := range []string{"ctrl-alt-delete", "<", "0x1e", "-", "a-0xfff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if keys, wrong := parseKeys(s); (keys == nil) != (wrong != "" || strings.Contains("-"+s+"-", "--")) {
			t.Errorf("%q: %v, %q", s, keys, wrong)
		}
	})
}
