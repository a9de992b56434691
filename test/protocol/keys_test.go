package protocol

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Every key that has a name makes a PS/2 keyboard send what it sends in QEMU, and so
// does the mouse for what users do to it.
func TestKeysAreQEMUs(t *testing.T) {
	// The processor does nothing from its first instruction on.
	rom := make([]byte, 64<<10)
	copy(rom[len(rom)-16:], "\xfa\xeb\xfe") // cli; jmp to itself
	file := filepath.Join(t.TempDir(), "rom")
	if err := os.WriteFile(file, rom, 0o600); err != nil {
		t.Fatal(err)
	}
	govmd, qemu := programs(t)
	var both []*session
	for i, program := range []string{govmd, qemu} {
		s := startWith(t, program, []string{"-M", "pc", "-accel", []string{"qtest", "tcg"}[i], "-m", "16", "-bios", file, "-nodefaults", "-display", "none"})
		s.result("qmp_capabilities")
		for _, line := range []string{
			"o/b 0x64 0x60", "o/b 0x60 0x40", // translate codes, and interrupt nobody
			"o/b 0x64 0xd4", "o/b 0x60 0xf4", // the mouse reports
		} {
			s.human(line)
		}
		if got := s.bytes(); got != "fa" {
			t.Errorf("%s: the mouse answers %s", program, got)
		}
		both = append(both, s)
	}
	same := func(what string, do func(s *session)) {
		t.Helper()
		var got [2]string
		for i, s := range both {
			do(s)
			got[i] = s.bytes()
		}
		if got[0] != got[1] {
			t.Errorf("%s sends %s, QEMU's %s", what, got[0], got[1])
		}
	}
	for _, key := range keyNames(t, both[1]) {
		for _, down := range []bool{true, false} {
			same(fmt.Sprintf("%s %v", key, down), func(s *session) {
				s.say(fmt.Sprintf(`{"execute": "input-send-event", "arguments": {"events": [{"type": "key", "data": {"down": %v, "key": {"type": "qcode", "data": %q}}}]}}`, down, key))
			})
		}
	}
	for _, line := range []string{
		"mouse_button 1", "mouse_button 2", "mouse_button 4", "mouse_button 0", "mouse_move 5 -6", "mouse_move 0x10 3", "mouse_move -200 300",
	} {
		same(line, func(s *session) { s.human(line) })
	}
}

// keyNames returns the values of QKeyCode.
func keyNames(t *testing.T, s *session) []string {
	t.Helper()
	var list []struct {
		Meta   string   `json:"meta-type"`
		Values []string `json:"values"`
	}
	if err := json.Unmarshal(s.result("query-qmp-schema"), &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Meta == "enum" && e.Values[0] == "unmapped" {
			return e.Values
		}
	}
	t.Fatal("no enumeration of keys")
	return nil
}

// human has a command of the human monitor carried out.
func (s *session) human(line string) string {
	s.t.Helper()
	s.send(fmt.Sprintf(`{"execute": "human-monitor-command", "arguments": {"command-line": %q}}`+"\n", line))
	for {
		var m struct{ Return *string }
		if err := json.Unmarshal(s.line(), &m); err != nil {
			s.t.Fatal(err)
		}
		if m.Return != nil {
			return *m.Return
		}
	}
}

// bytes reads what the keyboard controller has to say.
func (s *session) bytes() string {
	s.t.Helper()
	port := func(line string) uint64 {
		_, value, _ := strings.Cut(strings.TrimSpace(s.human(line)), "= ")
		n, err := strconv.ParseUint(value, 0, 8)
		if err != nil {
			s.t.Fatalf("%s: %s: %v", s.program, line, err)
		}
		return n
	}
	var got []string
	for port("i/1xb 0x64")&1 != 0 {
		got = append(got, fmt.Sprintf("%02x", port("i/1xb 0x60")))
	}
	return strings.Join(got, " ")
}
