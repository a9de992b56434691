package protocol

import (
	"fmt"
	"testing"
)

// The examples of the command reference that are about objects and memory bring
// what is shown there, with the values of this machine.
func TestReferenceObjects(t *testing.T) {
	govmd, _ := programs(t)
	s := startWith(t, govmd, []string{"-M", "pc", "-accel", "qtest", "-S", "-nodefaults", "-display", "none", "-m", "64",
		"-object", "iothread,id=iothread0", "-object", "iothread,id=iothread1",
		"-object", "memory-backend-ram,id=m0,size=32M,host-nodes=0,policy=bind,merge=off",
		"-object", "memory-backend-ram,id=m1,size=32M,prealloc=on,host-nodes=0,policy=preferred",
		"-numa", "node,memdev=m0", "-numa", "node,memdev=m1"})
	s.result("qmp_capabilities")
	for _, c := range []struct{ command, args, want string }{
		{"object-add", `{"qom-type": "rng-random", "id": "rng1", "props": {"filename": "/dev/zero"}}`, "map[]"},
		{"object-del", `{"id": "rng1"}`, "map[]"},
		{"query-memory-devices", "", "[]"},
	} {
		if got := fmt.Sprint(s.answer(c.command, c.args)["return"]); got != c.want {
			t.Errorf("%s: %s, want %s", c.command, got, c.want)
		}
	}
	members := func(command string, names ...string) []map[string]any {
		t.Helper()
		list, _ := s.answer(command, "")["return"].([]any)
		var found []map[string]any
		for _, e := range list {
			m, _ := e.(map[string]any)
			for _, name := range names {
				if m[name] == nil {
					t.Errorf("%s: no %q in %v", command, name, m)
				}
			}
			found = append(found, m)
		}
		return found
	}
	threads := members("query-iothreads", "id", "thread-id")
	if len(threads) != 2 || threads[0]["id"] != "iothread0" || threads[1]["id"] != "iothread1" || threads[0]["thread-id"] == threads[1]["thread-id"] {
		t.Errorf("iothreads %v", threads)
	}
	const size = 32 << 20
	memdevs := members("query-memdev", "size", "merge", "dump", "prealloc", "host-nodes", "policy")
	for i, want := range []map[string]any{
		{"size": float64(size), "merge": false, "dump": true, "prealloc": false, "policy": "bind"},
		{"size": float64(size), "merge": true, "dump": true, "prealloc": true, "policy": "preferred"},
	} {
		for name, v := range want {
			if i >= len(memdevs) || memdevs[i][name] != v {
				t.Errorf("back end %d: %s is not %v in %v", i, name, v, memdevs)
			}
		}
	}
}
