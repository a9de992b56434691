package filter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	"govmd/internal/block/filter"
)

const cbwSize = 4<<20 + 4096 // not whole units

// pattern fills a disk so that no two sectors are alike.
func pattern(size int) []byte {
	p := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(p)
	clear(p[1<<20 : 1<<20+300000]) // some of it is zero
	return p
}

// disk makes a file with contents, and a node "source" over it.
func (r *rig) disk(p []byte) {
	r.Helper()
	name := r.file(0)
	if err := os.WriteFile(name, p, 0o600); err != nil {
		r.Fatal(err)
	}
	r.open(`{"driver": "file", "node-name": "source", "discard": "unmap", "filename": "` + name + `"}`)
}

// reader gives a node to a back end that only reads it, and discards.
func (r *rig) reader(n *block.Node) *block.Child {
	r.Helper()
	b := blocktest.Backend(r, r.Graph, n, block.PermRead|block.PermWrite)
	r.Cleanup(b.Close)
	return b.Root()
}

// TestFleecing writes at random to a disk whose old contents others read meanwhile:
// through snapshot-access, and through the target, which falls through to the disk.
func TestFleecing(t *testing.T) {
	for _, unit := range []string{"65536", "2097152"} {
		t.Run(unit, func(t *testing.T) { fleece(newRig(t), unit) })
	}
}

func fleece(r *rig, cluster string) {
	old := pattern(cbwSize)
	r.disk(old)
	image := filepath.Join(r.TempDir(), "target.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-qf", "qcow2", "-o", "cluster_size="+cluster, image, fmt.Sprint(cbwSize)).CombinedOutput(); err != nil {
		r.Fatalf("%s", out)
	}
	target := r.open(`{"driver": "qcow2", "node-name": "target", "discard": "unmap", "backing": "source", "file": ` + fileNode(image) + `}`)
	cbw := r.open(`{"driver": "copy-before-write", "node-name": "cbw", "target": "target", "file": "source"}`)
	access := r.open(`{"driver": "snapshot-access", "node-name": "access", "discard": "unmap", "file": "cbw"}`)
	_, guest := r.use(cbw)
	snapshot := r.reader(access)
	b := blocktest.Backend(r, r.Graph, target, block.PermRead)
	r.Cleanup(b.Close)
	fallen := b.Root()

	now := bytes.Clone(old)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	read := func(seed uint64, c *block.Child) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		p := make([]byte, 200000)
		for {
			select {
			case <-stop:
				return
			default:
			}
			off := rnd.IntN(cbwSize)
			p := p[:min(1+rnd.IntN(len(p)), cbwSize-off)]
			if err := c.Pread(int64(off), p); err != nil || !bytes.Equal(p, old[off:off+len(p)]) {
				r.Errorf("reading %d bytes at %d: %v, or not as they were", len(p), off, err)
				return
			}
		}
	}
	for i := range uint64(2) {
		readers.Go(func() { read(i, snapshot) })
		readers.Go(func() { read(i+2, fallen) })
	}
	const parts = 4 // each writer has a part of the disk, which does not end where units do
	for i := range parts {
		writers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 2))
			low, high := i*(cbwSize/parts), (i+1)*(cbwSize/parts)
			for range 150 {
				off := low + rnd.IntN(high-low)
				n := 1 + rnd.IntN(min(high-off, 100000))
				v := bytes.Repeat([]byte{byte(rnd.Uint32())}, n)
				var err error
				switch rnd.IntN(6) {
				case 0:
					err = guest.Do(block.OpZeroes, int64(off), int64(n), block.Vec{}, block.MayUnmap)
					clear(v)
				case 1:
					// What a discard leaves is anything; a write says what.
					err = errors.Join(guest.Do(block.OpDiscard, int64(off), int64(n), block.Vec{}, 0),
						guest.Do(block.OpWrite, int64(off), 0, block.VecOf(v), 0))
				default:
					err = guest.Do(block.OpWrite, int64(off), 0, block.VecOf(v), 0)
				}
				if err != nil {
					r.Error(err)
				}
				copy(now[off:], v)
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	got := make([]byte, cbwSize)
	for _, c := range []*block.Child{snapshot, fallen} {
		if err := c.Pread(0, got); err != nil || !bytes.Equal(got, old) {
			r.Errorf("what was there is not as it was: %v", err)
		}
	}
	if err := guest.Do(block.OpRead, 0, 0, block.VecOf(got), 0); err != nil || !bytes.Equal(got, now) {
		r.Errorf("the disk does not hold what was written: %v", err)
	}
	// What is discarded in the snapshot cannot be read there, and is copied no more.
	if err := snapshot.Pdiscard(0, 2<<20); err != nil {
		r.Error(err)
	}
	if err := snapshot.Pread(0, got[:1]); err != unix.EACCES {
		r.Errorf("reading what was discarded: %v", err)
	}
	if err := snapshot.Pread(2<<20, got[:512]); err != nil {
		r.Errorf("reading what was not discarded: %v", err)
	}
}

// With a bitmap only what is marked is kept.
func TestCopyBeforeWriteBitmap(t *testing.T) {
	r := newRig(t)
	old := pattern(cbwSize)
	r.disk(old)
	b, err := r.Node("source").CreateBitmap("some", 4096)
	if err != nil {
		t.Fatal(err)
	}
	b.Set(100000, 1)
	r.open(`{"driver": "file", "node-name": "target", "filename": "` + r.file(cbwSize) + `"}`)
	cbw := r.open(`{"driver": "copy-before-write", "node-name": "cbw", "target": "target", "file": "source", "bitmap": {"node": "source", "name": "some"}}`)
	snapshot := r.reader(r.open(`{"driver": "snapshot-access", "file": "cbw"}`))
	_, guest := r.use(cbw)
	if err := guest.Do(block.OpWrite, 0, 0, block.VecOf(make([]byte, 1<<20)), 0); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 65536)
	if err := snapshot.Pread(65536, got); err != nil || !bytes.Equal(got, old[65536:131072]) {
		t.Errorf("what is marked was not kept: %v", err)
	}
	if err := snapshot.Pread(0, got); err != unix.EACCES {
		t.Errorf("what is not marked: %v", err)
	}
	r.wantError(`{"driver": "copy-before-write", "target": "target", "file": "source", "bitmap": {"node": "source", "name": "other"}}`, "Dirty bitmap 'other' not found")
	r.wantError(`{"driver": "snapshot-access", "file": "target"}`, "keeps no snapshot")
	// Nobody else may write what is kept.
	be, err := r.NewBackend("")
	if err != nil {
		t.Fatal(err)
	}
	defer be.Close()
	if err := be.SetPerms(block.PermWrite, block.PermAll); err != nil {
		t.Fatal(err)
	}
	if err := be.InsertMedium(r.Node("source")); err == nil {
		t.Error("another may write past the filter")
	}
}

func TestCopyBeforeWriteErrors(t *testing.T) {
	once := `, "inject-error": [{"event": "none", "iotype": "write", "once": true}]`
	for _, c := range []struct {
		option       string
		write, again error
		read         error
	}{
		{``, block.ErrIO, nil, nil},
		{`, "on-cbw-error": "break-guest-write"`, block.ErrIO, nil, nil},
		{`, "on-cbw-error": "break-snapshot"`, nil, nil, unix.EACCES},
	} {
		t.Run(c.option, func(t *testing.T) {
			_, guest, snapshot, old := over(t, once, c.option)
			p := block.VecOf(make([]byte, 512))
			if err := guest.Do(block.OpWrite, 4096, 0, p, 0); err != c.write {
				t.Errorf("the write: %v", err)
			}
			if err := guest.Do(block.OpWrite, 4096, 0, p, 0); err != c.again {
				t.Errorf("once more: %v", err)
			}
			got := make([]byte, 8192)
			if err := snapshot.Pread(0, got); err != c.read || err == nil && !bytes.Equal(got, old[:8192]) {
				t.Errorf("the snapshot: %v, or not as it was", err)
			}
		})
	}
}

// over opens a disk with a filter over it, with options, whose target is a blkdebug node.
func over(t *testing.T, debug, option string) (r *rig, guest *block.Queue, snapshot *block.Child, old []byte) {
	r = newRig(t)
	old = pattern(cbwSize)
	r.disk(old)
	r.open(`{"driver": "blkdebug", "node-name": "target", "image": ` + fileNode(r.file(cbwSize)) + debug + `}`)
	cbw := r.open(`{"driver": "copy-before-write", "node-name": "cbw", "target": "target", "file": "source"` + option + `}`)
	snapshot = r.reader(r.open(`{"driver": "snapshot-access", "file": "cbw"}`))
	_, guest = r.use(cbw)
	return r, guest, snapshot, old
}

// A copy that takes too long is a failed one.
func TestCopyBeforeWriteTimeout(t *testing.T) {
	r, guest, snapshot, _ := over(t, "", `, "on-cbw-error": "break-snapshot", "cbw-timeout": 1`)
	target := block.BreakpointsOf(r.Node("target"))
	if err := target.SetBreak("pwritev", "held"); err != nil {
		t.Fatal(err)
	}
	if err := guest.Do(block.OpWrite, 0, 0, block.VecOf(make([]byte, 512)), 0); err != nil {
		t.Errorf("the write: %v", err)
	}
	if err := snapshot.Pread(0, make([]byte, 512)); err != unix.EACCES {
		t.Errorf("the snapshot: %v", err)
	}
	if err := target.ResumeBreak("held"); err != nil {
		t.Fatal(err)
	}
	// A drain waits for the copy that nobody waits for.
	n := r.Node("cbw")
	if err := n.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	n.Undrain()
}

// A filter that is put in and taken out is of no consequence to who uses the disk.
func TestInsertAndRemove(t *testing.T) {
	r := newRig(t)
	old := pattern(cbwSize)
	r.disk(old)
	source := r.Node("source")
	b, guest := r.use(source)
	target := r.open(`{"driver": "file", "node-name": "target", "filename": "` + r.file(cbwSize) + `"}`)
	name := "over"
	d, err := filter.Insert(context.Background(), r.Graph, source, target, &name)
	if err != nil {
		t.Fatal(err)
	}
	if b.Node().Name() != name {
		t.Errorf("the drive is on %s", b.Node().Name())
	}
	if err := guest.Do(block.OpWrite, 65536, 0, block.VecOf(make([]byte, 512)), 0); err != nil {
		t.Error(err)
	}
	if left := d.Once().Left(); left != cbwSize-65536 {
		t.Errorf("%d bytes are left to be copied", left)
	}
	if err := d.Remove(context.Background()); err != nil {
		t.Fatal(err)
	}
	if b.Node() != source || r.Node(name) != nil || len(source.Bitmaps()) > 0 {
		t.Error("something is left of the filter")
	}
	if err := guest.Do(block.OpWrite, 0, 0, block.VecOf(make([]byte, 512)), 0); err != nil {
		t.Error(err)
	}
}

// Copying allocates nothing.
func TestCopyBeforeWriteAllocs(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"source", "target"} {
		r.open(`{"driver": "null-co", "node-name": "` + name + `", "size": 1099511627776}`)
	}
	n := r.open(`{"driver": "copy-before-write", "target": "target", "file": "source"}`)
	b := blocktest.Backend(t, r.Graph, n, block.PermRead|block.PermWrite)
	defer b.Close()
	p := make([]byte, 4096)
	off := int64(0)
	if got := testing.AllocsPerRun(1000, func() {
		if err := b.Root().Pwrite(off, p); err != nil {
			t.Fatal(err)
		}
		off += 65536
	}); got > 0 {
		t.Errorf("%v allocations for a write", got)
	}
	if left := n.Driver().(*filter.CopyBeforeWrite).Once().Left(); left != 1<<40-off {
		t.Errorf("%d bytes are left to be copied, not %d", left, 1<<40-off)
	}
}
