package protocol

import (
	"encoding/json"
	"fmt"
	"net"
	"reflect"
	"testing"
)

// A client whose blockdev-add waits for a server that says nothing gets out of that
// out of band. (QEMU 7.2 lists the node, but does not cut what is not negotiated yet.)
func TestYankGetsThrough(t *testing.T) {
	program, _ := programs(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	s := startWith(t, program, []string{"-M", "none", "-S", "-nodefaults", "-display", "none"})
	s.turn(`{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}`)
	s.send(fmt.Sprintf(`{"execute": "blockdev-add", "id": "add", "arguments": {"driver": "nbd", "node-name": "n0", `+
		`"server": {"type": "inet", "host": "127.0.0.1", "port": "%d"}}}`, l.Addr().(*net.TCPAddr).Port) + "\n")
	defer (<-accepted).Close()
	s.send(`{"exec-oob": "query-yank", "id": "query"}` + "\n")
	monitor := map[string]any{"type": "chardev", "id": "compat_monitor0"}
	want := map[string]any{"id": "query", "return": []any{map[string]any{"type": "block-node", "node-name": "n0"}, monitor}}
	var got map[string]any
	if err := json.Unmarshal(s.line(), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: query-yank: %v, %v", program, got, err)
	}
	s.send(`{"exec-oob": "yank", "id": "yank", "arguments": {"instances": [{"type": "block-node", "node-name": "n0"}]}}` + "\n")
	answers := map[any]bool{} // whether they are errors; in either order
	for range 2 {
		got = nil
		if err := json.Unmarshal(s.line(), &got); err != nil {
			t.Fatal(err)
		}
		answers[got["id"]] = got["error"] != nil
	}
	if !reflect.DeepEqual(answers, map[any]bool{"add": true, "yank": false}) {
		t.Errorf("%s: failed: %v", program, answers)
	}
	if got := s.turn(`{"execute": "query-yank"}`); !reflect.DeepEqual(got, []any{map[string]any{"return": []any{monitor}}}) {
		t.Errorf("%s: afterwards: %v", program, got)
	}
}
