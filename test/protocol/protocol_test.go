// Package protocol holds the same QMP conversations with govmd and with QEMU.
package protocol

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"govmd/internal/qmp/qmptest"
	"govmd/test/vmtest"
)

// limit bounds each conversation.
const limit = time.Minute

// start runs a program without a machine and returns the connection that it
// makes to be controlled, the greeting read.
func start(t *testing.T, program string) *session {
	t.Helper()
	return startWith(t, program, []string{"-M", "none", "-S", "-nodefaults", "-display", "none"})
}

// startWith is start for a program with options of its own.
func startWith(t *testing.T, program string, options []string) *session {
	t.Helper()
	return startCommand(t, program, options, func(*exec.Cmd) {})
}

// startCommand is startWith, where prepare has a look at the command before.
func startCommand(t *testing.T, program string, options []string, prepare func(*exec.Cmd)) *session {
	t.Helper()
	conn := called(t, program, options, filepath.Join(t.TempDir(), "qmp"), prepare)
	s := &session{t: t, program: program, conn: conn, r: bufio.NewReader(conn)}
	s.line()
	return s
}

// called starts a program with a monitor on a socket, and returns the connection that
// the monitor makes to it. The socket has the name of the option that asks for it.
func called(t *testing.T, program string, options []string, path string, prepare func(*exec.Cmd)) net.Conn {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	cmd := exec.CommandContext(ctx, program, append(slices.Clone(options), "-"+filepath.Base(path), "unix:"+path)...)
	cmd.Stderr = os.Stderr
	prepare(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it was killed, as a rule
		_ = l.Close()  // nobody is going to connect
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	deadline := time.Now().Add(limit)
	if err := l.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatalf("%s does not connect: %v", program, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	return conn
}

type session struct {
	t       *testing.T
	program string
	conn    net.Conn
	r       *bufio.Reader
	n       int
}

func (s *session) send(text string) {
	s.t.Helper()
	if _, err := s.conn.Write([]byte(text)); err != nil {
		s.t.Fatalf("%s: %v", s.program, err)
	}
}

func (s *session) line() []byte {
	s.t.Helper()
	line, err := s.r.ReadBytes('\n')
	if err != nil {
		s.t.Fatalf("%s: %v", s.program, err)
	}
	return line
}

// say sends text and returns all that it brings, timestamps aside: up to the
// answer to a last request, before which a byte that JSON has no place for
// brings the parser to its senses.
func (s *session) say(text string) (got []any) {
	s.t.Helper()
	s.n++
	end := "end " + strconv.Itoa(s.n)
	s.send(text + "\n\xff" + `{"execute": "query-status", "id": "` + end + "\"}\n")
	for {
		line := s.line()
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			s.t.Fatalf("%s: %v in %q after %q", s.program, err, line, text)
		}
		delete(m, "timestamp")
		got = append(got, m)
		if m["id"] == end {
			return got
		}
	}
}

func programs(t *testing.T) (govmd, qemu string) {
	t.Helper()
	govmd, err := vmtest.Program()
	if err != nil {
		t.Fatal(err)
	}
	qemu, err = exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Fatalf("QEMU is what govmd is compared with: %v", err)
	}
	return govmd, qemu
}

// Whatever a client says, it gets QEMU's answers.
func TestAnswersAreQEMUs(t *testing.T) {
	text, err := os.ReadFile("testdata/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	requests := strings.Split(string(text), "\n")
	for _, depth := range []int{1022, 1023, 1024, 1025, 3000} { // brackets, limited to 1024
		requests = append(requests, strconv.Quote(`{"execute":"query-status","id":`+strings.Repeat("[", depth)+strings.Repeat("]", depth)+"}"))
	}
	govmd, qemu := programs(t)
	var a, b *session
	for i, line := range requests {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if how, ok := strings.CutPrefix(line, "> "); ok {
			a, b = start(t, govmd), start(t, qemu)
			for _, s := range []*session{a, b} {
				if how != "new" {
					s.send(how + "\n")
					s.line()
				}
			}
			continue
		}
		request, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("testdata/requests.txt:%d: %v", i+1, err)
		}
		if got, want := a.say(request), b.say(request); !reflect.DeepEqual(got, want) {
			t.Errorf("%.200q brings\n%.400s, from QEMU\n%.400s", request, fmt.Sprint(got), fmt.Sprint(want))
		}
	}
}

// result returns what a command returns.
func (s *session) result(command string) json.RawMessage {
	s.t.Helper()
	s.send(`{"execute": "` + command + "\"}\n")
	var r struct {
		Return json.RawMessage `json:"return"`
	}
	if err := json.Unmarshal(s.line(), &r); err != nil || r.Return == nil {
		s.t.Fatalf("%s: %s: %v", s.program, command, err)
	}
	return r.Return
}

func (s *session) names(command string) (names []string) {
	s.t.Helper()
	var list []struct{ Name string }
	if err := json.Unmarshal(s.result(command), &list); err != nil {
		s.t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name)
	}
	return names
}

// What the program says about its commands and events is true to form.
func TestSchema(t *testing.T) {
	govmd, _ := programs(t)
	s := start(t, govmd)
	s.result("qmp_capabilities")
	if err := qmptest.CheckSchema(s.result("query-qmp-schema"), s.names("query-commands"), s.names("query-events")); err != nil {
		t.Error(err)
	}
}
