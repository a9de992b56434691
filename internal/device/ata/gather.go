package ata

import (
	"govmd/internal/device/drive"
	"govmd/internal/memory"
)

// Pos is a place in the list of guest memory that a command is about.
type Pos struct {
	Entry uint32 `cbor:"entry"`
	Off   uint32 `cbor:"off"`   // in the entry
	End   bool   `cbor:"end"`   // the last entry is used up
	Moved uint32 `cbor:"moved"` // bytes so far, where the controller counts them
}

// Region is an entry of the list.
type Region struct {
	Addr uint64
	Size uint32 // not 0
	Last bool   // nothing follows
}

// Gather is Port.Gather for a list of at most so many entries, which read reads.
func (pos *Pos) Gather(s *drive.Segs, dma *memory.DMA, want int, entries uint32, read func(n uint32) (Region, error)) error {
	for s.Len() < want && !pos.End {
		if pos.Entry >= entries {
			pos.End = true
			break
		}
		r, err := read(pos.Entry)
		if err != nil {
			return err
		}
		if pos.Off >= r.Size { // only of a damaged state
			pos.Off = 0
		}
		n := min(int(r.Size-pos.Off), want-s.Len())
		if s.Pieces() >= drive.MaxPieces { // complete the sector, and no more
			if s.Len()%SectorSize == 0 {
				return nil
			}
			n = min(n, SectorSize-s.Len()%SectorSize)
		}
		if err := s.Add(dma, r.Addr+uint64(pos.Off), uint64(n)); err != nil {
			return err
		}
		if pos.Off += uint32(n); pos.Off == r.Size {
			pos.Entry++
			pos.Off = 0
			pos.End = r.Last
		}
	}
	return nil
}
