package ctl

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake is a monitor that a test writes the lines of.
type fake struct {
	conn net.Conn
	r    *bufio.Reader
	t    *testing.T
}

const greeting = `{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}` + "\n"

// serve makes a monitor at a socket; talk has one conversation after the greeting,
// then the connection ends.
func serve(t *testing.T, talk func(*fake)) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl") // a short name: a socket is made there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "qmp")
	listen(t, path, func(conn net.Conn) { talk(&fake{conn: conn, r: bufio.NewReader(conn), t: t}) })
	return path
}

// listen has a conversation with each who connects to path, one after the other.
func listen(t *testing.T, path string, talk func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			talk(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
}

func (f *fake) say(text string) { _, _ = f.conn.Write([]byte(text)) }

// hold goes on until the client hangs up.
func (f *fake) hold() { _, _ = io.Copy(io.Discard, f.conn) }

type request struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        json.RawMessage `json:"id"`
}

func (f *fake) hear() (r request, ok bool) {
	line, err := f.r.ReadString('\n')
	if err != nil {
		return r, false
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		f.t.Errorf("the request %q: %v", line, err)
		return r, false
	}
	return r, true
}

func (f *fake) answer(r request, member string) {
	f.say("{" + member + `, "id": ` + string(r.ID) + "}\n")
}

// negotiate greets and answers qmp_capabilities.
func (f *fake) negotiate() bool {
	f.say(greeting)
	r, ok := f.hear()
	if ok {
		f.answer(r, `"return": {}`)
	}
	return ok
}

// script is a monitor whose answers are in a table: by command, what the members
// of the answer are. A command that ends with "!" ends the connection after it.
func script(t *testing.T, answers map[string]string, heard *[]string) (path string) {
	return serve(t, func(f *fake) {
		if !f.negotiate() {
			return
		}
		for {
			r, ok := f.hear()
			if !ok {
				return
			}
			if heard != nil {
				*heard = append(*heard, strings.TrimSpace(r.Execute+" "+string(r.Arguments)))
			}
			text, ends := answers[r.Execute], false
			if text == "" {
				text, ends = answers[r.Execute+"!"], true
			}
			if text == "" {
				text, ends = `"error": {"class": "CommandNotFound", "desc": "The command `+r.Execute+` has not been found"}`, false
			}
			before, after, _ := strings.Cut(text, "\n")
			f.answer(r, before)
			f.say(after)
			if ends {
				return
			}
		}
	})
}

// result is what a run came to.
type result struct {
	status         int
	stdout, stderr string
}

func runCtl(t *testing.T, args ...string) result {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	return runWith(null, nil, args...)
}

func runWith(stdin *os.File, env map[string]string, args ...string) result {
	var stdout, stderr bytes.Buffer
	p := &program{name: "govmctl", version: "1", stdin: stdin, stdout: &stdout, stderr: &stderr, getenv: func(k string) string { return env[k] }}
	status := p.run(args)
	return result{status, stdout.String(), stderr.String()}
}
