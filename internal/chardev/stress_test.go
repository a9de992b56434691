package chardev

import (
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"govmd/internal/sock"
	"govmd/internal/yank"
)

// Clients that come and go, a guest that reads and writes, and a back end that
// changes beneath it, all at once: nothing hangs, and nothing is called twice.
func TestEverythingAtOnce(t *testing.T) {
	dir := t.TempDir()
	r := newRegistry(t)
	r.Yanks = &yank.Registry{}
	c, err := r.Add(t.Context(), Config{ID: "c0", Backend: SocketConfig{Addr: sock.NewUnix(filepath.Join(dir, "0")), Server: true}})
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(1 << 30)
	p := attach(t, c, s)
	stop := make(chan struct{})
	var all sync.WaitGroup
	forever := func(fn func()) {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					fn()
				}
			}
		})
	}
	forever(func() { p.Write([]byte("output of the guest")) })
	forever(func() {
		p.AcceptInput()
		p.SetOpen(true)
		p.SetParams(LineParams{Speed: 9600, Parity: 'N', DataBits: 8, StopBits: 1})
		p.Connected()
	})
	forever(func() {
		for _, i := range r.infos() {
			if i.Label != "c0" {
				t.Errorf("a device %s", i.Label)
			}
		}
		_ = r.Yanks.Yank(yank.Chardev("c0"))
	})
	for i := range 2 {
		forever(func() {
			conn, err := net.Dial("unix", filepath.Join(dir, strconv.Itoa(i)))
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "input")
			_, _ = conn.Read(make([]byte, 10))
			_ = conn.Close()
		})
	}
	for i := range 20 {
		if res := changed(r, Config{ID: "c0", Backend: SocketConfig{Addr: sock.NewUnix(filepath.Join(dir, strconv.Itoa((i+1)%2))), Server: true}}); res.err != nil {
			t.Error(res.err)
		}
	}
	close(stop)
	p.Detach()
	if err := r.Remove("c0"); err != nil { // which ends the clients
		t.Error(err)
	}
	all.Wait()
}
