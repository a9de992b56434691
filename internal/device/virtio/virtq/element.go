package virtq

import "govmd/internal/memory"

// Element is a chain of descriptors: what the driver has written for the device,
// and room for what the device is to write. Elements are pooled: after Push or
// Unpop they must not be used.
type Element struct {
	// Readable and Writable are the segments. They belong to the queue; device
	// code neither releases nor changes them.
	Readable, Writable []memory.Borrow

	head     uint16
	gen      uint32 // of the queue when the element was popped
	seq      uint64 // order of arrival
	readLen  uint64
	writeLen uint64
}

// Head returns the number of the element's first descriptor, which names it
// among those that are out.
func (e *Element) Head() uint16 { return e.head }

// ReadableLen returns the number of bytes in the readable segments.
func (e *Element) ReadableLen() uint64 { return e.readLen }

// WritableLen returns the number of bytes in the writable segments.
func (e *Element) WritableLen() uint64 { return e.writeLen }

// ReadAt copies from the readable part, beginning off bytes into it, and returns
// how many bytes it copied: fewer than len(p) at the end. An error says that the
// memory has gone.
func (e *Element) ReadAt(p []byte, off uint64) (int, error) {
	n := 0
	for i := range e.Readable {
		s := &e.Readable[i]
		size := s.Size()
		if off >= size {
			off -= size
			continue
		}
		m, err := s.CopyTo(p[n:], off)
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
		off = 0
	}
	return n, nil
}

// WriteAt copies into the writable part, beginning off bytes into it, and
// returns how many bytes it copied: fewer than len(p) at the end.
func (e *Element) WriteAt(p []byte, off uint64) (int, error) {
	n := 0
	for i := range e.Writable {
		s := &e.Writable[i]
		size := s.Size()
		if off >= size {
			off -= size
			continue
		}
		m, err := s.CopyFrom(p[n:], off)
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
		off = 0
	}
	return n, nil
}

// release lets go of the segments and marks as changed what was written.
func (e *Element) release(written uint64) {
	for i := range e.Readable {
		e.Readable[i].Release(0)
	}
	for i := range e.Writable {
		n := min(written, e.Writable[i].Size())
		e.Writable[i].Release(n)
		written -= n
	}
	e.Readable = recycle(e.Readable)
	e.Writable = recycle(e.Writable)
	e.readLen, e.writeLen = 0, 0
}

// recycle empties a list of segments. One that has become long is given to the
// collector, so that a driver cannot make the pool big for good.
func recycle(s []memory.Borrow) []memory.Borrow {
	if cap(s) > 64 {
		return nil
	}
	clear(s)
	return s[:0]
}
