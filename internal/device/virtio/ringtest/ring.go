// Package ringtest is the driver's side of a split virtqueue, for tests: rings in guest
// memory, written as a driver writes them.
package ringtest

import (
	"encoding/binary"
	"testing"

	"govmd/internal/memory"
)

// Descriptor flags.
const (
	Next     = 1
	Write    = 2
	Indirect = 4
)

// Seg is a stretch of guest memory in a chain.
type Seg struct {
	Addr  uint64
	Len   uint32
	Write bool
}

// Out is a segment for the device to read; In is one for it to write.
func Out(addr uint64, n uint32) Seg { return Seg{addr, n, false} }

// In is a segment for the device to write.
func In(addr uint64, n uint32) Seg { return Seg{addr, n, true} }

// Used is an entry of the used ring.
type Used struct{ ID, Len uint32 }

// Ring is the driver's side of a split virtqueue. Its rings can also be
// written by hand, to be wrong.
type Ring struct {
	TB    testing.TB
	Space *memory.Space

	Size              uint16
	Desc, Avail, Used uint64
	EventIndex        bool // as negotiated

	next  uint16 // descriptor to use next
	idx   uint16 // available index
	taken uint16 // used index up to which entries were taken
	told  uint16 // available index when the device was last notified
}

// NewRing lays out a ring of size descriptors at base, one part behind the
// other as legacy drivers have it.
func NewRing(tb testing.TB, sp *memory.Space, base uint64, size uint16) *Ring {
	r := &Ring{TB: tb, Space: sp, Size: size, Desc: base}
	r.Avail = base + 16*uint64(size)
	r.Used = (r.Avail + 2*(3+uint64(size)) + 4095) &^ 4095
	r.Clear()
	return r
}

// Clear makes the rings new.
func (r *Ring) Clear() {
	r.Put(r.Desc, make([]byte, r.End()-r.Desc))
	r.next, r.idx, r.taken, r.told = 0, 0, 0, 0
}

// Start makes the ring go on from index v, as one does that has been in use.
func (r *Ring) Start(v uint16) {
	r.TB.Helper()
	r.SetAvailIndex(v)
	r.Put16(r.Used+2, v)
	r.taken, r.told = v, v
}

// End returns the first address behind the rings.
func (r *Ring) End() uint64 { return r.Used + 4 + 8*uint64(r.Size) + 4 }

// Put copies to guest memory.
func (r *Ring) Put(addr uint64, p []byte) {
	r.TB.Helper()
	if err := r.Space.Write(addr, p); err != nil {
		r.TB.Fatal(err)
	}
}

// Get copies from guest memory.
func (r *Ring) Get(addr uint64, n int) []byte {
	r.TB.Helper()
	p := make([]byte, n)
	if err := r.Space.Read(addr, p); err != nil {
		r.TB.Fatal(err)
	}
	return p
}

// Put16 stores a number.
func (r *Ring) Put16(addr uint64, v uint16) {
	r.TB.Helper()
	r.Put(addr, binary.LittleEndian.AppendUint16(nil, v))
}

// Get16 loads a number.
func (r *Ring) Get16(addr uint64) uint16 {
	r.TB.Helper()
	return binary.LittleEndian.Uint16(r.Get(addr, 2))
}

// SetDesc writes a descriptor of the table at addr.
func (r *Ring) SetDesc(table uint64, i uint16, addr uint64, n uint32, flags, next uint16) {
	r.TB.Helper()
	p := binary.LittleEndian.AppendUint64(nil, addr)
	p = binary.LittleEndian.AppendUint32(p, n)
	p = binary.LittleEndian.AppendUint16(p, flags)
	r.Put(table+16*uint64(i), binary.LittleEndian.AppendUint16(p, next))
}

func (r *Ring) chain(table uint64, first uint16, segs []Seg, mask uint16) {
	r.TB.Helper()
	for i, s := range segs {
		at := (first + uint16(i)) & mask
		flags := uint16(0)
		if s.Write {
			flags |= Write
		}
		if i < len(segs)-1 {
			flags |= Next
		}
		r.SetDesc(table, at, s.Addr, s.Len, flags, (at+1)&mask)
	}
}

// Add makes a chain of segments available and returns its head. Descriptors
// are used in turn: the test sees to it that they are free.
func (r *Ring) Add(segs ...Seg) uint16 {
	r.TB.Helper()
	head := r.next
	r.chain(r.Desc, head, segs, r.Size-1)
	r.next = (head + uint16(len(segs))) & (r.Size - 1)
	r.Expose(head)
	return head
}

// AddIndirect makes a chain available whose descriptors are in a table at the
// given address.
func (r *Ring) AddIndirect(table uint64, segs ...Seg) uint16 {
	r.TB.Helper()
	r.chain(table, 0, segs, 0xffff)
	head := r.next
	r.SetDesc(r.Desc, head, table, uint32(16*len(segs)), Indirect, 0)
	r.next = (head + 1) & (r.Size - 1)
	r.Expose(head)
	return head
}

// Expose puts a head into the available ring.
func (r *Ring) Expose(head uint16) {
	r.TB.Helper()
	r.Put16(r.Avail+4+2*uint64(r.idx&(r.Size-1)), head)
	r.idx++
	r.SetAvailIndex(r.idx)
}

// SetAvailIndex stores the available index.
func (r *Ring) SetAvailIndex(v uint16) {
	r.TB.Helper()
	r.idx = v
	r.Put16(r.Avail+2, v)
}

// AvailIndex returns the available index.
func (r *Ring) AvailIndex() uint16 { return r.idx }

// UsedIndex returns the device's index.
func (r *Ring) UsedIndex() uint16 { r.TB.Helper(); return r.Get16(r.Used + 2) }

// UsedFlags returns the device's flags.
func (r *Ring) UsedFlags() uint16 { r.TB.Helper(); return r.Get16(r.Used) }

// SetUsedEvent asks for a notification when the device passes an index.
func (r *Ring) SetUsedEvent(v uint16) {
	r.TB.Helper()
	r.Put16(r.Avail+4+2*uint64(r.Size), v)
}

// AvailEvent returns the index for which the device asks.
func (r *Ring) AvailEvent() uint16 { r.TB.Helper(); return r.Get16(r.Used + 4 + 8*uint64(r.Size)) }

// WantsKick reports whether the device has asked to be notified of what was made
// available since the last call, as a driver finds out.
func (r *Ring) WantsKick() bool {
	r.TB.Helper()
	old := r.told
	r.told = r.idx
	if r.EventIndex {
		return r.idx-r.AvailEvent()-1 < r.idx-old
	}
	return r.UsedFlags()&1 == 0
}

// Take returns the used entries that were not taken before.
func (r *Ring) Take() []Used {
	r.TB.Helper()
	var list []Used
	for end := r.UsedIndex(); r.taken != end; r.taken++ {
		p := r.Get(r.Used+4+8*uint64(r.taken&(r.Size-1)), 8)
		list = append(list, Used{binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:])})
	}
	return list
}
