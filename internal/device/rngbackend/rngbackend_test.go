package rngbackend

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/object"
)

func make1(t *testing.T, typ string, props ...string) Backend {
	t.Helper()
	o, err := object.New(typ)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(props); i += 2 {
		if err := object.SetText(o, props[i], props[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if c, ok := o.(interface{ Close() }); ok {
		t.Cleanup(c.Close)
	}
	return o.(Backend)
}

func connect(t *testing.T, b Backend) (Conn, chan []byte) {
	t.Helper()
	got := make(chan []byte, 16)
	c, err := b.Connect(func(p []byte) { got <- bytes.Clone(p) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, got
}

func TestReadsAtOnce(t *testing.T) {
	for _, b := range []Backend{make1(t, "rng-builtin"), make1(t, "rng-random")} {
		c, got := connect(t, b)
		c.Request(64)
		p := <-got
		if len(p) != 64 || bytes.Equal(p, make([]byte, 64)) {
			t.Errorf("%s: %d bytes %x", b.Obj().TypeName(), len(p), p)
		}
		c.Request(1 << 20)
		if p := <-got; len(p) != MaxRequest {
			t.Errorf("%s: %d bytes", b.Obj().TypeName(), len(p))
		}
		c.Request(0)
		c.Close()
		c.Request(5)
		if len(got) != 0 {
			t.Error("delivered after Close, or nothing")
		}
	}
}

func TestWaitsForAFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	b := make1(t, "rng-random", "filename", path)
	if err := b.(*Random).Complete(nil); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	a, gotA := connect(t, b)
	z, gotZ := connect(t, b)
	for round := range 3 {
		a.Request(4)
		a.Request(4) // one is under way
		z.Request(2)
		if _, err := w.WriteString("abcdef"); err != nil {
			t.Fatal(err)
		}
		if p := <-gotA; string(p) != "abcd" {
			t.Errorf("round %d: %q", round, p)
		}
		if p := <-gotZ; string(p) != "ef" {
			t.Errorf("round %d: %q", round, p)
		}
	}
	a.Request(1) // is not served before the source is closed
	b.(*Random).Close()
	if _, err := b.Connect(func([]byte) {}); err == nil {
		t.Error("connected to a removed source")
	}
}

func TestEndOfFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bytes")
	if err := os.WriteFile(path, []byte("xyz"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, got := connect(t, make1(t, "rng-random", "filename", path))
	c.Request(8)
	if p := <-got; string(p) != "xyz" {
		t.Errorf("%q", p)
	}
	c.Request(8)
	if len(got) != 0 {
		t.Error("delivered beyond the end")
	}
}

func TestErrors(t *testing.T) {
	b := make1(t, "rng-random", "filename", "/nonexistent/rng")
	if _, err := b.Connect(func([]byte) {}); err == nil || err.Error() != "Could not open '/nonexistent/rng': No such file or directory" {
		t.Errorf("%v", err)
	}
	if err := make1(t, "rng-random", "filename", "").(*Random).Complete(nil); err == nil {
		t.Error("no name is taken")
	}
	if _, err := Find(nil, "rng0"); err == nil || err.Error() != "Device 'rng0' not found" {
		t.Errorf("%v", err)
	}
	if _, err := Find(func(string) object.Object { return &object.Node{} }, "x"); err == nil {
		t.Error("anything passes for a source")
	}
}
