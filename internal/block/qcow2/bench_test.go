package qcow2_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
			args := []string{"-d", fmt.Sprint(bm.depth), "-s", fmt.Sprint(bm.size), "-S", fmt.Sprint(bm.step)}
			if bm.op == block.OpWrite {
				args = append(args, "-w")
			}
			if bm.fresh {
				_ = os.Remove(name)
				newImage(b, name, &qcow2.CreateOptions{Size: qmp.Size(length)})
			}
			qemuBench(b, name, args...)
		})
	}
}

// BenchmarkChain reads 64 KiB at a time, 32 under way, through a chain of ten
// images each of which has a tenth of the data.
func BenchmarkChain(b *testing.B) {
	const size, depth = 256 << 20, 10
	dir := b.TempDir()
	below := ""
	for i := range depth {
		name := filepath.Join(dir, fmt.Sprint(i))
		o := &qcow2.CreateOptions{Size: size}
		if below != "" {
			o.BackingFile, o.BackingFmt = ptr(below), ptr("qcow2")
		}
		newImage(b, name, o)
		below = name
		d := openDisk(b, name)
		for off := int64(i) << 16; off < size; off += depth << 16 {
			if err := d.b.Root().Pwrite(off, make([]byte, 65536)); err != nil {
				b.Fatal(err)
			}
		}
		d.close(b)
	}
	d := openDisk(b, below)
	b.SetBytes(65536)
	b.ReportAllocs()
	b.ResetTimer()
	run(b, d.q, block.OpRead, b.N, 32, 65536, 65536, size)
	b.StopTimer()
	d.close(b)
	qemuBench(b, below, "-d", "32", "-s", "64k")
}

// qemuBench has qemu-img do the same and reports its figure beside ours.
func qemuBench(b *testing.B, name string, args ...string) {
	args = append([]string{"bench", "-f", "qcow2", "-c", fmt.Sprint(b.N)}, append(args, name)...)
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	if err != nil {
		return // not here, or another version: our own figure stands
	}
	f := strings.Fields(string(out)) // "... completed in 0.308 seconds."
	if s, err := strconv.ParseFloat(f[len(f)-2], 64); err == nil {
		b.ReportMetric(s*1e9/float64(b.N), "qemu-ns/op")
	}
}

// BenchmarkOpen opens an image of 1 TiB.
func BenchmarkOpen(b *testing.B) {
	name := filepath.Join(b.TempDir(), "disk")
	newImage(b, name, &qcow2.CreateOptions{Size: 1 << 40})
	for range b.N {
		d := openDisk(b, name)
		d.close(b)
	}
}
