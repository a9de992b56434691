package qcow2_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"govmd/internal/block"
	"govmd/internal/block/qcow2"
	"govmd/internal/qmp"
)

// TestParallel has many write, zero, discard and read blocks of their own that
// share clusters with others', while snapshots come and go and tables are written.
func TestParallel(t *testing.T) {
	needQemu(t)
	for _, v := range []struct {
		name    string
		o       qcow2.CreateOptions
		backing bool
	}{
		{"default", qcow2.CreateOptions{}, false},
		{"backing", qcow2.CreateOptions{}, true},
		{"4k", qcow2.CreateOptions{ClusterSize: ptr(qmp.Size(4096)), RefcountBits: ptr(32)}, true},
		{"extl2", qcow2.CreateOptions{ExtendedL2: ptr(true), ClusterSize: ptr(qmp.Size(65536))}, true},
		{"512", qcow2.CreateOptions{ClusterSize: ptr(qmp.Size(512))}, false},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			const size, unit, workers, rounds = 2 << 20, 1024, 4, 600
			dir := t.TempDir()
			name := filepath.Join(dir, "disk.qcow2")
			o := v.o
			o.Size = size
			m := newModel(size, 17)
			if v.backing {
				base := filepath.Join(dir, "base.qcow2")
				newImage(t, base, &qcow2.CreateOptions{Size: size})
				d := openDisk(t, base)
				m.fill(m.data[:size/2])
				if err := d.q.Do(block.OpWrite, 0, 0, block.VecOf(bytes.Clone(m.data)), 0); err != nil {
					t.Fatal(err)
				}
				d.close(t)
				o.BackingFile, o.BackingFmt = &base, ptr("qcow2")
			}
			newImage(t, name, &o)
			d := openDisk(t, name, "l2-cache-size", int64(8192))
			var all sync.WaitGroup
			for w := range workers {
				all.Add(1)
				go func() {
					defer all.Done()
					if err := d.blocks(m.data, w, workers, unit, rounds); err != nil {
						t.Error(err)
					}
				}()
			}
			all.Add(1)
			go func() {
				defer all.Done()
				s := d.n.Driver().(block.Snapshotter)
				for i := range 6 {
					sn := &block.Snapshot{Name: fmt.Sprint(i)}
					if err := s.CreateSnapshot(context.Background(), sn); err != nil {
						t.Error(err)
						return
					}
					if i%2 == 1 {
						if err := s.DeleteSnapshot(context.Background(), s.Snapshots()[0].ID); err != nil {
							t.Error(err)
						}
					}
				}
			}()
			all.Wait()
			m.verify(t, d)
			d.close(t)
			m.compare(t, name)
		})
	}
}

// TestSharedTable writes twice below a table that a snapshot has, too, while a read
// fetches it: the table is copied once, and neither write waits for the read.
func TestSharedTable(t *testing.T) {
	needQemu(t)
	const size = 1 << 20
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	newImage(t, name, &qcow2.CreateOptions{Size: size})
	m := newModel(size, 23)
	m.fill(m.data)
	d := openDisk(t, name)
	if err := d.b.Root().Pwrite(0, m.data); err != nil {
		t.Fatal(err)
	}
	if err := d.n.Driver().(block.Snapshotter).CreateSnapshot(context.Background(), &block.Snapshot{Name: "snap"}); err != nil {
		t.Fatal(err)
	}
	d.close(t)
	below, img := &qmp.Object{}, &qmp.Object{}
	img.Add("driver", "file")
	img.Add("filename", name)
	below.Add("driver", "blkdebug")
	below.Add("image", img)
	d = openDisk(t, "", "file", below)
	bp := block.BreakpointsOf(d.n)
	if err := bp.SetBreak("l2_load", "A"); err != nil {
		t.Fatal(err)
	}
	read, written := make(chan error, 1), make(chan error, 2)
	go func() { read <- d.b.Root().Pread(0, make([]byte, 512)) }()
	if err := bp.WaitBreak("A", nil); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{0, size / 2} {
		part := m.data[off : off+512]
		m.fill(part)
		go func() { written <- d.b.Root().Pwrite(int64(off), part) }()
	}
	late := time.AfterFunc(10*time.Second, func() {
		t.Error("the writes wait for the read")
		_ = bp.ResumeBreak("A") // so that the test ends
	})
	for range 2 {
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
	if late.Stop() {
		if err := bp.ResumeBreak("A"); err != nil {
			t.Error(err)
		}
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
	m.verify(t, d)
	d.close(t)
	m.compare(t, name)
}

// blocks does things at random to the blocks of which worker w is the owner.
func (d *disk) blocks(model []byte, w, workers, unit, rounds int) error {
	rnd := rand.New(rand.NewPCG(uint64(w), 5))
	for range rounds {
		i := rnd.IntN(len(model)/unit/workers)*workers + w
		mine := model[i*unit : (i+1)*unit]
		off := int64(i * unit)
		var err error
		switch rnd.IntN(8) {
		case 0:
			clear(mine)
			err = d.q.Do(block.OpZeroes, off, int64(unit), block.Vec{}, block.Flags(rnd.IntN(2))*block.MayUnmap)
		case 1:
			err = d.q.Do(block.OpFlush, 0, 0, block.Vec{}, 0)
		case 2, 3:
			p := make([]byte, unit)
			if err = d.q.Do(block.OpRead, off, 0, block.VecOf(p), 0); err == nil && !bytes.Equal(p, mine) {
				err = fmt.Errorf("block %d differs", i)
			}
		default:
			for j := range mine {
				mine[j] = byte(rnd.Uint32())
			}
			err = d.q.Do(block.OpWrite, off, 0, block.VecOf(bytes.Clone(mine)), 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
