package protocol

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// shellTalk is what QEMU's qmp-shell sends, byte for byte, after the line above
// each: no line ends, no ids, arguments where there are none.
var shellTalk = []string{
	// query-status
	`{"execute":"query-status","arguments":{}}`,
	// stop
	`{"execute":"stop","arguments":{}}`,
	// query-status
	`{"execute":"query-status","arguments":{}}`,
	// cont
	`{"execute":"cont","arguments":{}}`,
	// chardev-add id=r0 backend={"type":"ringbuf","data":{"size":4096}}
	`{"execute":"chardev-add","arguments":{"id":"r0","backend":{"type":"ringbuf","data":{"size":4096}}}}`,
	// ringbuf-write device=r0 data=hello
	`{"execute":"ringbuf-write","arguments":{"device":"r0","data":"hello"}}`,
	// ringbuf-read device=r0 size=10
	`{"execute":"ringbuf-read","arguments":{"device":"r0","size":10}}`,
	// object-add qom-type=iothread id=io0 poll-max-ns=0
	`{"execute":"object-add","arguments":{"qom-type":"iothread","id":"io0","poll-max-ns":0}}`,
	// qom-get path=/objects/io0 property=poll-max-ns
	`{"execute":"qom-get","arguments":{"path":"/objects/io0","property":"poll-max-ns"}}`,
	// nonsense
	`{"execute":"nonsense","arguments":{}}`,
	// query-status foo=1
	`{"execute":"query-status","arguments":{"foo":1}}`,
	// transaction( block-dirty-bitmap-add node=x name=y abort )
	`{"execute":"transaction","arguments":{"actions":[{"type":"block-dirty-bitmap-add","data":{"node":"x","name":"y"}},{"type":"abort","data":{}}]}}`,
}

// shellHuman is what it sends for lines typed to qmp-shell -H.
var shellHuman = []string{"info status", "info name", "cpu 0", "cpu 7", "nosuch", "stop", "info status", "help stop", "info kvm", "cont"}

// greetAsShell begins as qmp-shell does, with the monitor just connected to, and
// returns the names that it completes.
func (s *session) greetAsShell() (commands []string) {
	s.t.Helper()
	s.send(`{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}`)
	if got := s.reply(); !reflect.DeepEqual(got, map[string]any{"return": map[string]any{}}) {
		s.t.Fatalf("%s: qmp_capabilities: %v", s.program, got)
	}
	s.send(`{"execute":"query-commands"}`)
	list, _ := s.reply()["return"].([]any)
	for _, e := range list {
		m, _ := e.(map[string]any)
		commands = append(commands, m["name"].(string))
	}
	return commands
}

// humanAsShell sends a line as qmp-shell -H does.
func (s *session) humanAsShell(line string) map[string]any {
	s.t.Helper()
	s.send(`{"execute":"human-monitor-command","arguments":{"command-line":"` + line + `","cpu-index":0}}`)
	return s.reply()
}

var shellOptions = []string{"-M", "pc", "-nodefaults", "-display", "none", "-name", "box", "-accel"}

// qmp-shell gets from govmd what it gets from QEMU.
func TestQMPShell(t *testing.T) {
	govmd, qemu := programs(t)
	a, b := startWith(t, govmd, append(shellOptions, "qtest")), startWith(t, qemu, append(shellOptions, "tcg"))
	for _, s := range []*session{a, b} {
		if names := s.greetAsShell(); !slices.Contains(names, "query-status") || !slices.Contains(names, "qmp_capabilities") {
			t.Errorf("%s: commands to complete are %q", s.program, names)
		}
	}
	for _, request := range shellTalk {
		a.send(request)
		b.send(request)
		if got, want := a.reply(), b.reply(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s brings %v, from QEMU %v", request, got, want)
		}
	}
}

// qmp-shell -H finds what it completes in the texts of help and info, and gets
// the same answers as from QEMU.
func TestQMPShellHuman(t *testing.T) {
	govmd, qemu := programs(t)
	a, b := startWith(t, govmd, append(shellOptions, "qtest")), startWith(t, qemu, append(shellOptions, "tcg"))
	for _, s := range []*session{a, b} {
		s.send(`{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}`)
		s.reply()
		for line, words := range map[string]int{"help": 1, "info": 2} { // how many words it takes from each line
			text, _ := s.humanAsShell(line)["return"].(string)
			names := map[string]bool{}
			for _, entry := range strings.Split(text, "\r\n") {
				fields := strings.Fields(entry)
				if len(fields) > 0 && len(fields) < words {
					t.Errorf("%s: %s has the line %q, which it cannot read", s.program, line, entry)
				} else if len(fields) > 0 {
					names[fields[words-1]] = true
				}
			}
			if want := map[string]string{"help": "stop|s", "info": "status"}[line]; !names[want] {
				t.Errorf("%s: no %s in %s: %q", s.program, want, line, text)
			}
		}
	}
	for _, line := range shellHuman {
		if got, want := a.humanAsShell(line), b.humanAsShell(line); !reflect.DeepEqual(got, want) {
			t.Errorf("%q brings %v, from QEMU %v", line, got, want)
		}
	}
}
