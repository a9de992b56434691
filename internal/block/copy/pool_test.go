package copy_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	"govmd/internal/block/copy"
	_ "govmd/internal/block/drivers" // formats and protocols
	"govmd/internal/block/null"
	"govmd/internal/qmp"
)

// A piece costs no memory: neither handing it over nor copying it.
func TestPiecesAllocateNothing(t *testing.T) {
	g := block.NewGraph(block.Env{})
	open := func() *block.Child {
		size := qmp.Size(64 << 20)
		n, err := g.Open(context.Background(), &block.Options{Driver: "null-co", Branch: &null.Options{Size: &size}}, block.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Unref()
		b := blocktest.Backend(t, g, n, block.PermRead|block.PermWrite)
		t.Cleanup(b.Close)
		return b.Root()
	}
	c := &copy.Copy{Source: open(), Target: open()}
	p := copy.NewPool(copy.DefaultWorkers, copy.DefaultChunk, c.Do)
	defer p.Close()
	pass := func() {
		for off := int64(0); off < 64<<20; off += copy.DefaultChunk {
			piece, _, err := c.Next(off, 64<<20, copy.DefaultChunk)
			if err != nil {
				t.Fatal(err)
			}
			p.Go(piece)
		}
		p.Settle()
	}
	pass() // what is kept for the next time is made now
	if n := testing.AllocsPerRun(20, pass); n > 1 {
		t.Errorf("64 pieces allocate %v times", n)
	}
}

// What fails is told of, with the side whose fault it is, and the rest goes on.
func TestFailures(t *testing.T) {
	bad := errors.New("bad")
	var done atomic.Int64
	p := copy.NewPool(3, 1, func(q copy.Piece, _ []byte) (bool, error) {
		if q.Off%4 == 0 {
			return q.Off%8 == 0, bad
		}
		done.Add(1)
		return false, nil
	})
	defer p.Close()
	for off := range int64(16) {
		p.Go(copy.Piece{Off: off, N: 1})
	}
	p.Settle()
	if !p.Failed() || done.Load() != 12 {
		t.Errorf("%d pieces are done, %v have failed", done.Load(), p.Failed())
	}
	list := p.Failures()
	for _, f := range list {
		if f.Err != bad || f.Off%4 != 0 || f.Read != (f.Off%8 == 0) {
			t.Errorf("%+v has failed", f)
		}
	}
	if len(list) != 4 || p.Failed() {
		t.Errorf("%d have failed, and more: %v", len(list), p.Failed())
	}
}
