package qcow2_test

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
	"govmd/internal/block/file"
	"govmd/internal/block/qcow2"
	"govmd/internal/qmp"
)

func ptr[T any](v T) *T { return &v }

// qemuImg runs qemu-img and fails the test when that fails.
func qemuImg(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func needQemu(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("no qemu-img")
	}
}

func newImage(t testing.TB, name string, o *qcow2.CreateOptions) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.File = block.DefRef(&block.Options{Driver: "file", Branch: &file.Options{Filename: name}})
	g := block.NewGraph(secretEnv())
	if err := block.TypeOf("qcow2").Create(context.Background(), g, o); err != nil {
		t.Fatal(err)
	}
	if left := g.CloseAll(); len(left) > 0 {
		t.Fatalf("left open: %v", left)
	}
}

// disk is an open image with a queue.
type disk struct {
	g *block.Graph
	n *block.Node
	b *block.Backend
	q *block.Queue
}

func openDisk(t testing.TB, name string, opts ...any) *disk {
	t.Helper()
	d := &disk{g: block.NewGraph(block.Env{})}
	o := &qmp.Object{}
	o.Add("driver", "qcow2")
	for i := 0; i < len(opts); i += 2 {
		o.Set(opts[i].(string), opts[i+1])
	}
	var err error
	if d.n, err = d.g.OpenImage(context.Background(), name, o, qmp.JSON, block.Settings{Unmap: true, NoFlush: true}); err != nil {
		t.Fatal(err)
	}
	d.use(t)
	return d
}

// use gives the node to a back end with a queue.
func (d *disk) use(t testing.TB) {
	t.Helper()
	d.b = blocktest.Backend(t, d.g, d.n, block.PermRead|block.PermWrite|block.PermResize)
	d.q = d.b.NewQueue("test", 8)
}

// clusterOf returns the size of the clusters of an image that is made so.
func clusterOf(o *qcow2.CreateOptions) int {
	if o.ClusterSize != nil {
		return int(*o.ClusterSize)
	}
	return 65536
}

func (d *disk) close(t testing.TB) {
	t.Helper()
	d.b.Close()
	d.n.Unref()
	if left := d.g.CloseAll(); len(left) > 0 {
		t.Fatalf("left open: %v", left)
	}
}

// model is what the disk should hold.
type model struct {
	data []byte
	rnd  *rand.Rand
}

func newModel(size int, seed uint64) *model {
	return &model{data: make([]byte, size), rnd: rand.New(rand.NewPCG(seed, 99))}
}

func (m *model) fill(p []byte) {
	v := byte(m.rnd.Uint32())
	for i := range p {
		p[i] = v + byte(i>>9)
	}
}

func (m *model) span(unit int) (off, n int) {
	off = m.rnd.IntN(len(m.data)/unit) * unit
	limit := len(m.data) - off
	n = (m.rnd.IntN(min(limit/unit, 1+m.rnd.IntN(400))) + 1) * unit
	return off, n
}

func (m *model) verify(t testing.TB, d *disk) {
	t.Helper()
	p := make([]byte, len(m.data))
	if err := d.q.Do(block.OpRead, 0, 0, block.VecOf(p), 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p, m.data) {
		for i := range p {
			if p[i] != m.data[i] {
				t.Fatalf("the disk differs at %#x: %#x, not %#x", i, p[i], m.data[i])
			}
		}
	}
}

// step does something at random on the disk and the model.
func (m *model) step(t testing.TB, d *disk, cluster int) {
	t.Helper()
	var err error
	switch m.rnd.IntN(10) {
	case 0, 1, 2, 3:
		off, n := m.span(512)
		m.fill(m.data[off : off+n])
		err = d.q.Do(block.OpWrite, int64(off), 0, block.VecOf(bytes.Clone(m.data[off:off+n])), 0)
	case 4:
		off, n := m.span(512)
		clear(m.data[off : off+n])
		err = d.q.Do(block.OpZeroes, int64(off), int64(n), block.Vec{}, block.Flags(m.rnd.IntN(2))*block.MayUnmap)
	case 5:
		off, n := m.span(cluster)
		if d.n.Info().BackingFile == "" && d.n.Backing() == nil {
			clear(m.data[off : off+n])
			err = d.q.Do(block.OpDiscard, int64(off), int64(n), block.Vec{}, 0)
		}
	case 6:
		off, n := m.span(cluster)
		n = min(n, 8*cluster)
		m.fill(m.data[off : off+n])
		err = d.q.Do(block.OpWrite, int64(off), 0, block.VecOf(bytes.Clone(m.data[off:off+n])), block.Compressed)
		if err == block.ErrUnsupp {
			err = d.q.Do(block.OpWrite, int64(off), 0, block.VecOf(bytes.Clone(m.data[off:off+n])), 0)
		}
	case 7:
		err = d.q.Do(block.OpFlush, 0, 0, block.Vec{}, 0)
	default:
		off, n := m.span(512)
		p := make([]byte, n)
		if err = d.q.Do(block.OpRead, int64(off), 0, block.VecOf(p), 0); err == nil && !bytes.Equal(p, m.data[off:off+n]) {
			t.Fatalf("%d bytes at %#x differ", n, off)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// compare has qemu-img check an image and compare it with the model.
func (m *model) compare(t testing.TB, name string) {
	t.Helper()
	qemuImg(t, "check", "-q", name)
	raw := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(raw, m.data, 0o600); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, "compare", "-q", "-f", "raw", "-F", "qcow2", raw, name)
}

var variants = []struct {
	name string
	o    qcow2.CreateOptions
}{
	{"default", qcow2.CreateOptions{}},
	{"v2", qcow2.CreateOptions{Version: ptr(qcow2.Version("v2"))}},
	{"512", qcow2.CreateOptions{ClusterSize: ptr(qmp.Size(512))}},
	{"4k-ref1", qcow2.CreateOptions{ClusterSize: ptr(qmp.Size(4096)), RefcountBits: ptr(1)}},
	{"ref2", qcow2.CreateOptions{RefcountBits: ptr(2)}},
	{"ref64", qcow2.CreateOptions{ClusterSize: ptr(qmp.Size(4096)), RefcountBits: ptr(64)}},
	{"2m", qcow2.CreateOptions{ClusterSize: ptr(qmp.Size(2 << 20))}},
	{"zstd", qcow2.CreateOptions{CompressionType: ptr(qcow2.Compression("zstd"))}},
	{"lazy", qcow2.CreateOptions{LazyRefcounts: ptr(true)}},
	{"extl2", qcow2.CreateOptions{ExtendedL2: ptr(true)}},
	{"extl2-16k", qcow2.CreateOptions{ExtendedL2: ptr(true), ClusterSize: ptr(qmp.Size(16384))}},
	{"metadata", qcow2.CreateOptions{Preallocation: ptr(qcow2.Prealloc("metadata"))}},
	{"falloc", qcow2.CreateOptions{Preallocation: ptr(qcow2.Prealloc("falloc"))}},
	{"full", qcow2.CreateOptions{Preallocation: ptr(qcow2.Prealloc("full")), ClusterSize: ptr(qmp.Size(8192))}},
}

// TestRandom writes at random and has QEMU say what came of it.
func TestRandom(t *testing.T) {
	needQemu(t)
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			const size = 6<<20 + 512
			name := filepath.Join(t.TempDir(), "disk.qcow2")
			o := v.o
			o.Size = size
			newImage(t, name, &o)
			cluster := clusterOf(&o)
			qemuImg(t, "check", "-q", name)
			m := newModel(size, uint64(len(v.name)))
			for round := range 3 {
				d := openDisk(t, name, "l2-cache-size", int64(8192<<round))
				for range 120 {
					m.step(t, d, cluster)
				}
				m.verify(t, d)
				d.close(t)
				m.compare(t, name)
			}
		})
	}
}

// TestBacking writes at random above a backing file that QEMU made.
func TestBacking(t *testing.T) {
	needQemu(t)
	for _, v := range variants[:11] {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			base := filepath.Join(dir, "base.qcow2")
			const size = 3 << 20
			m := newModel(size, 7)
			m.fill(m.data[:size/2])
			raw := filepath.Join(dir, "base.raw")
			if err := os.WriteFile(raw, m.data, 0o600); err != nil {
				t.Fatal(err)
			}
			qemuImg(t, "convert", "-q", "-c", "-f", "raw", "-O", "qcow2", raw, base)
			name := filepath.Join(dir, "top.qcow2")
			o := v.o
			o.Size, o.BackingFile, o.BackingFmt = size, ptr("base.qcow2"), ptr("qcow2")
			newImage(t, name, &o)
			cluster := clusterOf(&o)
			for range 2 {
				d := openDisk(t, name)
				if d.n.Backing() == nil {
					t.Fatal("no backing file")
				}
				for range 100 {
					m.step(t, d, cluster)
				}
				m.verify(t, d)
				d.close(t)
				m.compare(t, name)
			}
		})
	}
}

// TestSnapshots makes, deletes and applies snapshots at random.
func TestSnapshots(t *testing.T) {
	needQemu(t)
	for _, i := range []int{0, 1, 2, 8, 9} {
		v := variants[i]
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			const size = 2 << 20
			name := filepath.Join(t.TempDir(), "disk.qcow2")
			o := v.o
			o.Size = size
			newImage(t, name, &o)
			m := newModel(size, 3)
			kept := map[string][]byte{}
			cluster := clusterOf(&o)
			ctx := context.Background()
			for range 8 {
				d := openDisk(t, name)
				s := d.n.Driver().(block.Snapshotter)
				for range 25 {
					m.step(t, d, cluster)
				}
				sn := &block.Snapshot{Name: "snap"}
				if err := s.CreateSnapshot(ctx, sn); err != nil {
					t.Fatal(err)
				}
				kept[sn.ID] = bytes.Clone(m.data)
				for range 25 {
					m.step(t, d, cluster)
				}
				for id, data := range kept {
					switch m.rnd.IntN(4) {
					case 0:
						if err := s.DeleteSnapshot(ctx, id); err != nil {
							t.Fatal(err)
						}
						delete(kept, id)
					case 1:
						if err := s.ApplySnapshot(ctx, id); err != nil {
							t.Fatal(err)
						}
						copy(m.data, data)
					}
					m.step(t, d, cluster)
				}
				m.verify(t, d)
				d.close(t)
				m.compare(t, name)
				for id, data := range kept {
					raw := name + ".raw"
					qemuImg(t, "convert", "-q", "-l", "snapshot.id="+id, "-O", "raw", name, raw)
					got, err := os.ReadFile(raw)
					if err != nil || !bytes.Equal(got, data) {
						t.Fatalf("snapshot %s differs (%v)", id, err)
					}
				}
			}
		})
	}
}

// TestResize grows and shrinks at random.
func TestResize(t *testing.T) {
	needQemu(t)
	for _, i := range []int{0, 1, 2, 3, 9} {
		v := variants[i]
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), "disk.qcow2")
			o := v.o
			o.Size = 1 << 20
			newImage(t, name, &o)
			m := newModel(1<<20, 3)
			cluster := clusterOf(&o)
			d := openDisk(t, name)
			for range 12 {
				for range 15 {
					m.step(t, d, cluster)
				}
				size := (1 + m.rnd.IntN(8<<20/512)) * 512
				pre := block.PreallocOff
				if size > len(m.data) && m.rnd.IntN(3) == 0 {
					pre = block.Prealloc(1 + m.rnd.IntN(3))
				}
				if size < cluster {
					size = cluster
				}
				if err := d.n.Truncate(context.Background(), int64(size), true, pre, 0); err != nil {
					t.Fatalf("%d to %d bytes (%s): %v", len(m.data), size, pre, err)
				}
				old := m.data
				m.data = make([]byte, size)
				copy(m.data, old)
				m.verify(t, d)
			}
			d.close(t)
			m.compare(t, name)
		})
	}
}

// TestQemuWrote reads what qemu-io has written, and goes on writing.
func TestQemuWrote(t *testing.T) {
	needQemu(t)
	for _, opts := range []string{"", "cluster_size=4k,refcount_bits=1", "extended_l2=on", "compat=0.10", "compression_type=zstd", "preallocation=metadata,cluster_size=512"} {
		t.Run(opts, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), "disk.qcow2")
			args := []string{"create", "-q", "-f", "qcow2"}
			if opts != "" {
				args = append(args, "-o", opts)
			}
			qemuImg(t, append(args, name, "4M")...)
			m := newModel(4<<20, 11)
			var cmds []string
			touched := map[int]bool{}
			one := func() {
				off, n := m.span(512)
				v := byte(1 + m.rnd.IntN(255))
				defer func() {
					for i := off >> 16; i <= (off+n-1)>>16; i++ {
						touched[i] = true
					}
				}()
				switch m.rnd.IntN(5) {
				case 0:
					clear(m.data[off : off+n])
					cmds = append(cmds, "-c", fmt.Sprintf("write -z %d %d", off, n))
				case 1:
					// QEMU compresses only what is not there yet.
					off, n = off&^65535, 65536
					if touched[off>>16] || strings.Contains(opts, "preallocation") {
						return
					}
					copy(m.data[off:], bytes.Repeat([]byte{v}, n))
					cmds = append(cmds, "-c", fmt.Sprintf("write -c -P %d %d %d", v, off, n))
				default:
					copy(m.data[off:], bytes.Repeat([]byte{v}, n))
					cmds = append(cmds, "-c", fmt.Sprintf("write -P %d %d %d", v, off, n))
				}
			}
			for range 60 {
				one()
			}
			if out, err := exec.Command("qemu-io", append([]string{"-f", "qcow2"}, append(cmds, name)...)...).CombinedOutput(); err != nil || bytes.Contains(out, []byte("fail")) {
				t.Fatalf("qemu-io: %v %s", err, out[max(0, len(out)-300):])
			}
			d := openDisk(t, name)
			m.verify(t, d)
			for range 50 {
				m.step(t, d, 65536)
			}
			d.close(t)
			m.compare(t, name)
		})
	}
}
