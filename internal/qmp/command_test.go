package qmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"govmd/internal/qmp/qjson"
	"govmd/internal/qmp/qmptest"
)

type linkArgs struct {
	Name string `qmp:"name"`
	Up   bool   `qmp:"up"`
}

type status struct {
	Running bool  `qmp:"running"`
	Status  color `qmp:"status"`
}

func testRegistry() *Registry {
	r := NewRegistry()
	r.Add(
		New("set_link", func(_ *Context, a *linkArgs) (None, error) {
			switch a.Name {
			case "none":
				return None{}, DeviceNotFound(a.Name)
			case "wrapped":
				return None{}, fmt.Errorf("set_link: %w", DeviceNotActive("balloon"))
			case "plain":
				return None{}, io.ErrUnexpectedEOF
			}
			return None{}, nil
		}),
		New("query-status", func(*Context, *None) (status, error) { return status{true, "red"}, nil }, NoLane, OOB, Preconfig),
		New("blockdev-add", func(_ *Context, a *blockdevOptions) (*blockdevOptions, error) { return a, nil }, Deprecated, Unstable),
		NewAsync("dump", func(_ *Context, a *linkArgs, reply *Reply[[]string]) {
			if a.Up {
				reply.Return([]string{a.Name})
			} else {
				reply.Finish(nil, errors.New("down"))
			}
		}),
	)
	r.AddEvents(linkEvent{}, plainEvent{}, plainEvent{})
	return r
}

type linkEvent struct {
	Name string  `qmp:"name"`
	Path *string `qmp:"path"`
}

func (linkEvent) EventName() string { return "LINK" }

type plainEvent struct{}

func (plainEvent) EventName() string { return "PLAIN" }

func call(r *Registry, name, args string) string {
	var v Value
	if args != "" {
		doc, err := qjson.Parse([]byte(args))
		if err != nil {
			return err.Error()
		}
		v = doc.Root()
	}
	ctx := &Context{Context: context.Background(), Registry: r}
	c := r.Lookup(name)
	var out []byte
	var err error
	if c.Async() {
		c.Start(ctx, v, JSON, func(result []byte, e error) { out, err = result, e })
	} else {
		out, err = c.Call(ctx, v, JSON, nil)
	}
	if err != nil {
		e := AsError(err)
		return fmt.Sprintf("%s: %s", e.Class, e.Desc)
	}
	return string(out)
}

func TestCall(t *testing.T) {
	r := testRegistry()
	for _, tt := range [][3]string{
		{"set_link", `{"name": "x", "up": true}`, "{}"},
		{"set_link", `{"name": "none", "up": true}`, "DeviceNotFound: Device 'none' not found"},
		{"set_link", `{"name": "wrapped", "up": true}`, "DeviceNotActive: set_link: No balloon device has been activated"},
		{"set_link", `{"name": "plain", "up": true}`, "GenericError: unexpected EOF"},
		{"set_link", ``, "GenericError: Parameter 'name' is missing"},
		{"set_link", `{"up": 1, "foo": 3}`, "GenericError: Parameter 'name' is missing"},
		{"query-status", ``, `{"running": true, "status": "red"}`},
		{"query-status", `{"a": 1}`, "GenericError: Parameter 'a' is unexpected"},
		{"blockdev-add", `{"driver": "null"}`, `{"driver": "null"}`},
		{"dump", `{"name": "x", "up": true}`, `["x"]`},
		{"dump", `{"name": "x", "up": false}`, "GenericError: down"},
		{"dump", `{}`, "GenericError: Parameter 'name' is missing"},
	} {
		if got := call(r, tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s %s: got %s, want %s", tt[0], tt[1], got, tt[2])
		}
	}
	if r.Lookup("nope") != nil || r.LookupBytes([]byte("dump")) == nil {
		t.Error("Lookup")
	}
	if got := fmt.Sprint(r.Names(), r.EventNames()); got != "[blockdev-add dump query-status set_link] [LINK PLAIN]" {
		t.Error(got)
	}
	c := r.Lookup("query-status")
	if !c.OOB() || !c.NoLane() || !c.Preconfig() || c.Async() || c.Name() != "query-status" {
		t.Error("flags of query-status")
	}
}

func TestRegistryRefusesDuplicates(t *testing.T) {
	r := testRegistry()
	for name, f := range map[string]func(){
		"command": func() { r.Add(New("dump", func(*Context, *None) (None, error) { return None{}, nil })) },
		"event":   func() { r.AddEvents(otherPlain{}) },
		"args":    func() { New("x", func(*Context, *int) (None, error) { return None{}, nil }) },
		"human":   func() { new(HumanRegistry).Add(HumanCommand{Name: "a|a"}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

type otherPlain struct{ plainEvent }

func TestEventHelpers(t *testing.T) {
	path := "p"
	if HasData(plainEvent{}) || !HasData(linkEvent{}) || !HasData(&linkEvent{}) {
		t.Error("HasData")
	}
	e := linkEvent{Name: "n", Path: &path}
	if MemberText(e, "name") != "n" || MemberText(&e, "path") != "p" || MemberText(e, "x") != "" || MemberText(linkEvent{}, "path") != "" {
		t.Error("MemberText")
	}
}

type fdSession struct{ fds []int }

func (s *fdSession) SessionID() uint64 { return 1 }
func (s *fdSession) TakeFD() (int, bool) {
	if len(s.fds) == 0 {
		return -1, false
	}
	fd := s.fds[0]
	s.fds = s.fds[1:]
	return fd, true
}

func TestTakeFD(t *testing.T) {
	ctx := &Context{Session: &fdSession{fds: []int{7}}}
	if fd, err := ctx.TakeFD(); fd != 7 || err != nil {
		t.Error(fd, err)
	}
	for _, c := range []*Context{ctx, {}} {
		if _, err := c.TakeFD(); err == nil || err.Error() != "No file descriptor supplied via SCM_RIGHTS" {
			t.Error(err)
		}
	}
}

func TestReplyTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a second answer went unnoticed")
		}
	}()
	r := &Reply[None]{ret: typeOf(reflect.TypeFor[None]()), done: func([]byte, error) {}}
	r.Return(None{})
	r.Fail(io.EOF)
}

func TestSchema(t *testing.T) {
	text := testRegistry().Schema()
	doc, err := qjson.Parse(text)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	kinds := map[string]int{}
	entries := map[string]Value{}
	for e := doc.Root().First(); e.Exists(); e = e.Next() {
		name := e.Get("name").Text()
		if _, dup := entries[name]; dup {
			t.Errorf("%q is described twice", name)
		}
		entries[name] = e
		kinds[e.Get("meta-type").Text()]++
	}
	if got := fmt.Sprint(kinds); got != "map[alternate:1 array:2 builtin:3 command:4 enum:2 event:2 object:9]" {
		t.Errorf("%s\n%s", got, text)
	}
	r := testRegistry()
	if err := qmptest.CheckSchema(text, r.Names(), r.EventNames()); err != nil {
		t.Error(err)
	}

	get := func(name string) string { return string(entries[name].Append(nil)) }
	arg := entries["blockdev-add"].Get("arg-type").Text()
	for _, want := range []string{`"meta-type": "object"`, `"tag": "driver"`, `{"name": "node-name", "type": "str", "default": null}`,
		`"variants": [{"case": "file", "type": "`, `{"case": "null", "type": "`} {
		if !strings.Contains(get(arg), want) {
			t.Errorf("%s lacks %s", get(arg), want)
		}
	}
	if got := get("blockdev-add"); !strings.HasSuffix(got, `"features": ["deprecated", "unstable"]}`) {
		t.Error(got)
	}
	if got := get("query-status"); !strings.Contains(got, `"allow-oob": true`) {
		t.Error(got)
	}
	if got := get("str"); got != `{"name": "str", "meta-type": "builtin", "json-type": "string"}` {
		t.Error(got)
	}
	if got := get("[str]"); got != `{"name": "[str]", "meta-type": "array", "element-type": "str"}` {
		t.Error(got)
	}
}

func TestHumanRegistry(t *testing.T) {
	var r HumanRegistry
	r.Add(HumanCommand{Name: "stop|s", Help: "stop emulation"}, HumanCommand{Name: "cont|c"})
	if r.Lookup("s") != r.Lookup("stop") || r.Lookup("s") == nil || r.Lookup("x") != nil || r.All()[0].Name != "cont|c" {
		t.Error("Lookup or All")
	}
	a := HumanArgs{"s": "x", "i": int64(3), "b": true}
	if a.Str("s") != "x" || a.Str("i") != "" || a.Int("i", 1) != 3 || a.Int("s", 1) != 1 || !a.Bool("b") || a.Bool("s") {
		t.Error("arguments")
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("cause")
	if e := Errorf("context: %w", cause); !errors.Is(e, cause) || e.Error() != "context: cause" || e.Class != ClassGeneric {
		t.Error(e)
	}
	for _, e := range []*Error{CommandNotFound("a"), DeviceNotFound("a"), DeviceNotActive("a"), DeviceEncrypted("a", "b"),
		KVMMissingCap("a", "b"), MissingParameter("a"), InvalidValue("a", "b")} {
		if e.Class == "" || !strings.Contains(e.Desc, "a") || AsError(e) != e {
			t.Errorf("%+v", e)
		}
	}
}
