package boot

import (
	"encoding/binary"
	"sort"
)

var le = binary.LittleEndian

// MemoryType says what a range of the memory map is (ACPI 6.5, table 15.4).
type MemoryType uint32

// The types in use.
const (
	RAM      MemoryType = 1
	Reserved MemoryType = 2
	ACPIData MemoryType = 3 // usable once the tables have been read
)

// MemoryRange is one entry of the memory map.
type MemoryRange struct {
	Addr, Size uint64
	Type       MemoryType
}

func (r MemoryRange) end() uint64 { return r.Addr + r.Size }

// MemoryMap is what guests call e820: ranges in ascending order, not
// overlapping, neighbours of one type joined.
type MemoryMap []MemoryRange

// Parts of the first MiB that are not RAM for a guest.
const (
	ebdaAddr = 0x9fc00
	vgaAddr  = 0xa0000
	biosAddr = 0xe0000 // tables; a guest that searches for them begins here
	oneMiB   = 1 << 20
	fourGiB  = 1 << 32
)

// kvmPages are the four pages below the BIOS that KVM keeps for itself on some
// processors (a task state segment and an identity map).
var kvmPages = MemoryRange{0xfeffc000, 0x4000, Reserved}

// DirectMap is the map of a machine that starts without firmware: below bytes
// of RAM from address 0, above bytes from 4 GiB, and what a PC reserves.
func DirectMap(below, above uint64) MemoryMap {
	var m MemoryMap
	m.Set(0, below, RAM)
	m.Set(fourGiB, above, RAM)
	m.Set(ebdaAddr, vgaAddr-ebdaAddr, Reserved)
	m.clear(vgaAddr, biosAddr-vgaAddr)
	m.Set(biosAddr, oneMiB-biosAddr, Reserved)
	m.Set(kvmPages.Addr, kvmPages.Size, kvmPages.Type)
	return m
}

// Set makes a range be of a type, whatever it was before. Of a range that goes
// on past the last address the part up to that is taken.
func (m *MemoryMap) Set(addr, size uint64, t MemoryType) {
	size = min(size, -addr-1) // an end of exactly 2^64 is out of reach, too
	if size == 0 {
		return
	}
	m.clear(addr, size)
	out := append(*m, MemoryRange{addr, size, t})
	sort.Slice(out, func(i, j int) bool { return out[i].Addr < out[j].Addr })
	joined := out[:1]
	for _, r := range out[1:] {
		if last := &joined[len(joined)-1]; last.Type == r.Type && last.end() == r.Addr {
			last.Size += r.Size
		} else {
			joined = append(joined, r)
		}
	}
	*m = joined
}

// clear takes a range out of the map.
func (m *MemoryMap) clear(addr, size uint64) {
	end := addr + size
	var out MemoryMap
	for _, r := range *m {
		if r.Addr < end && addr < r.end() {
			if r.Addr < addr {
				out = append(out, MemoryRange{r.Addr, addr - r.Addr, r.Type})
			}
			if end < r.end() {
				out = append(out, MemoryRange{end, r.end() - end, r.Type})
			}
			continue
		}
		out = append(out, r)
	}
	*m = out
}

// E820File is the fw_cfg file that tells firmware the map.
const E820File = "etc/e820"

// Encode is the map in the form that firmware and the Linux boot protocol use:
// address, size and type, 20 bytes for each range.
func (m MemoryMap) Encode() []byte {
	b := make([]byte, 0, len(m)*20)
	for _, r := range m {
		b = le.AppendUint64(b, r.Addr)
		b = le.AppendUint64(b, r.Size)
		b = le.AppendUint32(b, uint32(r.Type))
	}
	return b
}

// contains says whether a range is RAM as a whole.
func (m MemoryMap) contains(addr, size uint64) bool {
	for _, r := range m {
		if r.Type == RAM && r.Addr <= addr && size <= r.Size && addr-r.Addr <= r.Size-size {
			return true
		}
	}
	return false
}

// ram is how much RAM the map has.
func (m MemoryMap) ram() (n uint64) {
	for _, r := range m {
		if r.Type == RAM {
			n += r.Size
		}
	}
	return n
}

// highest returns the highest address, a multiple of align (a power of two), at
// which size bytes of RAM end at or below limit. ok is false if there is none.
func (m MemoryMap) highest(size, align, limit uint64) (addr uint64, ok bool) {
	for i := len(m) - 1; i >= 0; i-- {
		r := m[i]
		end := min(r.end(), limit)
		if r.Type != RAM || end <= r.Addr || end-r.Addr < size {
			continue
		}
		if at := (end - size) &^ (align - 1); at >= r.Addr {
			return at, true
		}
	}
	return 0, false
}
