package yank

import (
	"context"
	"strings"
	"sync"
	"testing"

	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// The answers are those of QEMU 7.2.
func TestCommands(t *testing.T) {
	var r Registry
	var shut []string
	note := func(s string) func() { return func() { shut = append(shut, s) } }
	r.Register(Chardev("b"), note("b"))
	undo := r.Register(Chardev("a"), note("a1"))
	r.Register(Chardev("a"), note("a2"))
	r.Register(BlockNode("a"), note("node"))
	r.Register(Migration(), note("migration"))
	reg := qmp.NewRegistry()
	reg.Add(r.Commands()...)
	for _, s := range []struct{ command, args, want, shut string }{
		{"query-yank", `{}`, `[{"type": "migration"}, {"type": "block-node", "node-name": "a"}, {"type": "chardev", "id": "a"}, {"type": "chardev", "id": "b"}]`, ""},
		{"yank", `{"instances": []}`, `{}`, ""},
		{"yank", `{"instances": [{"type": "chardev", "id": "a"}]}`, `{}`, "a1 a2"},
		{"yank", `{"instances": [{"type": "migration"}, {"type": "block-node", "node-name": "a"}]}`, `{}`, "migration node"},
		{"yank", `{"instances": [{"type": "chardev", "id": "b"}, {"type": "chardev", "id": "c"}]}`, `Instance not found`, ""},
		{"yank", `{"instances": [{"type": "block-node", "node-name": "b"}]}`, `Instance not found`, ""},
		{"yank", `{"instances": [{"type": "chardev"}]}`, `Parameter 'instances[0].id' is missing`, ""},
		{"yank", `{"instances": [{"type": "x"}]}`, `Parameter 'type' does not accept value 'x'`, ""},
		{"yank", `{}`, `Parameter 'instances' is missing`, ""},
	} {
		doc, err := qjson.Parse([]byte(s.args))
		if err != nil {
			t.Fatal(err)
		}
		shut = nil
		c := reg.Lookup(s.command)
		out, err := c.Call(&qmp.Context{Context: context.Background(), Registry: reg}, doc.Root(), qmp.JSON, nil)
		got := string(out)
		if err != nil {
			got = err.Error()
		}
		if got != s.want || strings.Join(shut, " ") != s.shut || !c.OOB() || !c.NoLane() {
			t.Errorf("%s %s: %s, shut down: %v", s.command, s.args, got, shut)
		}
	}
	undo()
	undo()
	shut = nil
	if err := r.Yank(Chardev("a")); err != nil || len(shut) != 1 {
		t.Error(err, shut)
	}
}

func TestConcurrent(t *testing.T) {
	var r Registry
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				undo := r.Register(Chardev("a"), func() {})
				_ = r.Yank(Chardev("a"))
				r.Instances()
				undo()
			}
		})
	}
	wg.Wait()
	if len(r.Instances()) != 0 {
		t.Error("something is left")
	}
}
