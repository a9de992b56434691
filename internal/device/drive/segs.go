package drive

import (
	"govmd/internal/block"
	"govmd/internal/memory"
)

// Segs are the pieces of guest memory that a request reads or writes. They are
// kept from one request to the next, so that nothing is allocated.
type Segs struct {
	lent  []memory.Borrow
	bytes [][]byte
	n     int
	write bool // the guest's memory is written
}

// MaxPieces is how many pieces a single request should have at most.
const MaxPieces = 1024

// Begin empties the list; write says that guest memory will be written.
func (s *Segs) Begin(write bool) { s.n, s.write = 0, write }

// Len returns the number of bytes.
func (s *Segs) Len() int { return s.n }

// Pieces returns how many pieces there are.
func (s *Segs) Pieces() int { return len(s.bytes) }

// Add adds size bytes of guest memory at addr. After an error nothing is added.
func (s *Segs) Add(dma *memory.DMA, addr, size uint64) error {
	had := len(s.lent)
	lent, err := dma.BorrowVec(addr, size, s.write, s.lent)
	s.lent = lent
	if err != nil {
		return err
	}
	for _, b := range lent[had:] {
		s.bytes = append(s.bytes, b.Bytes())
	}
	s.n += int(size)
	return nil
}

// Cut drops all but the first n bytes from what Vec returns.
func (s *Segs) Cut(n int) { s.n = min(s.n, n) }

// Vec returns the memory; it is valid until Release.
func (s *Segs) Vec() block.Vec { return block.VecFrom(s.bytes).To(s.n) }

// Release gives the memory back: the pages of what Vec covers are dirty from now on
// when it was written.
func (s *Segs) Release() {
	left := uint64(s.n)
	for _, b := range s.lent {
		w := min(left, b.Size())
		if !s.write {
			w = 0
		}
		b.Release(w)
		left -= min(left, b.Size())
	}
	clear(s.lent)
	clear(s.bytes)
	s.lent, s.bytes, s.n = s.lent[:0], s.bytes[:0], 0
}
