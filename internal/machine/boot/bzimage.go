package boot

import (
	"bytes"
	"fmt"
	"math"
)

// Offsets in the first sectors of a bzImage, which are those in the zero page
// too (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").
const (
	hdrStart         = 0x1f1
	hdrSetupSects    = 0x1f1
	hdrSysSize       = 0x1f4
	hdrVidMode       = 0x1fa
	hdrBootFlag      = 0x1fe
	hdrJump          = 0x201 // one byte: how far the header goes on after 0x202
	hdrMagic         = 0x202
	hdrVersion       = 0x206
	hdrLoader        = 0x210
	hdrLoadFlags     = 0x211
	hdrCode32        = 0x214
	hdrRamdisk       = 0x218
	hdrRamdiskSize   = 0x21c
	hdrCmdline       = 0x228
	hdrInitrdMax     = 0x22c
	hdrAlignment     = 0x230
	hdrRelocatable   = 0x234
	hdrXLoadFlags    = 0x236
	hdrCmdlineSize   = 0x238
	hdrPayload       = 0x248
	hdrPayloadLength = 0x24c
	hdrSetupData     = 0x250
	hdrPrefAddress   = 0x258
	hdrInitSize      = 0x260
	hdrEnd           = 0x290 // where the zero page has other things again

	loadedHigh       = 1 << 0 // in hdrLoadFlags
	xlfKernel64      = 1 << 0 // in hdrXLoadFlags
	xlfAbove4G       = 1 << 1
	minVersion       = 0x20c
	entry64Offset    = 0x200
	sector           = 512
	undefinedLoader  = 0xff
	normalVideoMode  = 0xffff
	maxInitSize      = 4 << 30
	syssizeParagraph = 16
)

// setupHeader is what the loader needs of a bzImage's header.
type setupHeader struct {
	raw          []byte // the header itself, from hdrStart on
	kernelOffset int64  // of the protected-mode kernel in the file
	kernelSize   int64
	initrdMax    uint64 // highest address that a byte of the initrd may have
	cmdlineMax   int    // characters, the zero byte not counted
	prefAddress  uint64
	initSize     uint64
	above4G      bool
}

// isBzImage looks for the header's magic number.
func isBzImage(head []byte) bool {
	return len(head) >= hdrMagic+4 && string(head[hdrMagic:hdrMagic+4]) == "HdrS"
}

// parseHeader reads and checks the header of a bzImage.
func parseHeader(img *Image) (*setupHeader, error) {
	head, err := img.read(0, int(min(img.Size, hdrEnd)))
	if err != nil {
		return nil, err
	}
	if len(head) < hdrInitSize+4 {
		return nil, img.short(hdrInitSize + 4)
	}
	if !isBzImage(head) || le.Uint16(head[hdrBootFlag:]) != 0xaa55 {
		return nil, img.bad("not a bzImage")
	}
	version := le.Uint16(head[hdrVersion:])
	if version < minVersion || le.Uint16(head[hdrXLoadFlags:])&xlfKernel64 == 0 {
		return nil, img.bad("boot protocol %d.%02d without a 64-bit entry point; a 64-bit kernel with protocol 2.12 or later is needed",
			version>>8, version&0xff)
	}
	if head[hdrLoadFlags]&loadedHigh == 0 {
		return nil, img.bad("a zImage, which loads below 1 MiB; a bzImage is needed")
	}
	sects := int64(head[hdrSetupSects])
	if sects == 0 {
		sects = 4
	}
	h := &setupHeader{
		kernelOffset: (sects + 1) * sector,
		kernelSize:   int64(le.Uint32(head[hdrSysSize:])) * syssizeParagraph,
		initrdMax:    uint64(le.Uint32(head[hdrInitrdMax:])),
		cmdlineMax:   int(min(le.Uint32(head[hdrCmdlineSize:]), cmdlineMax-1)),
		prefAddress:  le.Uint64(head[hdrPrefAddress:]),
		initSize:     uint64(le.Uint32(head[hdrInitSize:])),
		above4G:      le.Uint16(head[hdrXLoadFlags:])&xlfAbove4G != 0,
	}
	// The header ends where its jump leads; what is beyond is code.
	end := min(hdrMagic+int(head[hdrJump]), len(head), hdrEnd)
	if end < hdrInitSize+4 {
		return nil, img.bad("setup header ends at %#x, before its field at %#x", end, hdrInitSize)
	}
	h.raw = bytes.Clone(head[hdrStart:end])
	return h, h.check(img, head)
}

func (h *setupHeader) check(img *Image, head []byte) error {
	// The size is in whole paragraphs: the last one need not be full.
	if need := h.kernelOffset + h.kernelSize; need > img.Size+syssizeParagraph-1 {
		return img.short(uint64(need))
	}
	h.kernelSize = min(h.kernelSize, img.Size-h.kernelOffset)
	if h.kernelSize <= entry64Offset {
		return img.bad("the kernel proper has %d bytes, too few to have an entry point", h.kernelSize)
	}
	payload := int64(le.Uint32(head[hdrPayload:])) + int64(le.Uint32(head[hdrPayloadLength:]))
	if payload > h.kernelSize {
		return img.bad("its payload ends at %d of %d bytes", payload, h.kernelSize)
	}
	switch align := uint64(le.Uint32(head[hdrAlignment:])); {
	case align == 0 || align&(align-1) != 0:
		return img.bad("kernel alignment %#x is not a power of two", align)
	case h.prefAddress%align != 0 || h.prefAddress < oneMiB:
		return img.bad("load address %#x is below 1 MiB or not aligned to %#x", h.prefAddress, align)
	case h.initSize < uint64(h.kernelSize):
		return img.bad("needs %d bytes to start, fewer than its own %d", h.initSize, h.kernelSize)
	case h.prefAddress > math.MaxUint32 || h.prefAddress+h.initSize > maxInitSize:
		return img.bad("load address %#x with %d bytes is not below 4 GiB", h.prefAddress, h.initSize)
	}
	return nil
}

// planBzImage places a bzImage for its 64-bit entry point.
func (k *Kernel) planBzImage() (*Plan, error) {
	h, err := parseHeader(k.Image)
	if err != nil {
		return nil, err
	}
	if len(k.Cmdline) > h.cmdlineMax {
		return nil, fmt.Errorf("kernel command line has %d characters, %s takes at most %d", len(k.Cmdline), k.Image, h.cmdlineMax)
	}
	if err := k.claim(k.Image.String(), h.prefAddress, h.initSize); err != nil {
		return nil, err
	}
	limit := h.initrdMax + 1
	if h.above4G {
		// The field is of 32 bits and says nothing about what is above.
		limit = max(limit, k.topIfNeeded(limit))
	}
	initrd, err := k.placeInitrd(limit)
	if err != nil {
		return nil, err
	}
	zero := k.zeroPage(h, initrd)
	setup := k.setupData(zero)
	p := &Plan{Segments: []Segment{
		{Name: "boot parameters", Addr: zeroPageAddr, Size: uint64(len(zero)), Data: zero},
		{Name: "page tables", Addr: pageTablesAddr, Size: pageTablesLen, Data: identityPages()},
	}}
	p.Segments = append(p.Segments, setup...)
	p.Segments = append(p.Segments, k.common(true)...)
	p.Segments = append(p.Segments, k.Image.segment(h.prefAddress, h.kernelOffset, h.kernelSize))
	p.Segments = append(p.Segments, initrd...)
	e := long64(h.prefAddress+entry64Offset, zeroPageAddr)
	p.Entry = &e
	return p, nil
}
