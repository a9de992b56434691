package block

// Vec is a list of memory segments, guest memory mostly. It is a value: cutting
// it into pieces allocates nothing and leaves the original as it was. The zero
// value is empty.
//
// Guest memory is in no Go heap and can go away (a backing file cut short): Go
// code reads and writes the bytes only through the methods here, which report
// that as ErrFault; system calls answer EFAULT.
type Vec struct {
	first []byte   // what is left of the current segment
	rest  [][]byte // the segments after it
	n     int      // bytes in all, which can be fewer than the segments hold
}

// VecOf returns the vector of a single segment.
func VecOf(p []byte) Vec { return Vec{first: p, n: len(p)} }

// VecFrom returns the vector of several segments. It keeps segs, which must not
// change while the vector is in use.
func VecFrom(segs [][]byte) Vec {
	v := Vec{rest: segs}
	for _, s := range segs {
		v.n += len(s)
	}
	v.settle()
	return v
}

// settle makes first non-empty when anything is left.
func (v *Vec) settle() {
	for len(v.first) == 0 && v.n > 0 {
		v.first, v.rest = v.rest[0], v.rest[1:]
	}
}

// Len returns the number of bytes.
func (v Vec) Len() int { return v.n }

// Slice returns the bytes from from up to to. It panics when they are out of range.
func (v Vec) Slice(from, to int) Vec {
	if from < 0 || to < from || to > v.n {
		panic("block: vector sliced out of range")
	}
	for from > 0 && from >= len(v.first) {
		from -= len(v.first)
		to -= len(v.first)
		if len(v.rest) == 0 {
			return Vec{} // from is the end
		}
		v.first, v.rest = v.rest[0], v.rest[1:]
	}
	v.first = v.first[from:]
	v.n = to - from
	v.settle()
	return v
}

// From returns the bytes from off on.
func (v Vec) From(off int) Vec { return v.Slice(off, v.n) }

// To returns the first n bytes.
func (v Vec) To(n int) Vec { return v.Slice(0, n) }

// Next returns the first segment, cut to the vector's length, and what follows.
// ok is false when the vector is empty.
func (v Vec) Next() (seg []byte, rest Vec, ok bool) {
	if v.n == 0 {
		return nil, Vec{}, false
	}
	seg = v.first
	if len(seg) > v.n {
		seg = seg[:v.n:v.n]
	}
	v.n -= len(seg)
	v.first = nil
	v.settle()
	return seg, v, true
}

// Single returns the bytes when they are in one segment.
func (v Vec) Single() ([]byte, bool) {
	if len(v.first) < v.n {
		return nil, false
	}
	return v.first[:v.n:v.n], true
}

// Segments appends the segments to dst.
func (v Vec) Segments(dst [][]byte) [][]byte {
	for seg, rest, ok := v.Next(); ok; seg, rest, ok = rest.Next() {
		dst = append(dst, seg)
	}
	return dst
}

// Aligned reports whether all segments begin at addresses and have lengths that
// are multiples of align, a power of two.
func (v Vec) Aligned(align int) bool {
	for seg, rest, ok := v.Next(); ok; seg, rest, ok = rest.Next() {
		if (addrOf(seg)|uintptr(len(seg)))&uintptr(align-1) != 0 {
			return false
		}
	}
	return true
}
