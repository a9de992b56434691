package qcow2_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/qcow2"
	"govmd/internal/qmp"
)

// run keeps depth requests under way until n are done, each step bytes after the
// one before, as qemu-img bench does.
func run(b *testing.B, q *block.Queue, op block.Op, n, depth, size int, step, length int64) {
	var left, pos atomic.Int64
	left.Store(int64(n))
	done := make(chan struct{}, depth)
	reqs := make([]block.Request, depth)
	for i := range reqs {
		r := &reqs[i]
		r.Op, r.Vec = op, block.VecOf(block.AlignedBuffer(size, 4096))
		r.Done = func(r *block.Request, err error) {
			if err != nil {
				b.Error(err)
			}
			if left.Add(-1) < 0 {
				done <- struct{}{}
				return
			}
			r.Off = (pos.Add(step) - step) % (length - int64(size) + 1)
			r.Off &^= int64(size - 1)
			q.Submit(r)
		}
	}
	for i := range reqs {
		reqs[i].Done(&reqs[i], nil)
	}
	for range reqs {
		<-done
	}
}

func BenchmarkImage(b *testing.B) {
	const size = 1 << 30
	for _, bm := range []struct {
		name  string
		op    block.Op
		depth int
		size  int
		step  int64
		fresh bool
	}{
		{"read4k/1", block.OpRead, 1, 4096, 4096, false},
		{"read4k/32", block.OpRead, 32, 4096, 4096, false},
		{"readRandom4k/32", block.OpRead, 32, 4096, 7340032 + 4096, false},
		{"read64k/32", block.OpRead, 32, 65536, 65536, false},
		{"write4k/1", block.OpWrite, 1, 4096, 4096, false},
		{"write4k/32", block.OpWrite, 32, 4096, 4096, false},
		{"allocate4k/32", block.OpWrite, 32, 4096, 65536, true},
		{"allocate64k/32", block.OpWrite, 32, 65536, 65536, true},
	} {
		b.Run(bm.name, func(b *testing.B) {
			name := filepath.Join(b.TempDir(), "disk.qcow2")
			n := b.N
			length := int64(size)
			if bm.fresh {
				length = int64(n+64) * 65536
			}
			newImage(b, name, &qcow2.CreateOptions{Size: qmp.Size(length)})
			d := openDisk(b, name)
			if !bm.fresh {
				run(b, d.q, block.OpWrite, size/65536, 8, 65536, 65536, size)
			}
			b.SetBytes(int64(bm.size))
			b.ReportAllocs()
			b.ResetTimer()
			run(b, d.q, bm.op, n, bm.depth, bm.size, bm.step, length)
			b.StopTimer()
			d.close(b)
		})
	}
}
