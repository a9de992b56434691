package blocktest

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// flushed is what a flush has made stable when the log had so many entries.
type flushed struct {
	at    int
	data  []byte
	later []bool // by sector: may have been written since
}

// PowerFailure writes at random, lets the power fail at any moment, and requires of
// what is left that check finds nothing wrong with it, and that both QEMU and we read
// everything there that was flushed.
func (o *Oracle) PowerFailure(t *testing.T, check func(t *testing.T, name string)) {
	name := filepath.Join(t.TempDir(), "disk."+o.Format)
	Create(t, o.Format, name, o.options())
	start, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	mem, remove := NewMem(t.Name())
	defer remove()
	mem.SetBytes(start)
	marks := o.work(t, mem)
	log, rnd := mem.Log(), rand.New(rand.NewPCG(3, 4))
	// Most can go wrong right before a flush, while there is much to be allocated.
	var before []int
	for i := 1; i < len(log); i++ {
		if log[i].Flush && !log[i-1].Flush {
			before = append(before, i)
		}
	}
	for i := range 30 {
		early := rnd.Float64()
		n := before[int(early*early*early*float64(len(before)))]
		switch {
		case i == 0:
			n = len(log)
		case i%4 == 0:
			n = rnd.IntN(len(log) + 1)
		}
		if err := os.WriteFile(name, Crash(start, log, n, rnd), 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, name)
		for k := len(marks) - 1; k >= 0; k-- {
			if mk := &marks[k]; mk.at <= n {
				mk.verify(t, o.Format, name)
				break
			}
		}
		if t.Failed() {
			t.Fatalf("after %d of %d operations", n, len(log))
		}
	}
}

// work does things at random and returns what was flushed.
func (o *Oracle) work(t *testing.T, mem *Mem) (marks []flushed) {
	d := OpenMem(t, o.Format, t.Name())
	m := NewModel(o.Size, 31)
	for i := range 80 {
		before := bytes.Clone(m.Data)
		m.Step(t, d)
		for s := range len(m.Data) / 512 {
			if at := s * 512; !bytes.Equal(before[at:at+512], m.Data[at:at+512]) {
				for k := range marks {
					marks[k].later[s] = true
				}
			}
		}
		if i%6 == 5 {
			if err := d.Queue.Do(block.OpFlush, 0, 0, block.Vec{}, 0); err != nil {
				t.Fatal(err)
			}
			marks = append(marks, flushed{mem.Len(), bytes.Clone(m.Data), make([]bool, len(m.Data)/512)})
		}
	}
	d.Close(t)
	return marks
}

// verify requires that what was flushed is there.
func (f *flushed) verify(t *testing.T, format, name string) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	QemuImg(t, "convert", "-q", "-f", format, "-O", "raw", name, raw)
	theirs, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	d := OpenDisk(t, format, name)
	defer d.Close(t)
	for who, got := range map[string][]byte{"QEMU": theirs, "we": d.Read(t)} {
		for s, x := range f.later {
			if !x && !bytes.Equal(got[s*512:s*512+512], f.data[s*512:s*512+512]) {
				t.Errorf("sector %d, flushed at %d, is lost: so %s read it", s, f.at, who)
				return
			}
		}
	}
}

// Seed returns a small image with some data, for fuzzing.
func (o *Oracle) Seed(t testing.TB) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk."+o.Format)
	Create(t, o.Format, name, o.options())
	d := OpenDisk(t, o.Format, name)
	if err := d.Backend.Root().Pwrite(1000, bytes.Repeat([]byte{7}, 3000)); err != nil {
		t.Fatal(err)
	}
	d.Close(t)
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Hostile opens an image that is not what it seems and does everything to it. Errors
// are all right; a panic, a hang, or memory without a bound are not.
func Hostile(t *testing.T, format string, image []byte) {
	mem, remove := NewMem(t.Name())
	defer remove()
	mem.SetBytes(image)
	g := block.NewGraph(block.Env{})
	n, err := g.OpenImage(context.Background(), "", inMemory(format, t.Name()), qmp.JSON, block.Settings{Unmap: true, AutoReadOnly: true})
	if err != nil {
		return
	}
	perm := block.PermRead
	if !n.ReadOnly() {
		perm |= block.PermWrite | block.PermResize
	}
	b := Backend(t, g, n, perm)
	c, size := b.Root(), n.Length()
	p := make([]byte, 70000)
	for _, off := range []int64{0, 30000, size / 2, size - 512} {
		off = max(off, 0)
		_ = c.Pread(off, p)
		_, _ = n.BlockStatus(off, 1<<30, block.StatusZero)
		if off < size {
			_ = c.Pwrite(off, p[:min(5000, size-off)])
			_ = c.PwriteZeroes(off, min(20000, size-off), block.MayUnmap)
		}
	}
	_ = c.Flush()
	b.Close()
	n.Unref()
	if left := g.CloseAll(); len(left) > 0 {
		t.Errorf("left open: %v", left)
	}
}

// OpenError returns why an image is refused, nil when it is not.
func OpenError(t testing.TB, format string, image []byte) error {
	t.Helper()
	return openError(t, format, image, block.Settings{})
}

// OpenErrorReadOnly is OpenError for an image that is to be read.
func OpenErrorReadOnly(t testing.TB, format string, image []byte) error {
	t.Helper()
	return openError(t, format, image, block.Settings{ReadOnly: true})
}

func openError(t testing.TB, format string, image []byte, set block.Settings) error {
	t.Helper()
	mem, remove := NewMem(t.Name())
	defer remove()
	mem.SetBytes(image)
	g := block.NewGraph(block.Env{})
	n, err := g.OpenImage(context.Background(), "", inMemory(format, t.Name()), qmp.JSON, set)
	if err == nil {
		n.Unref()
	}
	return err
}

// Patched returns a copy of an image with 8 other bytes at an offset, which may be
// outside: then nothing changes.
func Patched(image []byte, at int, v uint64) []byte {
	image = bytes.Clone(image)
	if at > 0 && at+8 <= len(image) {
		binary.LittleEndian.PutUint64(image[at:], v)
	}
	return image
}
