package server

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"govmd/internal/block/nbd/wire"
)

// BenchmarkRead reads 4 KiB at a time, eight at once.
func BenchmarkRead(b *testing.B) {
	r := newRig(b)
	file := filepath.Join(b.TempDir(), "raw")
	if err := os.WriteFile(file, bytes.Repeat([]byte{1}, 1<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	r.file("n", file, "driver", "raw")
	r.start(0)
	r.export("n", false, Options{})
	p := r.peer("n")
	const size, depth = 4096, 8
	var header [wire.RequestSize]byte
	reply := make([]byte, 20+8+size)
	b.ReportAllocs()
	b.SetBytes(size)
	sent := 0
	for got := 0; got < b.N; {
		for sent < b.N && sent-got < depth {
			wire.PutRequest(&header, 0, wire.CmdRead, uint64(sent), uint64(sent%256)*size, size)
			if _, err := p.conn.Write(header[:]); err != nil {
				b.Fatal(err)
			}
			sent++
		}
		if _, err := io.ReadFull(p.conn, reply); err != nil {
			b.Fatal(err)
		}
		got++
	}
}

// A request allocates nothing.
func TestAllocations(t *testing.T) {
	if n := testing.Benchmark(BenchmarkRead).AllocsPerOp(); n > 0 {
		t.Errorf("%d allocations a request", n)
	}
}
