package mux

import (
	"bytes"
	"io"
	"net"
	"testing"
)

func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	x, y := net.Pipe()
	a, b = New(x), New(y)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestStreamCarriesAll(t *testing.T) {
	a, b := pair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 100_000) // several windows
	go func() {
		s := a.Stream(3)
		s.Write(sent)
		s.CloseWrite()
	}()
	got, err := io.ReadAll(b.Stream(3))
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("got %d of %d bytes, %v", len(got), len(sent), err)
	}
}

func TestUnreadStreamStopsNobodyElse(t *testing.T) {
	a, b := pair(t)
	stuck := make(chan int, 1)
	go func() {
		n, _ := a.Stream(1).Write(make([]byte, 10*window)) // nobody reads it
		stuck <- n
	}()
	for i := range 100 {
		if err := a.Send([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		if m := <-b.Messages(); len(m) != 1 || m[0] != byte(i) {
			t.Fatalf("message %d is %v", i, m)
		}
		if _, err := a.Stream(2).Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		var reply [4]byte
		if _, err := io.ReadFull(b.Stream(2), reply[:]); err != nil || string(reply[:]) != "ping" {
			t.Fatalf("stream gave %q, %v", reply, err)
		}
	}
	a.Close()
	if n := <-stuck; n > window {
		t.Errorf("%d bytes were taken unread, window is %d", n, window)
	}
}

func TestEndOfConnectionEndsStreams(t *testing.T) {
	a, b := pair(t)
	read := make(chan error, 1)
	go func() {
		_, err := b.Stream(1).Read(make([]byte, 1))
		read <- err
	}()
	a.Close()
	if err := <-read; err == nil {
		t.Error("Read returned no error")
	}
	if _, ok := <-b.Messages(); ok {
		t.Error("Messages is not closed")
	}
	if _, err := b.Stream(1).Write([]byte("x")); err == nil {
		t.Error("Write returned no error")
	}
}

func TestClosedStreamsAreForgotten(t *testing.T) {
	a, b := pair(t)
	for id := range uint32(50) {
		x, y := a.Stream(id), b.Stream(id)
		go func() {
			io.Copy(x, x)
			x.CloseWrite()
		}()
		y.Write([]byte("echo"))
		y.CloseWrite()
		if got, err := io.ReadAll(y); string(got) != "echo" || err != nil {
			t.Fatalf("stream %d echoes %q, %v", id, got, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.streams) != 0 {
		t.Errorf("%d streams are still known", len(b.streams))
	}
}
