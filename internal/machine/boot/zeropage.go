package boot

// Offsets in the zero page that the setup header does not have
// (Documentation/arch/x86/zero-page.rst).
const (
	zpScreenInfo     = 0x000
	zpRSDP           = 0x070
	zpRamdiskHigh    = 0x0c0
	zpRamdiskSizeHi  = 0x0c4
	zpE820Entries    = 0x1e8
	zpE820Table      = 0x2d0
	zpE820Max        = 128
	zpLen            = 4096
	setupE820Ext     = 1
	setupRNGSeed     = 9
	setupDataHeader  = 16 // next (8), type (4), length (4)
	rngSeedLen       = 32
	videoTypeVGAText = 0x22
)

// zeroPage is the structure through which a bzImage gets its parameters.
func (k *Kernel) zeroPage(h *setupHeader, initrd []Segment) []byte {
	b := make([]byte, zpLen)
	copy(b[hdrStart:], h.raw)
	if k.VGA {
		// Text mode 3: 80 columns, 25 lines, characters 16 lines high.
		si := b[zpScreenInfo:]
		si[0x06], si[0x07], si[0x0e], si[0x0f] = 3, 80, 25, videoTypeVGAText
		le.PutUint16(si[0x10:], 16)
	}
	le.PutUint64(b[zpRSDP:], k.RSDP)
	b[hdrLoader] = undefinedLoader
	b[hdrLoadFlags] |= loadedHigh
	le.PutUint16(b[hdrVidMode:], normalVideoMode)
	le.PutUint32(b[hdrCode32:], uint32(h.prefAddress))
	le.PutUint32(b[hdrCmdline:], cmdlineAddr)
	if len(initrd) > 0 {
		s := initrd[0]
		le.PutUint32(b[hdrRamdisk:], uint32(s.Addr))
		le.PutUint32(b[zpRamdiskHigh:], uint32(s.Addr>>32))
		le.PutUint32(b[hdrRamdiskSize:], uint32(s.Size))
		le.PutUint32(b[zpRamdiskSizeHi:], uint32(s.Size>>32))
	}
	n := min(len(k.Memory), zpE820Max)
	b[zpE820Entries] = byte(n)
	copy(b[zpE820Table:], k.Memory[:n].Encode())
	return b
}

// setupData makes the list of further parameters, and enters it in the zero
// page: a seed for the random number generator, and what does not fit into the
// zero page's memory map.
func (k *Kernel) setupData(zero []byte) []Segment {
	var list []Segment
	addr := uint64(setupDataAddr)
	link := zero[hdrSetupData:]
	add := func(kind uint32, size int) []byte {
		b := make([]byte, setupDataHeader, setupDataHeader+size)
		le.PutUint64(link, addr)
		le.PutUint32(b[8:], kind)
		le.PutUint32(b[12:], uint32(size))
		link = b
		return b
	}
	if len(k.Memory) > zpE820Max {
		rest := k.Memory[zpE820Max:].Encode()
		b := append(add(setupE820Ext, len(rest)), rest...)
		link = b
		list = append(list, Segment{Name: "memory map", Addr: addr, Size: uint64(len(b)), Data: b})
		addr += uint64(len(b)+15) &^ 15
	}
	b := add(setupRNGSeed, rngSeedLen)
	return append(list,
		Segment{Name: "random seed", Addr: addr, Size: setupDataHeader, Data: b},
		Segment{Name: "random seed", Addr: addr + setupDataHeader, Size: rngSeedLen, Fill: k.seed})
}
