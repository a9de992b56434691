package protocol

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// residentMiB is how much memory a process has.
func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// Monitors of mixed kinds, one on a Unix socket, one on TCP, one on the standard
// streams: what hostile clients do on two of them does not disturb the third, and
// memory stays bounded.
func TestHostileClients(t *testing.T) {
	govmd, _ := programs(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, cmd, stdin := startHostile(t, govmd, l.Addr().String())
	tcp, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	if err := tcp.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	s.result("qmp_capabilities")
	responsive := func(after string) {
		t.Helper()
		for range 20 {
			s.result("query-status")
		}
		if m := residentMiB(t, cmd.Process.Pid); m > 600 {
			t.Errorf("after %s the program has %d MiB", after, m)
		}
	}
	send := func(what string, text []byte) {
		t.Helper()
		if _, err := tcp.Write(text); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		responsive(what)
	}
	// The standard streams: commands without end, and nobody reads the answers.
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		flood := append([]byte(`{"execute":"qmp_capabilities"}`), bytes.Repeat([]byte(`{"execute":"query-qmp-schema"}{"exec-oob":1}`), 4096)...)
		for {
			if _, err := stdin.Write(flood); err != nil {
				return
			}
		}
	}()
	go func() { _, _ = io.Copy(io.Discard, tcp) }()
	responsive("a flood")
	send("garbage", bytes.Repeat([]byte("\x80\xff{]}\x00zork'\"\\"), 1<<16))
	send("depth", append(bytes.Repeat([]byte("["), 10000), bytes.Repeat([]byte("]"), 10000)...))
	send("100 MB without a newline", append([]byte(`{"execute": "`), bytes.Repeat([]byte("x"), 100<<20)...))
	send("a million values", append([]byte("\xff["), bytes.Repeat([]byte("1,"), 1_000_000)...)) // just within the limit
	send("a command cut off", []byte("\xff\n"+`{"execute": "qmp_capabilities"}{"execute": "query-st`))
	_ = tcp.Close()
	responsive("a disconnect")
	_ = stdin.Close()
	<-flooded
}

// startHostile starts govmd with three monitors.
func startHostile(t *testing.T, govmd, tcp string) (*session, *exec.Cmd, io.WriteCloser) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_, dead, err := os.Pipe() // an output that nobody reads
	if err != nil {
		t.Fatal(err)
	}
	var cmd *exec.Cmd
	s := startCommand(t, govmd, []string{"-M", "none", "-S", "-nodefaults", "-display", "none", "-qmp", "stdio", "-qmp", "tcp:" + tcp},
		func(c *exec.Cmd) { cmd, c.Stdin, c.Stdout = c, r, dead })
	_, _ = r.Close(), dead.Close()
	return s, cmd, w
}
