package maptable

import "govmd/internal/block"

// Kind says what is known of a range of a disk.
type Kind uint8

// The kinds of range.
const (
	Absent Kind = iota // not in the image: it reads as the backing file does, or as zeroes
	Zero               // zeroes, whatever is behind it
	Data               // in a file
	Packed             // in a file, compressed: the Mapper is an Unpacker
)

// Place is where N bytes of a disk are.
type Place struct {
	Kind Kind
	N    int64
	File *block.Child // of data
	Off  int64        // in File
}

// follows reports whether q goes on where p ends, and alike.
func (p *Place) follows(q *Place) bool {
	return p.Kind == q.Kind && (p.Kind != Data || p.File == q.File && p.Off+p.N == q.Off)
}

// Mapper knows where the bytes of a disk are.
type Mapper interface {
	// Find describes the bytes from off on: at most n of them, all alike.
	Find(off, n int64) (Place, error)
	// FindForWrite is Find for bytes that are about to be written: it returns data,
	// which read as before if they had no place until now.
	FindForWrite(off, n int64) (Place, error)
}

// Unpacker is a Mapper that has compressed data, which are only read.
type Unpacker interface {
	// Unpack reads v, which Find has said to be packed in p, at off of the disk.
	Unpack(p Place, off int64, v block.Vec) error
}

// Preadv reads from a disk; backing is what it shows where it has nothing, nil for zeroes.
func Preadv(m Mapper, backing *block.Child, off int64, v block.Vec) error {
	for v.Len() > 0 {
		p, err := m.Find(off, int64(v.Len()))
		if err != nil {
			return err
		}
		part := v.To(int(p.N))
		switch {
		case p.Kind == Data:
			err = p.File.Preadv(p.Off, part, 0)
		case p.Kind == Packed:
			err = m.(Unpacker).Unpack(p, off, part)
		case p.Kind == Absent && backing != nil:
			err = backing.Preadv(off, part, 0)
		default:
			err = part.Zero()
		}
		if err != nil {
			return err
		}
		off, v = off+p.N, v.From(int(p.N))
	}
	return nil
}

// Pwritev writes to a disk.
func Pwritev(m Mapper, off int64, v block.Vec, f block.Flags) error {
	for v.Len() > 0 {
		p, err := m.FindForWrite(off, int64(v.Len()))
		if err == nil {
			err = p.File.Pwritev(p.Off, v.To(int(p.N)), f)
		}
		if err != nil {
			return err
		}
		off, v = off+p.N, v.From(int(p.N))
	}
	return nil
}

// PwriteZeroes makes a range of a disk read as zeroes. What reads so as it is, is left
// out; backing says that what is absent does not.
func PwriteZeroes(m Mapper, backing bool, off, n int64, f block.Flags) error {
	for n > 0 {
		p, err := m.Find(off, n)
		if err == nil && (p.Kind == Data || p.Kind == Absent && backing) {
			p, err = m.FindForWrite(off, p.N)
			if err == nil {
				err = p.File.PwriteZeroes(p.Off, p.N, f)
			}
		}
		if err != nil {
			return err
		}
		off, n = off+p.N, n-p.N
	}
	return nil
}

// maxAlike is how many places BlockStatus looks at.
const maxAlike = 1 << 16

// BlockStatus describes a range of a disk. backing says that the format has backing
// files; of one without, all that is not in the image is zeroes of its own.
func BlockStatus(m Mapper, backing bool, off, n int64) (block.Status, error) {
	p, err := m.Find(off, n)
	if err != nil {
		return block.Status{}, err
	}
	for range maxAlike {
		if p.N >= n {
			break
		}
		q, err := m.Find(off+p.N, n-p.N)
		if err != nil || !p.follows(&q) {
			break
		}
		p.N += q.N
	}
	st := block.Status{N: p.N}
	switch {
	case p.Kind == Data:
		st.Flags = block.StatusAllocated | block.StatusData | block.StatusOffset
		st.File, st.Offset = p.File.Node(), p.Off
	case p.Kind == Packed:
		st.Flags = block.StatusAllocated | block.StatusData | block.StatusCompressed
	case p.Kind == Zero || !backing:
		st.Flags = block.StatusAllocated | block.StatusZero
	}
	return st, nil
}

// Map is what block.Mapper's Map of a disk returns: where n bytes at off are, if entry
// of the table that says so is in memory and they lie together.
func Map(m Mapper, t *Table, entry, off, n int64) (c *block.Child, at int64, token uint32, ok bool) {
	if t != nil && !t.Cached(entry) {
		return nil, 0, 0, false
	}
	p, err := m.Find(off, n)
	if err != nil || p.Kind != Data || p.N < n {
		return nil, 0, 0, false
	}
	return p.File, p.Off, 0, true
}
