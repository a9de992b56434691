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

// ToGuest reports whether guest memory is written.
func (s *Segs) ToGuest() bool { return s.write }

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

// AppendPart appends n bytes of borrowed memory, from skip on, to a list of pieces.
func AppendPart(segs [][]byte, list []memory.Borrow, skip, n uint64) [][]byte {
	for i := range list {
		p := list[i].Bytes()
		if skip >= uint64(len(p)) {
			skip -= uint64(len(p))
			continue
		}
		p = p[skip:]
		skip = 0
		if uint64(len(p)) > n {
			p = p[:n]
		}
		if n -= uint64(len(p)); len(p) > 0 {
			segs = append(segs, p)
		}
	}
	return segs
}

// keepSegments is how many pieces a list that is not in use remembers room for.
const keepSegments = 256

// KeepSegments empties a list of pieces for its next use, unless it has become large.
func KeepSegments(segs [][]byte) [][]byte {
	if cap(segs) > keepSegments {
		return nil
	}
	clear(segs)
	return segs[:0]
}
