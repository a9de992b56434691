package file_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	_ "govmd/internal/block/drivers"
	"govmd/internal/block/file"
	"govmd/internal/qmp"
)

func newImage(t *testing.T, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	return name
}

func openImage(t *testing.T, g *block.Graph, name string, set block.Settings, opts *qmp.Object) *block.Node {
	t.Helper()
	n, err := g.OpenImage(context.Background(), name, opts, qmp.JSON, set)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func rw(t *testing.T, g *block.Graph, n *block.Node) *block.Backend {
	t.Helper()
	return blocktest.Backend(t, g, n, block.PermRead|block.PermWrite|block.PermResize)
}

func TestReadWrite(t *testing.T) {
	for _, mode := range []string{"threads", "io_uring", "direct threads", "direct native", "direct io_uring"} {
		t.Run(mode, func(t *testing.T) {
			g := block.NewGraph(block.Env{})
			name := newImage(t, 1<<20+512)
			opts := &qmp.Object{}
			opts.Add("driver", "raw")
			aio, direct := strings.CutPrefix(mode, "direct ")
			sub := &qmp.Object{}
			sub.Add("aio", aio)
			opts.Add("file", sub)
			n := openImage(t, g, name, block.Settings{Direct: direct, Unmap: true}, opts)
			b := rw(t, g, n)
			q := b.NewQueue("test", 4)
			model := make([]byte, 1<<20+512)
			rnd := rand.New(rand.NewPCG(1, 2))
			for range 300 {
				off := rnd.IntN(len(model))
				size := rnd.IntN(min(len(model)-off, 20000) + 1)
				var err error
				switch rnd.IntN(4) {
				case 0:
					p := make([]byte, size)
					for i := range p {
						p[i] = byte(rnd.Uint32())
					}
					copy(model[off:], p)
					cut := size / 3
					err = q.Do(block.OpWrite, int64(off), 0, block.VecFrom([][]byte{p[:cut], nil, p[cut:]}), 0)
				case 1:
					clear(model[off : off+size])
					err = q.Do(block.OpZeroes, int64(off), int64(size), block.Vec{}, block.MayUnmap)
				case 2:
					err = q.Do(block.OpFlush, 0, 0, block.Vec{}, 0)
				default:
					p := make([]byte, size)
					err = q.Do(block.OpRead, int64(off), 0, block.VecOf(p), 0)
					if !bytes.Equal(p, model[off:off+size]) {
						t.Fatalf("%d bytes at %d differ", size, off)
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := q.Do(block.OpRead, 1<<20, 0, block.VecOf(make([]byte, 1024)), 0); err != block.ErrIO {
				t.Errorf("reading beyond the end: %v", err)
			}
			b.Close()
			n.Unref()
			if left := g.CloseAll(); len(left) > 0 {
				t.Errorf("left open: %v", left)
			}
			got, err := os.ReadFile(name)
			if err != nil || !bytes.Equal(got, model) {
				t.Errorf("the file differs: %v", err)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	g := block.NewGraph(block.Env{})
	name := newImage(t, 4<<20)
	n := openImage(t, g, name, block.Settings{}, nil)
	defer n.Unref()
	b := rw(t, g, n)
	defer b.Close()
	if err := b.Root().Pwrite(1<<20, bytes.Repeat([]byte{1}, 1<<20)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for off := int64(0); off < n.Length(); {
		st, err := n.BlockStatus(off, n.Length()-off, block.StatusZero)
		if err != nil {
			t.Fatal(err)
		}
		kind := "data"
		if st.Flags&block.StatusZero != 0 {
			kind = "zero"
		}
		got = append(got, kind)
		off += st.N
	}
	if s := strings.Join(got, " "); s != "zero data zero" {
		t.Errorf("status: %s", s)
	}
}

// TestLocks holds our locks against qemu-io's, both ways.
func TestLocks(t *testing.T) {
	if _, err := exec.LookPath("qemu-io"); err != nil {
		t.Skip("no qemu-io")
	}
	g := block.NewGraph(block.Env{})
	name := newImage(t, 1<<20)
	opts := &qmp.Object{}
	opts.Add("driver", "raw")
	n := openImage(t, g, name, block.Settings{}, opts)
	b, err := g.NewBackend("disk")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetPerms(block.PermRead|block.PermWrite, block.PermRead|block.PermUnchanged|block.PermResize); err != nil {
		t.Fatal(err)
	}
	if err := b.InsertMedium(n); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command("qemu-io", "-f", "raw", "-c", "write 0 512", name).CombinedOutput()
	if !strings.Contains(string(out), `Failed to get "write" lock`) {
		t.Errorf("qemu-io was let in: %s", out)
	}
	out, err = exec.Command("qemu-io", "-f", "raw", "-r", "-U", "-c", "read 0 512", name).CombinedOutput()
	if err != nil {
		t.Errorf("qemu-io -U was kept out: %s", out)
	}
	b.Close()
	n.Unref()

	// Another one, that waits for its input, has the image now.
	end := blocktest.QemuIO(t, "-f", "raw", name)
	opts = &qmp.Object{}
	opts.Add("driver", "raw")
	n = openImage(t, g, name, block.Settings{}, opts)
	defer n.Unref()
	c, err := g.NewBackend("disk2")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetPerms(block.PermRead|block.PermWrite, block.PermAll&^block.PermWrite)
	if err := c.InsertMedium(n); err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("inserted beside qemu-io: %v", err)
	}
	c.Close()
	end()
}

func TestPermissions(t *testing.T) {
	g := block.NewGraph(block.Env{})
	n := openImage(t, g, newImage(t, 1<<20), block.Settings{}, nil)
	defer n.Unref()
	if n.DriverName() != "raw" || !n.Guessed() {
		t.Errorf("guessed %s", n.DriverName())
	}
	b := rw(t, g, n)
	defer b.Close()
	if err := b.SetPerms(block.PermRead|block.PermWrite, block.PermRead); err != nil {
		t.Fatal(err)
	}
	c, err := g.NewBackend("second")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetPerms(block.PermRead|block.PermWrite, block.PermAll)
	if err := c.InsertMedium(n); err == nil || !strings.Contains(err.Error(), "Permission conflict") {
		t.Errorf("a second writer: %v", err)
	}
	// A guessed raw image does not turn into another format.
	if err := b.Root().Pwrite(0, []byte("QFI\xfb\x00\x00\x00\x03")); block.TypeOf("qcow2") != nil && err != block.ErrReadOnly {
		t.Errorf("writing a header: %v", err)
	}
}

// TestManyAtOnce has many requests under way on each engine.
func TestManyAtOnce(t *testing.T) {
	for _, aio := range []string{"threads", "io_uring", "native"} {
		t.Run(aio, func(t *testing.T) {
			g := block.NewGraph(block.Env{})
			opts := &qmp.Object{}
			opts.Add("driver", "raw")
			sub := &qmp.Object{}
			sub.Add("aio", aio)
			opts.Add("file", sub)
			n := openImage(t, g, newImage(t, 64<<16), block.Settings{Direct: true}, opts)
			defer n.Unref()
			b := rw(t, g, n)
			defer b.Close()
			q := b.NewQueue("many", 64)
			done := make(chan error, 64)
			reqs := make([]block.Request, 64)
			for _, op := range []block.Op{block.OpWrite, block.OpFlush, block.OpRead} {
				for i := range reqs {
					p := bytes.Repeat([]byte{byte(i + 1)}, 65536)
					reqs[i] = block.Request{Op: op, Off: int64(i) << 16, Vec: block.VecOf(p), Done: func(_ *block.Request, err error) {
						if err == nil && op == block.OpRead && p[777] != byte(i+1) {
							err = block.ErrIO
						}
						done <- err
					}}
					if op == block.OpRead {
						clear(p)
					}
					q.Submit(&reqs[i])
				}
				for range reqs {
					if err := <-done; err != nil {
						t.Errorf("%s: %v", op, err)
					}
				}
			}
		})
	}
}

func BenchmarkRead4k(b *testing.B) {
	g := block.NewGraph(block.Env{})
	name := filepath.Join(b.TempDir(), "disk.img")
	if err := os.WriteFile(name, make([]byte, 16<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	n, err := g.OpenImage(context.Background(), name, nil, qmp.JSON, block.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Unref()
	be, _ := g.NewBackend("")
	_ = be.SetPerms(block.PermRead, block.PermAll)
	if err := be.InsertMedium(n); err != nil {
		b.Fatal(err)
	}
	defer be.Close()
	q := be.NewQueue("bench", 0)
	left := b.N
	var reqs [32]block.Request
	ch := make(chan *block.Request, 64)
	for i := range reqs {
		reqs[i] = block.Request{Op: block.OpRead, Off: int64(i) * 4096, Vec: block.VecOf(make([]byte, 4096)), Done: func(r *block.Request, err error) { ch <- r }}
	}
	b.ReportAllocs()
	b.ResetTimer()
	inflight := 0
	for i := range reqs {
		if left > 0 {
			left--
			inflight++
			q.Submit(&reqs[i])
		}
	}
	for inflight > 0 {
		r := <-ch
		inflight--
		if left > 0 {
			left--
			inflight++
			r.Off = (r.Off + 32*4096) & (16<<20 - 1)
			q.Submit(r)
		}
	}
	b.SetBytes(4096)
}

// TestStatistics counts discards, as query-blockstats shows them.
func TestStatistics(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	g := block.NewGraph(block.Env{})
	n, err := g.Open(context.Background(), &block.Options{Driver: "file", Branch: &file.Options{Filename: name}}, block.Settings{Unmap: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Unref()
	d := n.Driver().(block.Discarder)
	for range 2 {
		if err := d.Pdiscard(65536, 131072); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Pdiscard(-5, 1); err == nil {
		t.Error("discarding at -5")
	}
	if got, want := *n.Info().Statistics.(*file.Stats), (file.Stats{"file", 2, 1, 262144}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
}

// TestFIFO refuses what opening would wait for: an image can name any file.
func TestFIFO(t *testing.T) {
	name := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := block.NewGraph(block.Env{}).OpenImage(context.Background(), name, nil, qmp.JSON, block.Settings{ReadOnly: true})
	if err == nil || !strings.Contains(err.Error(), "it is a FIFO") {
		t.Errorf("opening it: %v", err)
	}
}
