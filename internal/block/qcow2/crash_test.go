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
	"govmd/internal/block/qcow2"
	"govmd/internal/qmp"
)

// crashRig is a disk whose file records what is done to it.
type crashRig struct {
	mem   *blocktest.Mem
	id    string
	start []byte
	marks []mark
}

// mark is the state of the disk as of a flush that had completed when the log had
// so many entries, and what has been written since.
type mark struct {
	at    int
	data  []byte
	dirty []bool // by sector: written after the flush
}

func (r *crashRig) open(t testing.TB) *disk {
	t.Helper()
	d := &disk{g: block.NewGraph(block.Env{})}
	o := &block.Options{Driver: "qcow2", Branch: &qcow2.Options{GenericCOW: block.GenericCOW{GenericFormat: block.GenericFormat{File: blocktest.Ref(r.id)}}}}
	var err error
	if d.n, err = d.g.Open(context.Background(), o, block.Settings{Unmap: true}); err != nil {
		t.Fatal(err)
	}
	d.use(t)
	return d
}

func newCrashRig(t *testing.T, o qcow2.CreateOptions) *crashRig {
	t.Helper()
	r := &crashRig{id: t.Name()}
	var remove func()
	r.mem, remove = blocktest.NewMem(r.id)
	t.Cleanup(remove)
	o.File = blocktest.Ref(r.id)
	if err := block.TypeOf("qcow2").Create(context.Background(), block.NewGraph(block.Env{}), &o); err != nil {
		t.Fatal(err)
	}
	r.start = r.mem.Bytes()
	r.mem.SetBytes(r.start)
	return r
}

// TestCrash writes, discards, resizes and makes snapshots, lets the power fail at
// any moment, and requires that qemu-img finds no corruption and that everything
// flushed is there.
func TestCrash(t *testing.T) {
	needQemu(t)
	for _, v := range []struct {
		name      string
		o         qcow2.CreateOptions
		snapshots bool
		repair    bool // the image marks itself as dirty and has to be repaired first
	}{
		{"default", qcow2.CreateOptions{}, false, false},
		{"512", qcow2.CreateOptions{ClusterSize: ptr(qmp.Size(512))}, false, false},
		{"4k-ref8", qcow2.CreateOptions{ClusterSize: ptr(qmp.Size(4096)), RefcountBits: ptr(8)}, false, false},
		{"extl2", qcow2.CreateOptions{ExtendedL2: ptr(true), ClusterSize: ptr(qmp.Size(16384))}, false, false},
		{"lazy", qcow2.CreateOptions{LazyRefcounts: ptr(true), ClusterSize: ptr(qmp.Size(4096))}, false, true},
		{"snapshots", qcow2.CreateOptions{ClusterSize: ptr(qmp.Size(4096))}, true, true},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			const size = 1 << 20
			o := v.o
			o.Size = size
			r := newCrashRig(t, o)
			m := newModel(size, 5)
			r.work(t, m, clusterOf(&o), v.snapshots)
			rnd := rand.New(rand.NewPCG(1, 1))
			log := r.mem.Log()
			for i := range 60 {
				n := rnd.IntN(len(log) + 1)
				if i == 0 {
					n = len(log)
				}
				image := blocktest.Crash(r.start, log, n, rnd)
				r.check(t, image, n, v.repair)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// work does things at random and notes what is flushed.
func (r *crashRig) work(t *testing.T, m *model, cluster int, snapshots bool) {
	d := r.open(t)
	dirty := make([]bool, len(m.data)/512)
	note := func() {
		// What is written from now on may or may not be there.
		for i := range r.marks {
			for s, x := range dirty {
				r.marks[i].dirty[s] = r.marks[i].dirty[s] || x
			}
		}
		clear(dirty)
	}
	for i := range 150 {
		before := bytes.Clone(m.data)
		m.step(t, d, cluster)
		for s := range dirty {
			dirty[s] = !bytes.Equal(before[s*512:s*512+512], m.data[s*512:s*512+512])
		}
		note()
		if i%6 == 5 {
			if err := d.q.Do(block.OpFlush, 0, 0, block.Vec{}, 0); err != nil {
				t.Fatal(err)
			}
			r.marks = append(r.marks, mark{at: r.mem.Len(), data: bytes.Clone(m.data), dirty: make([]bool, len(dirty))})
		}
		if snapshots && i%30 == 29 {
			s := d.n.Driver().(block.Snapshotter)
			if err := s.CreateSnapshot(context.Background(), &block.Snapshot{Name: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
			if i%60 == 59 {
				if err := s.DeleteSnapshot(context.Background(), s.Snapshots()[0].ID); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	d.close(t)
}

// check looks at what a crash after n operations has left.
func (r *crashRig) check(t *testing.T, image []byte, n int, repair bool) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "crashed.qcow2")
	if err := os.WriteFile(name, image, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"check", "-f", "qcow2", name}
	if repair {
		args = []string{"check", "-r", "all", "-f", "qcow2", name}
	}
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	// 3 says that there are leaks, and nothing else.
	if code := exitCode(err); code != 0 && code != 3 || strings.Contains(string(out), "corruptions") && !repair {
		t.Errorf("after %d of %d operations: exit status %d\n%s", n, r.mem.Len(), code, out)
		return
	}
	last := -1
	for i := range r.marks {
		if r.marks[i].at <= n {
			last = i
		}
	}
	if last < 0 {
		return
	}
	mk := &r.marks[last]
	d := openDisk(t, name)
	defer d.close(t)
	got := make([]byte, len(mk.data))
	if err := d.q.Do(block.OpRead, 0, 0, block.VecOf(got), 0); err != nil {
		t.Errorf("after %d operations: %v", n, err)
		return
	}
	for s, x := range mk.dirty {
		if !x && !bytes.Equal(got[s*512:s*512+512], mk.data[s*512:s*512+512]) {
			t.Errorf("after %d operations sector %d, flushed at %d, is lost", n, s, mk.at)
			return
		}
	}
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return -1
}
