package boot

import "fmt"

// The start info structure of the PVH boot protocol (Xen's
// public/arch-x86/hvm/start_info.h), version 1, and what it points to.
const (
	startInfoMagic    = 0x336ec578
	startInfoVersion  = 1
	startInfoLen      = 56
	startInfoModule   = 32 // address, size, command line, reserved: 8 bytes each
	startInfoMemEntry = 24 // address (8), size (8), type (4), reserved (4)

	lowmem32 = 0x37ffffff // what a 32-bit kernel maps of the initrd
)

// planPVH places an ELF image for its 32-bit PVH entry point.
func (k *Kernel) planPVH() (*Plan, error) {
	elf, err := parseELF(k.Image)
	if err != nil {
		return nil, err
	}
	entry, err := elf.pvhEntry(k.Image)
	if err != nil {
		return nil, err
	}
	if len(k.Cmdline) >= cmdlineMax {
		return nil, fmt.Errorf("kernel command line has %d characters: at most %d", len(k.Cmdline), cmdlineMax-1)
	}
	for _, l := range elf.load {
		if err := k.claim(k.Image.String(), l.addr, l.memSize); err != nil {
			return nil, err
		}
	}
	limit := uint64(initrdMax)
	if !elf.is64 {
		limit = lowmem32 + 1
	}
	initrd, err := k.placeInitrd(limit)
	if err != nil {
		return nil, err
	}
	info := k.startInfo(initrd)
	p := &Plan{Segments: []Segment{{Name: "start info", Addr: startInfoAddr, Size: uint64(len(info)), Data: info}}}
	p.Segments = append(p.Segments, k.common(false)...)
	p.Segments = append(p.Segments, elf.segments(k.Image)...)
	p.Segments = append(p.Segments, initrd...)
	e := protected32(uint64(entry), startInfoAddr)
	p.Entry = &e
	return p, nil
}

// startInfo is the structure, the module list and the memory map, one after
// another.
func (k *Kernel) startInfo(initrd []Segment) []byte {
	modules := uint64(startInfoAddr + startInfoLen)
	maps := modules + uint64(len(initrd))*startInfoModule
	b := make([]byte, 0, startInfoLen+startInfoModule+len(k.Memory)*startInfoMemEntry)
	b = le.AppendUint32(b, startInfoMagic)
	b = le.AppendUint32(b, startInfoVersion)
	b = le.AppendUint32(b, 0) // flags
	b = le.AppendUint32(b, uint32(len(initrd)))
	if len(initrd) == 0 {
		modules = 0
	}
	b = le.AppendUint64(b, modules)
	b = le.AppendUint64(b, cmdlineAddr)
	b = le.AppendUint64(b, k.RSDP)
	b = le.AppendUint64(b, maps)
	b = le.AppendUint32(b, uint32(len(k.Memory)))
	b = le.AppendUint32(b, 0)
	for _, s := range initrd {
		b = le.AppendUint64(b, s.Addr)
		b = le.AppendUint64(b, s.Size)
		b = le.AppendUint64(b, 0)
		b = le.AppendUint64(b, 0)
	}
	for _, r := range k.Memory {
		b = le.AppendUint64(b, r.Addr)
		b = le.AppendUint64(b, r.Size)
		b = le.AppendUint32(b, uint32(r.Type))
		b = le.AppendUint32(b, 0)
	}
	return b
}
