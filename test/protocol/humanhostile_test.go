package protocol

import (
	"bytes"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Three monitors of mixed kinds: while a person's is flooded with lines and a
// program's sends what nobody reads, somebody else at a monitor is answered as if
// alone, over QMP and at the prompt.
func TestMixedMonitors(t *testing.T) {
	govmd, _ := programs(t)
	dir := t.TempDir()
	listen := func(name string) (*net.UnixListener, string) {
		path := filepath.Join(dir, name)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l, path
	}
	flooded, floodedPath := listen("flooded")
	dead, deadPath := listen("dead")
	silent, silentPath := listen("silent")
	p := greet(t, govmd, append(humanOptions("qtest"),
		"-chardev", "socket,id=flooded,path="+floodedPath, "-mon", "flooded,mode=readline",
		"-qmp", "unix:"+deadPath, "-chardev", "socket,id=silent,path="+silentPath, "-mon", "silent"))
	accept := func(l *net.UnixListener) net.Conn {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	send := func(c net.Conn, begin, again string) {
		go func() {
			_, err := io.WriteString(c, begin)
			for again := bytes.Repeat([]byte(again), 1000); err == nil; {
				_, err = c.Write(again)
			}
		}()
	}
	f := accept(flooded)
	send(f, "", "info qtree\rp 1+2\r\x1b[A\t\x17foo\r")
	go func() { _, _ = io.Copy(io.Discard, f) }()
	send(accept(dead), `{"execute":"qmp_capabilities"}`, `{"execute":"human-monitor-command","arguments":{"command-line":"info qtree"}}`)
	send(accept(silent), "", "info mtree\r") // and nobody reads what that brings
	for range 50 {
		if got := p.ask("info status"); !bytes.HasSuffix([]byte(got), []byte("VM status: paused (prelaunch)\r\n"+humanPrompt)) {
			t.Fatalf("%q", got)
		}
		p.ask("xp/4wx 0")
	}
	// Nor do they keep the program from its end.
	if _, err := io.WriteString(p.conn, "quit\r"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, p.r); err != nil {
		t.Fatal(err)
	}
}
