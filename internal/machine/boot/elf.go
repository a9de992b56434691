package boot

// elfImage is what the loader needs of an ELF executable for x86: what to load
// and where to begin.
type elfImage struct {
	is64  bool
	entry uint64
	load  []elfLoad
	notes []elfNote
}

// elfLoad is a PT_LOAD program header.
type elfLoad struct {
	offset, fileSize int64
	addr, memSize    uint64 // physical
}

// elfNote is a PT_NOTE program header.
type elfNote struct {
	offset, size int64
	align        uint64
}

// Values of the fields (System V ABI, chapters 4 and 5, and its x86 parts).
const (
	elfClass32, elfClass64 = 1, 2
	elfLittleEndian        = 1
	machine386, machineAMD = 3, 62
	elfExec, elfDyn        = 2, 3
	ptLoad, ptNote         = 1, 4
	elf32Header, elf32Phdr = 52, 32
	elf64Header, elf64Phdr = 64, 56
	maxProgramHeaders      = 256
	maxNoteSegment         = 1 << 20
	xenNoteName            = "Xen\x00"
	xenNotePhys32Entry     = 18
	noteHeader             = 12
	maxPhysical            = 1 << 52 // of any x86 processor
)

// parseELF reads the headers of an ELF image and checks them against the file.
func parseELF(img *Image) (*elfImage, error) {
	ident, err := img.read(0, 16)
	if err != nil {
		return nil, err
	}
	if string(ident[:4]) != elfMagic {
		return nil, img.bad("not an ELF image")
	}
	if ident[5] != elfLittleEndian {
		return nil, img.bad("an ELF image of another byte order")
	}
	e := &elfImage{}
	var headerLen, phdrLen int
	switch ident[4] {
	case elfClass32:
		headerLen, phdrLen = elf32Header, elf32Phdr
	case elfClass64:
		headerLen, phdrLen, e.is64 = elf64Header, elf64Phdr, true
	default:
		return nil, img.bad("an ELF image of unknown class %d", ident[4])
	}
	h, err := img.read(0, headerLen)
	if err != nil {
		return nil, err
	}
	machine, kind := le.Uint16(h[18:]), le.Uint16(h[16:])
	if machine != machine386 && machine != machineAMD {
		return nil, img.bad("an ELF image for another processor (machine %d)", machine)
	}
	if kind != elfExec && kind != elfDyn {
		return nil, img.bad("an ELF file of type %d, which is not an executable", kind)
	}
	var phoff uint64
	var phentsize, phnum int
	if e.is64 {
		e.entry, phoff = le.Uint64(h[24:]), le.Uint64(h[32:])
		phentsize, phnum = int(le.Uint16(h[54:])), int(le.Uint16(h[56:]))
	} else {
		e.entry, phoff = uint64(le.Uint32(h[24:])), uint64(le.Uint32(h[28:]))
		phentsize, phnum = int(le.Uint16(h[42:])), int(le.Uint16(h[44:]))
	}
	switch {
	case phnum == 0:
		return nil, img.bad("an ELF image without program headers")
	case phnum > maxProgramHeaders:
		return nil, img.bad("an ELF image with %d program headers, more than %d", phnum, maxProgramHeaders)
	case phentsize < phdrLen || phentsize > pageSize:
		return nil, img.bad("an ELF image with program headers of %d bytes", phentsize)
	case phoff > uint64(img.Size):
		return nil, img.short(phoff)
	}
	table, err := img.read(int64(phoff), phentsize*phnum)
	if err != nil {
		return nil, err
	}
	for n := range phnum {
		if err := e.programHeader(img, n, table[n*phentsize:][:phentsize]); err != nil {
			return nil, err
		}
	}
	if len(e.load) == 0 {
		return nil, img.bad("an ELF image with nothing to load")
	}
	return e, nil
}

// programHeader takes over header n, b.
func (e *elfImage) programHeader(img *Image, n int, b []byte) error {
	var kind uint32
	var offset, addr, fileSize, memSize, align uint64
	if kind = le.Uint32(b); e.is64 {
		offset, addr, align = le.Uint64(b[8:]), le.Uint64(b[24:]), le.Uint64(b[48:])
		fileSize, memSize = le.Uint64(b[32:]), le.Uint64(b[40:])
	} else {
		offset, addr, align = uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[12:])), uint64(le.Uint32(b[28:]))
		fileSize, memSize = uint64(le.Uint32(b[16:])), uint64(le.Uint32(b[20:]))
	}
	if kind != ptLoad && kind != ptNote {
		return nil
	}
	end := offset + fileSize
	if end < offset || end > 1<<62 {
		return img.bad("program header %d: %#x bytes at offset %#x", n, fileSize, offset)
	}
	if end > uint64(img.Size) {
		return img.short(end)
	}
	if kind == ptNote {
		if fileSize > maxNoteSegment {
			return img.bad("program header %d: notes of %d bytes", n, fileSize)
		}
		e.notes = append(e.notes, elfNote{int64(offset), int64(fileSize), align})
		return nil
	}
	if memSize == 0 {
		return nil
	}
	if memSize < fileSize || addr > maxPhysical || memSize > maxPhysical {
		return img.bad("program header %d: %#x bytes at address %#x, of them %#x in the file", n, memSize, addr, fileSize)
	}
	for _, l := range e.load {
		if addr < l.addr+l.memSize && l.addr < addr+memSize {
			return img.bad("program header %d, at %#x, overlaps an earlier one, at %#x", n, addr, l.addr)
		}
	}
	e.load = append(e.load, elfLoad{int64(offset), int64(fileSize), addr, memSize})
	return nil
}

// contains says whether an address is in the loaded part of the file.
func (e *elfImage) contains(addr uint64) bool {
	for _, l := range e.load {
		if addr >= l.addr && addr-l.addr < uint64(l.fileSize) {
			return true
		}
	}
	return false
}

// pvhEntry finds the entry point that the Xen note of type 18 names.
func (e *elfImage) pvhEntry(img *Image) (entry uint32, err error) {
	for _, n := range e.notes {
		b, err := img.read(n.offset, int(n.size))
		if err != nil {
			return 0, err
		}
		if desc := findNote(b, xenNoteName, xenNotePhys32Entry, n.align); len(desc) >= 4 {
			entry := le.Uint32(desc)
			if len(desc) >= 8 && le.Uint64(desc) != uint64(entry) || !e.contains(uint64(entry)) {
				return 0, img.bad("its PVH entry point %#x is outside of what it loads", entry)
			}
			return entry, nil
		}
	}
	return 0, img.bad("it has no PVH entry point (a Xen note of type 18; CONFIG_PVH in Linux)")
}

// findNote returns the description of a note, nil if there is none.
func findNote(b []byte, name string, kind uint32, align uint64) []byte {
	pad := uint64(4)
	if align == 8 {
		pad = 8
	}
	for len(b) >= noteHeader {
		nameLen, descLen := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:]))
		desc := (noteHeader + nameLen + pad - 1) &^ (pad - 1)
		next := (desc + descLen + pad - 1) &^ (pad - 1)
		if desc+descLen > uint64(len(b)) {
			return nil
		}
		if le.Uint32(b[8:]) == kind && string(b[noteHeader:noteHeader+nameLen]) == name {
			return b[desc : desc+descLen]
		}
		if next > uint64(len(b)) {
			return nil
		}
		b = b[next:]
	}
	return nil
}

// segments are the image's pieces; each is followed by zeros up to its size in
// memory.
func (e *elfImage) segments(img *Image) []Segment {
	out := make([]Segment, len(e.load))
	for i, l := range e.load {
		out[i] = img.segment(l.addr, l.offset, l.fileSize)
		out[i].Size = l.memSize
	}
	return out
}
