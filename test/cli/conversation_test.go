package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmd/test/vmtest"
)

// difference is where govmd's answers differ from QEMU's with good reason. There
// the values have the same type only.
type difference struct{ path, why string }

var differences = []difference{
	{"greeting.QMP.version.qemu.micro", "the level is that of the first release of 7.2"},
	{"greeting.QMP.version.package", "it is another program"},
	{"query-version.return.qemu.micro", "as in the greeting"},
	{"query-version.return.package", "as in the greeting"},
	{"query-cpus-fast.return.*.thread-id", "a thread of another process"},
	{"query-cpus-fast.return.*.qom-path", "an interrupt controller is part of its vCPU, not a device of its own"},
	{"*.timestamp.seconds", "another moment"},
	{"*.timestamp.microseconds", "another moment"},
}

// differ reports where got differs from want. path is where the two are.
func differ(path string, got, want any) (list []string) {
	if allowed(path) && reflect.TypeOf(got) == reflect.TypeOf(want) {
		return nil
	}
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		for k := range w {
			if _, ok := g[k]; !ok {
				list = append(list, fmt.Sprintf("%s lacks %s", path, k))
				continue
			}
			list = append(list, differ(path+"."+k, g[k], w[k])...)
		}
		for k := range g {
			if _, ok := w[k]; !ok {
				list = append(list, fmt.Sprintf("%s has %s", path, k))
			}
		}
		return list
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i := range w {
			list = append(list, differ(path+".*", g[i], w[i])...)
		}
		return list
	}
	if !reflect.DeepEqual(got, want) {
		list = append(list, fmt.Sprintf("%s is %v, QEMU's %v", path, got, want))
	}
	return list
}

func allowed(path string) bool {
	for _, d := range differences {
		if d.path == path || strings.HasPrefix(d.path, "*.") && strings.HasSuffix(path, d.path[1:]) {
			return true
		}
	}
	return false
}

// talk is a program with whom a conversation is held.
type talk struct {
	*process
	conn net.Conn
	dec  *json.Decoder
}

func startTalk(t *testing.T, name string, args ...string) *talk {
	t.Helper()
	p := beginProgram(t, name, nil, append(args, "-qmp", qmpSocket)...)
	k := &talk{process: p}
	await(p, func() bool {
		conn, err := net.Dial("unix", p.path("qmp"))
		k.conn = conn
		return err == nil
	})
	t.Cleanup(func() { k.conn.Close() })
	if err := k.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	k.dec = json.NewDecoder(bufio.NewReader(k.conn))
	return k
}

func (k *talk) message() map[string]any {
	k.t.Helper()
	var m map[string]any
	if err := k.dec.Decode(&m); err != nil {
		k.t.Fatalf("%s: %v", k.cmd.Path, err)
	}
	return m
}

// say sends a request and returns all messages up to the answer to a second one,
// which asks nothing of the machine.
func (k *talk) say(request string) (all []map[string]any) {
	k.t.Helper()
	const end = "end of the answer"
	if _, err := io.WriteString(k.conn, request+`{"execute": "query-name", "id": "`+end+`"}`); err != nil {
		k.t.Fatalf("%s: %v", k.cmd.Path, err)
	}
	for {
		m := k.message()
		if m["id"] == end {
			return all
		}
		all = append(all, m)
	}
}

// last sends a request after which the program ends, and returns the rest.
func (k *talk) last(request string) (all []map[string]any) {
	k.t.Helper()
	if _, err := io.WriteString(k.conn, request); err != nil {
		k.t.Fatal(err)
	}
	return k.rest()
}

// rest returns what is said until the program ends.
func (k *talk) rest() (all []map[string]any) {
	k.t.Helper()
	for {
		var m map[string]any
		if err := k.dec.Decode(&m); err != nil {
			if !errors.Is(err, io.EOF) {
				k.t.Errorf("%s: %v", k.cmd.Path, err)
			}
			return all
		}
		all = append(all, m)
	}
}

// life is a conversation that takes a machine through its states. What runs is a
// guest that sleeps, or nothing.
var life = strings.Fields(`
	query-version query-name query-uuid query-status query-cpus-fast query-kvm
	stop query-status system_reset query-status cont query-status cont stop query-status
	stop system_reset query-status cont system_reset query-status
	system_powerdown query-status stop system_powerdown system_wakeup cont query-status nonsense`)

func TestLifeIsAsWithQEMU(t *testing.T) {
	qemu := findQEMU(t)
	rom := vmtest.NewROM().Halt().File(t)
	for _, args := range []string{
		"-M none -name a",
		"-M pc -bios " + rom + " -m 16 -name a -uuid 00112233-4455-6677-8899-aabbccddeeff",
		"-M pc -bios " + rom + " -m 16 -smp 4,sockets=2,cores=2",
		"-M pc -bios " + rom + " -m 16 -smp 4,dies=2,threads=2 -no-shutdown",
		"-M microvm -bios " + rom + " -m 16 -smp 2",
	} {
		t.Run(strings.ReplaceAll(args, rom, "ROM"), func(t *testing.T) {
			words := append(strings.Fields(args), "-S")
			b := startTalk(t, qemu, append(words, "-accel", "tcg")...)
			a := startTalk(t, program, append(words, "-accel", "qtest")...)
			check := func(what string, got, want []map[string]any) {
				t.Helper()
				if len(got) != len(want) {
					t.Errorf("%s brings %v, from QEMU %v", what, got, want)
					return
				}
				for i := range got {
					for _, d := range differ(what, got[i], want[i]) {
						t.Error(d)
					}
				}
			}
			for _, d := range differ("greeting", a.message(), b.message()) {
				t.Error(d)
			}
			const negotiate = `{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}`
			check("qmp_capabilities", a.say(negotiate), b.say(negotiate))
			for i, command := range life {
				request := fmt.Sprintf(`{"execute": %q, "id": {"n": %d}}`, command, i)
				check(command, a.say(request), b.say(request))
			}
			const quit = `{"execute": "quit"}`
			check("quit", a.last(quit), b.last(quit))
			a.expectEnd(0)
			<-b.gone
		})
	}
}

// With -no-reboot and -no-shutdown the client's own requests do as they do in QEMU.
func TestEndIsAsWithQEMU(t *testing.T) {
	qemu := findQEMU(t)
	for _, args := range []string{"-S", "-no-reboot", "-no-reboot -no-shutdown", "-action reboot=shutdown,shutdown=pause"} {
		for _, how := range []string{"system_reset", "quit", "SIGTERM"} {
			if how == "system_reset" && args == "-S" {
				continue // does not end it
			}
			t.Run(args+" "+how, func(t *testing.T) {
				words := append(strings.Fields(args), "-M", "none")
				var answers [2][]map[string]any
				for i, name := range []string{program, qemu} {
					k := startTalk(t, name, words...)
					k.message() // the greeting
					k.say(`{"execute": "qmp_capabilities"}`)
					switch {
					case how == "SIGTERM":
						k.signal(unix.SIGTERM)
						answers[i] = k.rest()
					case how != "quit" && (strings.Contains(args, "=pause") || strings.Contains(args, "-no-shutdown")):
						answers[i] = append(k.say(`{"execute": "`+how+`"}`), k.say(`{"execute": "query-status"}`)...)
						k.last(`{"execute": "quit"}`)
					default:
						answers[i] = k.last(`{"execute": "` + how + `"}`)
					}
					k.expectEnd(0, "qmp")
					// A client that is quick enough sees the machine start.
					answers[i] = slices.DeleteFunc(answers[i], func(m map[string]any) bool { return m["event"] == "RESUME" })
				}
				if len(answers[0]) != len(answers[1]) {
					t.Fatalf("it brings %v, from QEMU %v", answers[0], answers[1])
				}
				for i := range answers[0] {
					for _, d := range differ("", answers[0][i], answers[1][i]) {
						t.Error(d)
					}
				}
			})
		}
	}
}
