package block_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestBitmap marks at random and compares with a plain list.
func TestBitmap(t *testing.T) {
	r := newRig(t)
	const size, gran = 1<<20 + 512, 4096
	_, id := r.mem("", size)
	n := r.open(`{"driver": "mem", "id": "` + id + `"}`)
	b, err := n.CreateBitmap("b", gran)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateBitmap("b", gran); err == nil {
		t.Error("two bitmaps of a name")
	}
	if _, err := n.CreateBitmap("c", 1000); err == nil {
		t.Error("a granularity of 1000")
	}
	model := make([]bool, (size+gran-1)/gran)
	rnd := rand.New(rand.NewPCG(4, 4))
	c := r.backend("", n).Root()
	for range 500 {
		off := rnd.Int64N(size)
		count := 1 + rnd.Int64N(min(size-off, 60000))
		to := rnd.IntN(3) > 0
		switch {
		case to && rnd.IntN(2) == 0:
			if err := c.Pwrite(off, bytes.Repeat([]byte{1}, int(count))); err != nil {
				t.Fatal(err)
			}
		case to:
			b.Set(off, count)
		default:
			b.Reset(off, count)
		}
		for i := off / gran; i <= (off+count-1)/gran; i++ {
			model[i] = to
		}
		var want int64
		for i, m := range model {
			if m {
				want += min(gran, size-int64(i)*gran)
			}
			if b.Get(int64(i)*gran) != m {
				t.Fatalf("granule %d is %v", i, !m)
			}
		}
		if b.Count() != want {
			t.Fatalf("%d bytes are marked, not %d", b.Count(), want)
		}
		// Walking it gives the same.
		seen := make([]bool, len(model))
		for at := int64(0); ; {
			start, k, ok := b.NextDirty(at, 3*gran)
			if !ok {
				break
			}
			if k <= 0 || k > 3*gran {
				t.Fatalf("a stretch of %d bytes", k)
			}
			for i := start / gran; i <= (start+k-1)/gran; i++ {
				seen[i] = true
			}
			at = start + k
		}
		if _, k, ok := b.NextDirty(size, 0); ok {
			t.Fatalf("a stretch of %d bytes beyond the end", k)
		}
		for i := range seen {
			if seen[i] != model[i] {
				t.Fatalf("walking missed granule %d", i)
			}
		}
	}
}

func TestBitmapSuccessor(t *testing.T) {
	r := newRig(t)
	_, id := r.mem("", 1<<20)
	n := r.open(`{"driver": "mem", "id": "` + id + `"}`)
	c := r.backend("", n).Root()
	b, err := n.CreateBitmap("b", 65536)
	if err != nil {
		t.Fatal(err)
	}
	write := func(at int64) { _ = c.Pwrite(at*65536, []byte{1}) }
	write(0)
	if err := b.CreateSuccessor(); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateSuccessor(); err == nil {
		t.Error("frozen twice")
	}
	write(1)
	if b.Get(65536) || !b.Get(0) {
		t.Error("what is frozen changed")
	}
	b.Reclaim()
	if !b.Get(65536) || !b.Get(0) || !b.Enabled() {
		t.Error("reclaimed: marks are missing")
	}
	_ = b.CreateSuccessor()
	write(2)
	b.Abdicate()
	if b.Get(0) || !b.Get(2*65536) {
		t.Error("abdicated: old marks are there, or new ones missing")
	}
	other, err := n.CreateBitmap("other", 4096)
	if err != nil {
		t.Fatal(err)
	}
	other.Set(5*65536, 1)
	if err := b.Merge(other); err != nil || !b.Get(5*65536) || b.Count() != 2*65536 {
		t.Errorf("merged: %v, %d", err, b.Count())
	}
	// What begins before an end is taken once.
	if _, _, ok := b.TakeDirty(3*65536, 5*65536, 0); ok {
		t.Error("taken beyond the end")
	}
	if start, k, ok := b.TakeDirty(0, 5*65536+1, 1<<20); !ok || start != 2*65536 || k != 65536 {
		t.Errorf("taken: %d, %d, %v", start, k, ok)
	}
	if start, _, ok := b.TakeDirty(0, 0, 0); !ok || start != 5*65536 || b.Count() != 0 {
		t.Errorf("taken: %d, %v; %d are left", start, ok, b.Count())
	}
	b.Set(2*65536, 1)
	b.Set(5*65536, 1)
	backup := b.Clear()
	if b.Count() != 0 {
		t.Error("not cleared")
	}
	b.Restore(backup)
	if b.Count() != 2*65536 {
		t.Error("not restored")
	}
}
