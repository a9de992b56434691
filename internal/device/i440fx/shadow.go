package i440fx

import (
	"encoding/binary"
	"fmt"

	"govmd/internal/memory"
)

// mode is what a PAM register makes of a segment: which accesses reach RAM, and
// which PCI instead (section 3.2.17).
type mode uint8

const (
	readRAM  mode = 1 << 0
	writeRAM mode = 1 << 1
)

// segments is how many stretches of memory the PAM registers control.
const segments = 13

// segment i starts where its upper neighbour ends, but for the first: the
// system BIOS area, 64 KiB of which PAM0 controls.
func bounds(i int) (start, size uint64) {
	if i == 0 {
		return 0xf0000, 0x10000
	}
	return 0xc0000 + uint64(i-1)*0x4000, 0x4000
}

const (
	smramStart = 0xa0000
	smramSize  = 0x20000

	// shadowPriority puts what is decided here above RAM and PCI.
	shadowPriority = 1
)

// segment is what covers RAM in a stretch of memory. At most one of the regions
// is enabled; without any, reads and writes reach the RAM below.
type segment struct {
	start, size uint64
	mode        mode
	pci         *memory.Region // reads and writes reach PCI
	readOnly    *memory.Region // reads reach RAM, writes PCI
	copying     *memory.Region // reads reach PCI, writes RAM; made when it is needed
}

// smram covers the RAM behind the VGA window.
type smram struct{ pci *memory.Region }

func (b *Bridge) realizeShadow() error {
	env, h := b.Env(), b.host
	sys, root := env.Memory, env.Mem.Root()
	var regions []*memory.Region
	cover := func(r *memory.Region, start uint64) error {
		regions = append(regions, r)
		return root.AddOverlap(start, r, shadowPriority)
	}
	b.Defer(func() {
		sys.Update(func() {
			for _, r := range regions {
				root.Remove(r)
			}
			for i := range b.segments {
				b.segments[i].drop(root)
			}
		})
		h.RAM.SetWriteHandler(nil, memory.Spec{})
	})
	h.RAM.SetWriteHandler((*toPCI)(h), memory.Spec{Unaligned: true})

	var err error
	if b.smram.pci, err = b.window("smram-region", smramStart, smramSize); err != nil {
		return err
	}
	if err := cover(b.smram.pci, smramStart); err != nil {
		return err
	}
	for i := range b.segments {
		s := &b.segments[i]
		*s = segment{}
		s.start, s.size = bounds(i)
		if s.pci, err = b.window(fmt.Sprintf("pam-pci %#x", s.start), s.start, s.size); err != nil {
			return err
		}
		s.readOnly = sys.NewAlias(fmt.Sprintf("pam-rom %#x", s.start), h.RAM, s.start, s.size)
		s.readOnly.SetReadOnly(true)
		s.readOnly.SetEnabled(false)
		for _, r := range []*memory.Region{s.pci, s.readOnly} {
			if err := cover(r, s.start); err != nil {
				return err
			}
		}
	}
	return nil
}

// window returns a region that shows PCI, and hides what is below it also
// where nothing on PCI answers.
func (b *Bridge) window(name string, start, size uint64) (*memory.Region, error) {
	sys := b.Env().Memory
	r := sys.NewIO(name, size, nobody{}, memory.Spec{Unaligned: true})
	return r, r.Add(0, sys.NewAlias(name, b.host.mem, start, size))
}

// nobody answers on a bus where no device does.
type nobody struct{}

func (nobody) ReadIO(uint64, int) uint64   { return ^uint64(0) }
func (nobody) WriteIO(uint64, int, uint64) {}

// applyShadow changes the map to the given modes; open shows RAM in the VGA window.
func (b *Bridge) applyShadow(modes [segments]mode, open bool) {
	root := b.Env().Mem.Root()
	b.Env().Memory.Update(func() {
		b.smram.pci.SetEnabled(!open)
		for i, m := range modes {
			s := &b.segments[i]
			if m == s.mode {
				continue
			}
			s.mode = m
			s.drop(root)
			s.pci.SetEnabled(m == 0)
			s.readOnly.SetEnabled(m == readRAM)
			if m == writeRAM {
				b.copyMode(s)
			}
		}
	})
}

func (s *segment) drop(root *memory.Region) {
	if s.copying != nil {
		root.Remove(s.copying)
		s.copying = nil
	}
}

// copyMode covers a segment such that reads see PCI while writes reach RAM, by
// which firmware copies its ROM into the RAM at the same addresses, executing
// from it meanwhile. So what is ROM stays memory that instructions are fetched from.
func (b *Bridge) copyMode(s *segment) {
	sys := b.Env().Memory
	spec := memory.Spec{Unaligned: true}
	s.copying = sys.NewIO("pam-copy", s.size, &copier{b.host, s.start}, spec)
	for _, sec := range b.host.pciSpace.FlatView() {
		lo, hi := max(sec.Addr, s.start), min(sec.Addr+sec.Size, s.start+s.size)
		if sec.Block == nil || sec.Size == 0 || lo >= hi {
			continue
		}
		rom := sys.NewROM("pam-copy-rom", sec.Block, sec.Offset+lo-sec.Addr, hi-lo)
		rom.SetWriteHandler(&copier{b.host, lo}, spec)
		_ = s.copying.Add(lo-s.start, rom) // it is new, and sections do not overlap
	}
	_ = b.Env().Mem.Root().AddOverlap(s.start, s.copying, shadowPriority) // likewise
}

// copier serves memory whose reads go to PCI and whose writes go to RAM.
type copier struct {
	host  *Host
	start uint64
}

func (c *copier) ReadIO(off uint64, size int) uint64 {
	var p [8]byte
	c.host.pciSpace.ReadIO(c.start+off, p[:size])
	return binary.LittleEndian.Uint64(p[:])
}

func (c *copier) WriteIO(off uint64, size int, v uint64) {
	var p [8]byte
	binary.LittleEndian.PutUint64(p[:], v)
	c.host.ramSpace.WriteIO(c.start+off, p[:size])
}

// toPCI takes the writes to RAM that is read-only.
type toPCI Host

func (h *toPCI) ReadIO(uint64, int) uint64 { return ^uint64(0) } // reads are RAM's

func (h *toPCI) WriteIO(off uint64, size int, v uint64) {
	var p [8]byte
	binary.LittleEndian.PutUint64(p[:], v)
	h.pciSpace.WriteIO(off, p[:size])
}
