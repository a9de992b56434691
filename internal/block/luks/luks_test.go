package luks_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	_ "govmd/internal/block/drivers"
	"govmd/internal/device/devtest"
	"govmd/internal/qmp"
)

const passphrase = "correct horse"

func newGraph() *block.Graph {
	return block.NewGraph(block.Env{Secret: func(id string) ([]byte, error) {
		if id != "s" {
			return nil, qmp.Errorf("No secret with id '%s'", id)
		}
		return []byte(passphrase), nil
	}})
}

// object makes an object of option text.
func object(pairs ...string) *qmp.Object {
	o := &qmp.Object{}
	for i := 0; i < len(pairs); i += 2 {
		o.Set(pairs[i], pairs[i+1])
	}
	return o
}

// newImage makes an image that takes a moment to open.
func newImage(t testing.TB, size int, keys ...string) (name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "disk.luks")
	o := object(append([]string{"size", fmt.Sprint(size), "key-secret", "s", "iter-time", "1"}, keys...)...)
	if err := newGraph().CreateImage(context.Background(), "luks", name, o, qmp.Keyval); err != nil {
		t.Fatal(err)
	}
	return name
}

// withDisk calls fn with an open image.
func withDisk(t *testing.T, name string, fn func(n *block.Node, q *block.Queue)) {
	t.Helper()
	g := newGraph()
	n, err := g.OpenImage(context.Background(), name, object("key-secret", "s"), qmp.Keyval, block.Settings{}) // its format is guessed
	if err != nil {
		t.Fatal(err)
	}
	defer n.Unref()
	b := blocktest.Backend(t, g, n, block.PermRead|block.PermWrite|block.PermResize)
	defer b.Close()
	fn(n, b.NewQueue("test", 4))
}

func write(t *testing.T, q *block.Queue, off int, p []byte) {
	t.Helper()
	if err := q.Do(block.OpWrite, int64(off), 0, block.VecOf(p), 0); err != nil {
		t.Fatal(err)
	}
}

// qemuImage is how QEMU's tools name an image.
func qemuImage(name string) []string {
	return []string{"--object", "secret,id=s,data=" + passphrase, "--image-opts", "driver=luks,key-secret=s,file.filename=" + name}
}

func qemu(t *testing.T, tool string, args ...string) {
	t.Helper()
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil || bytes.Contains(out, []byte("fail")) {
		t.Fatalf("%s: %v %s", tool, err, out[max(0, len(out)-300):])
	}
}

// decrypted returns what QEMU reads from an image.
func decrypted(t *testing.T, name string) []byte {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	qemu(t, "qemu-img", append(append([]string{"convert", "-O", "raw"}, qemuImage(name)...), raw)...)
	p, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Random writes are what QEMU reads, and the other way round.
func TestRandom(t *testing.T) {
	for _, keys := range [][]string{nil, {"cipher-alg", "aes-128", "cipher-mode", "cbc", "ivgen-alg", "essiv"}} {
		const size = 1 << 20
		name := newImage(t, size, keys...)
		rnd := rand.New(rand.NewPCG(1, 2))
		data := make([]byte, size)
		piece := func() (off int, p []byte) {
			off = rnd.IntN(size)
			p = bytes.Repeat([]byte{byte(rnd.Uint32())}, 1+rnd.IntN(min(size-off, 300_000)))
			copy(data[off:], p)
			return off, p
		}
		withDisk(t, name, func(n *block.Node, q *block.Queue) {
			if n.DriverName() != "luks" || n.Length() != size {
				t.Fatalf("%d bytes as %s", n.Length(), n.DriverName())
			}
			write(t, q, 0, data)
			for range 60 {
				off, p := piece()
				write(t, q, off, p)
			}
		})
		if !bytes.Equal(decrypted(t, name), data) {
			t.Error("QEMU reads something else")
		}
		var commands []string
		for range 20 {
			off, p := piece()
			commands = append(commands, "-c", fmt.Sprintf("write -P %d %d %d", p[0], off, len(p)))
		}
		qemu(t, "qemu-io", append(qemuImage(name), commands...)...)
		withDisk(t, name, func(_ *block.Node, q *block.Queue) {
			got := make([]byte, size)
			if err := q.Do(block.OpRead, 0, 0, block.VecOf(got), 0); err != nil || !bytes.Equal(got, data) {
				t.Errorf("what QEMU wrote is read as something else (%v)", err)
			}
		})
	}
}

// An image has another size when it was resized, and keeps its data.
func TestResize(t *testing.T) {
	name := newImage(t, 64<<10)
	data := bytes.Repeat([]byte{7}, 64<<10)
	withDisk(t, name, func(n *block.Node, q *block.Queue) {
		write(t, q, 0, data)
		if err := n.Truncate(context.Background(), 1<<20, true, block.PreallocOff, 0); err != nil || n.Length() != 1<<20 {
			t.Errorf("%d bytes: %v", n.Length(), err)
		}
	})
	if p := decrypted(t, name); len(p) != 1<<20 || !bytes.Equal(p[:len(data)], data) {
		t.Errorf("QEMU reads %d bytes: % x...", len(p), p[:8])
	}
}

// An image without its key can be described; it takes the right passphrase, and only that.
func TestKey(t *testing.T) {
	const size = 64 << 10
	name := newImage(t, size)
	g := newGraph()
	n, err := g.OpenImage(context.Background(), name, nil, qmp.Keyval, block.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Unref()
	if i := n.Info(); !i.Encrypted || !i.KeyMissing || n.Locked() != n || n.Length() != size {
		t.Errorf("%+v", i)
	}
	b := blocktest.Backend(t, g, n, block.PermRead|block.PermWrite)
	defer b.Close()
	q := b.NewQueue("test", 1)
	p := make([]byte, 512)
	for _, op := range []block.Op{block.OpRead, block.OpWrite} {
		if err := q.Do(op, 0, 0, block.VecOf(p), 0); err != block.ErrIO {
			t.Errorf("without the key: %v", err)
		}
	}
	k := n.Driver().(block.Keyed)
	if err := k.SetKey(context.Background(), []byte("wrong")); err == nil || err.Error() != "Invalid password, cannot unlock any keyslot" {
		t.Errorf("a wrong passphrase: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.SetKey(ctx, []byte(passphrase)); err != context.Canceled {
		t.Errorf("with a context that has ended: %v", err)
	}
	if err := k.SetKey(context.Background(), []byte(passphrase)); err != nil {
		t.Fatal(err)
	}
	if err := q.Do(block.OpRead, 0, 0, block.VecOf(p), 0); err != nil || n.Locked() != nil {
		t.Errorf("with the key: %v", err)
	}
}

// What cannot be opened or made is refused with a message that says why.
func TestRefused(t *testing.T) {
	name := newImage(t, 64<<10)
	ctx := context.Background()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		size int
		want string
	}{
		{300, "LUKS header: the file has 300 bytes of its 592"},
		{100 << 10, "LUKS payload-offset 4040 lies beyond the end of the file (102400 bytes)"},
	} {
		if err := os.WriteFile(name, whole[:v.size], 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := newGraph().OpenImage(ctx, name, object("driver", "luks", "key-secret", "s"), qmp.Keyval, block.Settings{})
		if err == nil || !strings.HasPrefix(err.Error(), "Could not open '"+name+"': ") || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%d bytes: %v", v.size, err)
		}
	}
	for _, v := range []struct {
		keys []string
		want string
	}{
		{nil, "Parameter 'key-secret' is required for cipher"},
		{[]string{"key-secret", "t"}, "No secret with id 't'"},
		{[]string{"key-secret", "s", "cipher-alg", "serpent-256"}, "Cipher algorithm 'serpent-256' is not supported"},
		{[]string{"key-secret", "s", "cipher-alg", "zork"}, "Parameter 'cipher-alg' does not accept value 'zork'"},
		{[]string{"key-secret", "s", "iter-time", "0"}, "iter-time must be between 1 and 3600000 milliseconds"},
		{[]string{"key-secret", "s", "ivgen-hash-alg", "sha256"}, "'ivgen-hash-alg' is for IV generator 'essiv' alone"},
	} {
		err := newGraph().CreateImage(ctx, "luks", name, object(append(v.keys, "size", "1M")...), qmp.Keyval)
		if err == nil || err.Error() != v.want {
			t.Errorf("%v: %v, want %s", v.keys, err, v.want)
		}
	}
}

// A request allocates nothing.
func TestAllocs(t *testing.T) {
	withDisk(t, newImage(t, 64<<10), func(_ *block.Node, q *block.Queue) {
		p := make([]byte, 16<<10)
		for _, op := range []block.Op{block.OpWrite, block.OpRead} {
			devtest.NoAllocs(t, op.String(), func() { _ = q.Do(op, 0, 0, block.VecOf(p), 0) })
		}
	})
}
