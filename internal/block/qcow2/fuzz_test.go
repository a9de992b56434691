package qcow2_test

import (
	"bytes"
	"context"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	"govmd/internal/block/qcow2"
	"govmd/internal/qmp"
)

// seeds are small images with everything that an image can have.
func seeds(t testing.TB) (list [][]byte) {
	for i, o := range []qcow2.CreateOptions{
		{ClusterSize: ptr(qmp.Size(512))},
		{ClusterSize: ptr(qmp.Size(512)), Version: ptr(qcow2.Version("v2"))},
		{ClusterSize: ptr(qmp.Size(16384)), ExtendedL2: ptr(true), CompressionType: ptr(qcow2.Compression("zstd"))},
		{ClusterSize: ptr(qmp.Size(1024)), RefcountBits: ptr(64), LazyRefcounts: ptr(true)},
	} {
		id := t.Name() + string(rune('a'+i))
		m, remove := blocktest.NewMem(id)
		o.File, o.Size = blocktest.Ref(id), 128<<10
		g := block.NewGraph(block.Env{})
		if err := block.TypeOf("qcow2").Create(context.Background(), g, &o); err != nil {
			t.Fatal(err)
		}
		n, b := openMem(t, g, id)
		c := b.Root()
		for _, err := range []error{
			c.Pwrite(1000, bytes.Repeat([]byte{1}, 3000)),
			c.PwriteZeroes(65536, 16384, 0),
			c.Pwritev(32768, block.VecOf(bytes.Repeat([]byte{2}, 16384)), block.Compressed),
			n.Driver().(block.Snapshotter).CreateSnapshot(context.Background(), &block.Snapshot{Name: "one"}),
			c.Pwrite(2000, bytes.Repeat([]byte{3}, 3000)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if o.Version == nil {
			bm, err := n.CreateBitmap("bits", 4096)
			if err != nil {
				t.Fatal(err)
			}
			bm.SetPersistent(true)
			bm.Set(8192, 4096)
		}
		b.Close()
		n.Unref()
		list = append(list, m.Bytes())
		remove()
	}
	return list
}

func openMem(t testing.TB, g *block.Graph, id string) (*block.Node, *block.Backend) {
	t.Helper()
	o := &block.Options{Driver: "qcow2", Branch: &qcow2.Options{
		GenericCOW: block.GenericCOW{GenericFormat: block.GenericFormat{File: blocktest.Ref(id)}, Backing: &block.RefOrNull{Null: &qmp.Null{}}}}}
	n, err := g.Open(context.Background(), o, block.Settings{Unmap: true})
	if err != nil {
		return nil, nil
	}
	return n, blocktest.Backend(t, g, n, block.PermRead|block.PermWrite|block.PermResize)
}

// FuzzImage opens images that are not what they seem and does everything to them.
// Errors are all right; what must not happen is a panic, a hang, or data that are
// written over metadata.
func FuzzImage(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s, uint16(0), uint64(0))
		// A table entry that points to the header, to itself, and out of the file.
		for _, at := range []uint16{0x30, 0x28, 0x40, 0x400, 0x600, 0x800, 0xa00} {
			for _, v := range []uint64{0, 0x200, 0x8000000000000000, 0x8000000000000600, 1 << 40, 1<<62 | 0x1ff} {
				f.Add(s, at, v)
			}
		}
	}
	f.Fuzz(func(t *testing.T, image []byte, at uint16, v uint64) {
		if len(image) > 1<<20 {
			return
		}
		image = bytes.Clone(image)
		if at > 0 && int(at)+8 <= len(image) {
			for i := range 8 {
				image[int(at)+i] = byte(v >> (56 - 8*i))
			}
		}
		id := t.Name()
		m, remove := blocktest.NewMem(id)
		defer remove()
		m.SetBytes(image)
		g := block.NewGraph(block.Env{})
		n, b := openMem(t, g, id)
		if n == nil {
			return
		}
		ctx := context.Background()
		c := b.Root()
		size := n.Length()
		p := make([]byte, 70000)
		for _, off := range []int64{0, 30000, size - 512} {
			off = max(off, 0)
			_ = c.Pread(off, p)
			_, _ = n.BlockStatus(off, 1<<20, block.StatusZero)
			if off < size {
				_ = c.Pwrite(off, p[:min(5000, size-off)])
			}
		}
		_ = c.PwriteZeroes(0, min(size, 20000), block.MayUnmap)
		_ = c.Pdiscard(0, min(size, 40000))
		_ = c.Flush()
		if s, ok := n.Driver().(block.Snapshotter); ok {
			for _, sn := range s.Snapshots()[:min(1, len(s.Snapshots()))] {
				_ = s.ApplySnapshot(ctx, sn.ID)
				_ = s.DeleteSnapshot(ctx, sn.ID)
			}
			_ = s.CreateSnapshot(ctx, &block.Snapshot{Name: "x"})
		}
		if size < 1<<30 {
			_ = n.Truncate(ctx, size+65536, true, block.PreallocOff, 0)
			_, _ = n.Driver().(block.Checker).Check(ctx, block.FixErrors|block.FixLeaks)
		}
		b.Close()
		n.Unref()
		if left := g.CloseAll(); len(left) > 0 {
			t.Errorf("left open: %v", left)
		}
	})
}
