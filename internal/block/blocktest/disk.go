package blocktest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/option"
	"govmd/internal/qmp"
)

// Disk is an open image with a queue.
type Disk struct {
	Graph   *block.Graph
	Node    *block.Node
	Backend *block.Backend
	Queue   *block.Queue
}

// OpenDisk opens the image of that name, as format says, to be written.
func OpenDisk(t testing.TB, format, name string) *Disk {
	t.Helper()
	o := &qmp.Object{}
	o.Add("driver", format)
	return openDisk(t, name, o)
}

// OpenMem opens the image in a file in memory, to be written.
func OpenMem(t testing.TB, format, id string) *Disk {
	t.Helper()
	return openDisk(t, "", inMemory(format, id))
}

// inMemory returns the options of an image in a file in memory.
func inMemory(format, id string) *qmp.Object {
	o, file := &qmp.Object{}, &qmp.Object{}
	file.Add("driver", "mem")
	file.Add("id", id)
	o.Add("driver", format)
	o.Add("file", file)
	return o
}

// OpenReadOnly opens the image of that name, as format says, to be read.
func OpenReadOnly(t testing.TB, format, name string) *Disk {
	t.Helper()
	o := &qmp.Object{}
	o.Add("driver", format)
	return openWith(t, name, o, block.Settings{ReadOnly: true}, block.PermRead)
}

// TryOpen returns why the image of that name cannot be opened to be written, nil if it can.
func TryOpen(format, name string) error {
	o := &qmp.Object{}
	o.Add("driver", format)
	n, err := block.NewGraph(block.Env{}).OpenImage(context.Background(), name, o, qmp.JSON, block.Settings{})
	if err == nil {
		n.Unref()
	}
	return err
}

func openDisk(t testing.TB, name string, o *qmp.Object) *Disk {
	t.Helper()
	return openWith(t, name, o, block.Settings{Unmap: true, NoFlush: name != ""}, block.PermRead|block.PermWrite|block.PermResize)
}

func openWith(t testing.TB, name string, o *qmp.Object, set block.Settings, perm block.Perm) *Disk {
	t.Helper()
	d := &Disk{Graph: block.NewGraph(block.Env{})}
	var err error
	if d.Node, err = d.Graph.OpenImage(context.Background(), name, o, qmp.JSON, set); err != nil {
		t.Fatal(err)
	}
	d.Backend = Backend(t, d.Graph, d.Node, perm)
	d.Queue = d.Backend.NewQueue("test", 8)
	return d
}

// Close closes the image and requires that nothing is left.
func (d *Disk) Close(t testing.TB) {
	t.Helper()
	d.Backend.Close()
	d.Node.Unref()
	if left := d.Graph.CloseAll(); len(left) > 0 {
		t.Fatalf("left open: %v", left)
	}
}

// Read returns the whole disk.
func (d *Disk) Read(t testing.TB) []byte {
	t.Helper()
	p := make([]byte, d.Node.Length())
	if err := d.Queue.Do(block.OpRead, 0, 0, block.VecOf(p), 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// Model is what a disk should hold.
type Model struct {
	Data []byte
	Rnd  *rand.Rand
}

// NewModel returns a disk of zeroes.
func NewModel(size int, seed uint64) *Model {
	return &Model{Data: make([]byte, size), Rnd: rand.New(rand.NewPCG(seed, 99))}
}

// fill fills p with something that is not the same everywhere.
func (m *Model) fill(p []byte) {
	for v := byte(m.Rnd.Uint32()); len(p) > 0; v++ {
		copy(p, bytes.Repeat([]byte{v}, 512))
		p = p[min(512, len(p)):]
	}
}

// span returns a range at random in units of 512 bytes.
func (m *Model) span() (off, n int) {
	off = m.Rnd.IntN(len(m.Data) / 512)
	limit := len(m.Data)/512 - off
	n = m.Rnd.IntN(min(limit, 1+m.Rnd.IntN(400))) + 1
	return off * 512, n * 512
}

// Step does something at random on the disk and in the model.
func (m *Model) Step(t testing.TB, d *Disk) {
	t.Helper()
	var err error
	switch off, n := m.span(); m.Rnd.IntN(9) {
	case 0, 1, 2, 3:
		m.fill(m.Data[off : off+n])
		err = d.Queue.Do(block.OpWrite, int64(off), 0, block.VecOf(bytes.Clone(m.Data[off:off+n])), 0)
	case 4, 5:
		if m.Rnd.IntN(3) == 0 {
			n = len(m.Data) - off
			n = m.Rnd.IntN(n/512+1) * 512
		}
		clear(m.Data[off : off+n])
		err = d.Queue.Do(block.OpZeroes, int64(off), int64(n), block.Vec{}, block.Flags(m.Rnd.IntN(2))*block.MayUnmap)
	case 6:
		err = d.Queue.Do(block.OpFlush, 0, 0, block.Vec{}, 0)
	default:
		p := make([]byte, n)
		if err = d.Queue.Do(block.OpRead, int64(off), 0, block.VecOf(p), 0); err == nil && !bytes.Equal(p, m.Data[off:off+n]) {
			t.Fatalf("%d bytes at %#x differ", n, off)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Verify reads the disk and compares it with the model.
func (m *Model) Verify(t testing.TB, d *Disk) {
	t.Helper()
	got := d.Read(t)
	if len(got) != len(m.Data) {
		t.Fatalf("the disk has %d bytes, not %d", len(got), len(m.Data))
	}
	if bytes.Equal(got, m.Data) {
		return
	}
	for i := range got {
		if got[i] != m.Data[i] {
			t.Fatalf("the disk differs at %#x: %#x, not %#x", i, got[i], m.Data[i])
		}
	}
}

// Compare has qemu-img compare an image with the model.
func (m *Model) Compare(t testing.TB, format, name string) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(raw, m.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	QemuImg(t, "compare", "-q", "-f", "raw", "-F", format, raw, name)
}

// QemuImg runs qemu-img and fails the test when that fails. Without qemu-img the
// test is skipped.
func QemuImg(t testing.TB, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("no qemu-img")
	}
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Create makes an image with options as -o takes them.
func Create(t testing.TB, format, name, opts string) {
	t.Helper()
	g := block.NewGraph(block.Env{})
	if err := TryCreate(g, format, name, opts); err != nil {
		t.Fatal(err)
	}
	if left := g.CloseAll(); len(left) > 0 {
		t.Fatalf("left open: %v", left)
	}
}

// TryCreate is Create for what may fail.
func TryCreate(g *block.Graph, format, name, opts string) error {
	keys := &qmp.Object{}
	for _, it := range option.Parse(opts, "") {
		keys.Set(it.Key, it.Value)
	}
	return g.CreateImage(context.Background(), format, name, keys, qmp.Keyval)
}
