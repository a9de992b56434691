package blocktest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"govmd/internal/block"
)

// Oracle compares what a format does with what QEMU does.
type Oracle struct {
	Format  string
	Options string // what images are made with, as -o takes it, without the size
	Size    int    // of the disk, as it comes out
	Check   bool   // qemu-img can check such images
}

func (o *Oracle) options() string {
	return strings.Trim(fmt.Sprintf("%s,size=%d", o.Options, o.Size), ",")
}

func (o *Oracle) check(t testing.TB, name string) {
	t.Helper()
	if o.Check {
		QemuImg(t, "check", "-q", "-f", o.Format, name)
	}
}

// Random writes at random to an image that was made here and has QEMU say what came
// of it.
func (o *Oracle) Random(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk."+o.Format)
	Create(t, o.Format, name, o.options())
	o.check(t, name)
	m := NewModel(o.Size, 17)
	m.Compare(t, o.Format, name)
	for range 3 {
		d := OpenDisk(t, o.Format, name)
		for range 60 {
			m.Step(t, d)
		}
		m.Verify(t, d)
		d.Close(t)
		o.check(t, name)
		m.Compare(t, o.Format, name)
	}
}

// Theirs has QEMU make an image and write to it at random, reads it, goes on writing
// and has QEMU read it.
func (o *Oracle) Theirs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk."+o.Format)
	QemuImg(t, "create", "-q", "-f", o.Format, "-o", o.options(), name)
	m := NewModel(o.Size, 23)
	for range 2 {
		args := []string{"-f", o.Format}
		for range 30 {
			off, n := m.span()
			cmd := fmt.Sprintf("write -z %d %d", off, n)
			if v := byte(m.Rnd.IntN(256)); v > 50 {
				copy(m.Data[off:], bytes.Repeat([]byte{v}, n))
				cmd = fmt.Sprintf("write -P %d %d %d", v, off, n)
			} else {
				clear(m.Data[off : off+n])
			}
			args = append(args, "-c", cmd)
		}
		if out, err := exec.Command("qemu-io", append(args, name)...).CombinedOutput(); err != nil || bytes.Contains(out, []byte("fail")) {
			t.Fatalf("qemu-io: %v %s", err, out[max(0, len(out)-300):])
		}
		d := OpenDisk(t, o.Format, name)
		m.Verify(t, d)
		for range 40 {
			m.Step(t, d)
		}
		m.Verify(t, d)
		d.Close(t)
		o.check(t, name)
		m.Compare(t, o.Format, name)
	}
}

// Parallel has many requests under way at once, each in a part of its own that shares
// blocks with its neighbours', and compares what came of them.
func (o *Oracle) Parallel(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk."+o.Format)
	Create(t, o.Format, name, o.options())
	m := NewModel(o.Size, 29)
	d := OpenDisk(t, o.Format, name)
	const piece = 12 << 10
	done := make(chan error, 8)
	pieces := m.Rnd.Perm(o.Size / piece)
	reqs := make([]block.Request, cap(done))
	under := 0
	wait := func() {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		under--
	}
	free := make(chan *block.Request, len(reqs))
	for i := range reqs {
		r := &reqs[i]
		r.Op = block.OpWrite
		r.Done = func(r *block.Request, err error) { free <- r; done <- err }
		free <- r
	}
	for k, i := range pieces {
		if under == len(reqs) {
			wait()
		}
		p := m.Data[i*piece : (i+1)*piece]
		m.fill(p)
		r := <-free
		r.Off, r.Vec = int64(i*piece), block.VecOf(bytes.Clone(p))
		d.Queue.Submit(r)
		under++
		if k%64 == 63 {
			if err := d.Node.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for under > 0 {
		wait()
	}
	m.Verify(t, d)
	d.Close(t)
	o.check(t, name)
	m.Compare(t, o.Format, name)
}

// Run runs all of them.
func (o *Oracle) Run(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("no qemu-img")
	}
	t.Run("ours", func(t *testing.T) { t.Parallel(); o.Random(t) })
	t.Run("theirs", func(t *testing.T) { t.Parallel(); o.Theirs(t) })
	t.Run("parallel", func(t *testing.T) { t.Parallel(); o.Parallel(t) })
}

// Allocations requires that reading and writing in place allocate nothing.
func (o *Oracle) Allocations(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk."+o.Format)
	Create(t, o.Format, name, o.options())
	d := OpenDisk(t, o.Format, name)
	defer d.Close(t)
	c := d.Backend.Root()
	v := block.VecOf(block.AlignedBuffer(64<<10, 4096))
	both := func() {
		if err := c.Pwritev(4096, v, 0); err != nil {
			t.Fatal(err)
		}
		if err := c.Preadv(4096, v, 0); err != nil {
			t.Fatal(err)
		}
	}
	both()
	if n := testing.AllocsPerRun(100, both); n > 0 {
		t.Errorf("%v allocations by a write and a read", n)
	}
}

// InMemory has temporary folders in memory where it can, for TestMain: what the
// tests would wait for otherwise is the disk.
func InMemory(m *testing.M) int {
	dir, err := os.MkdirTemp("/dev/shm", "govmd-block-")
	if err != nil {
		return m.Run()
	}
	defer os.RemoveAll(dir)      // only test files
	_ = os.Setenv("TMPDIR", dir) // the name is valid
	return m.Run()
}
