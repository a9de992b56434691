package block

import (
	"math/bits"
	"sync"
)

// Buffer is Go memory from a pool, at a page's boundary.
type Buffer struct {
	B     []byte
	class int
}

const (
	minClass = 9  // 512 bytes
	maxClass = 22 // 4 MiB
)

var buffers [maxClass + 1]sync.Pool

// GetBuffer returns n bytes of undefined content, to be given back by Release.
func GetBuffer(n int) *Buffer {
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		return &Buffer{B: AlignedBuffer(n, 4096), class: -1}
	}
	if b, ok := buffers[class].Get().(*Buffer); ok {
		b.B = b.B[:n]
		return b
	}
	return &Buffer{B: AlignedBuffer(1<<class, 4096)[:n], class: class}
}

// Release gives the buffer back.
func (b *Buffer) Release() {
	if b.class >= 0 {
		b.B = b.B[:cap(b.B)]
		buffers[b.class].Put(b)
	}
}

// bounceSize is how much a bounce buffer holds.
const bounceSize = 1 << 20

// bounceRead reads a range that is not aligned through a buffer.
func (n *Node) bounceRead(off int64, v Vec, f Flags) error {
	a := int64(n.lim.Align)
	for v.Len() > 0 {
		from := off &^ (a - 1)
		size := int(min(off+int64(v.Len())-from, max(bounceSize, a)))
		b := GetBuffer((size + int(a) - 1) &^ int(a-1))
		err := n.readSplit(from, VecOf(b.B), f)
		skip := int(off - from)
		m := size - skip
		if err == nil {
			err = v.To(m).Write(b.B[skip:])
		}
		b.Release()
		if err != nil {
			return err
		}
		off, v = off+int64(m), v.From(m)
	}
	return nil
}

// bounceWrite writes a range that is not aligned: what is around it in its first
// and last unit is read before. The caller has made the units its own.
func (n *Node) bounceWrite(off int64, v Vec, f Flags) error {
	a := int64(n.lim.Align)
	for v.Len() > 0 {
		from := off &^ (a - 1)
		size := int(min(off+int64(v.Len())-from, max(bounceSize, a)))
		whole := (size + int(a) - 1) &^ int(a-1)
		skip := int(off - from)
		b := GetBuffer(whole)
		err := error(nil)
		if skip > 0 {
			n.debugEvent(EventPwritevRMWHead)
			err = n.readSplit(from, VecOf(b.B[:a]), 0)
		}
		if last := whole - int(a); err == nil && size < whole && (last > 0 || skip == 0) {
			n.debugEvent(EventPwritevRMWTail)
			err = n.readSplit(from+int64(last), VecOf(b.B[last:]), 0)
		}
		if err == nil {
			if err = v.To(size - skip).Read(b.B[skip:]); err == nil {
				err = n.writeSplit(from, VecOf(b.B), f)
			}
		}
		b.Release()
		if err != nil {
			return err
		}
		m := size - skip
		off, v = off+int64(m), v.From(m)
	}
	return nil
}
