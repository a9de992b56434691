package vdi

import (
	"bytes"
	"encoding/binary"

	"github.com/google/uuid"

	"govmd/internal/block"
)

var le = binary.LittleEndian

// The header, in sector 0. Numbers are little endian.
const (
	headerSize = 512
	sectorSize = 512

	offSignature  = 0x40
	offVersion    = 0x44
	offLength     = 0x48
	offType       = 0x4c
	offMap        = 0x154
	offData       = 0x158
	offSector     = 0x168
	offDiskSize   = 0x170
	offBlockSize  = 0x178
	offBlockExtra = 0x17c
	offBlocks     = 0x180
	offAllocated  = 0x184
	offImageID    = 0x188
	offSnapID     = 0x198
	offLinkID     = 0x1a8
	offParentID   = 0x1b8

	signature = 0xbeda107f
	version   = 0x00010001
	// lengthV1 is how long the header says it is from its length field on.
	lengthV1 = 0x180
)

// Types of image.
const (
	typeDynamic = 1
	typeStatic  = 2
)

// Blocks are of one size, as in all images that are in use.
const (
	blockBits = 20
	blockSize = 1 << blockBits
	// maxBlocks is the most blocks that an image has: their map is less than 2 GiB.
	maxBlocks = (1<<31 - sectorSize) / 4
)

// Entries of the map that are no block of the file.
const (
	entryFree      = 0xffffffff
	entryDiscarded = 0xfffffffe
)

// header is what is used of the header.
type header struct {
	typ       uint32
	mapOff    int64
	dataOff   int64
	size      int64 // bytes of the disk
	blocks    int64
	allocated int64 // blocks of the file, from the first on
}

// parse reads and checks the header of an image.
func parse(file *block.Child, p []byte) (*header, error) {
	bad := func(at int64, field, format string, args ...any) (*header, error) {
		return nil, block.Malformed(file, at, field, format, args...)
	}
	num := func(at int) int64 { return int64(le.Uint32(p[at:])) }
	if le.Uint32(p[offSignature:]) != signature {
		return bad(offSignature, "signature", "%#x is not that of a VDI image", num(offSignature))
	}
	if v := num(offVersion); v != version {
		return nil, block.Errorf(block.KindUnsupported, "Image '%s': unsupported VDI image (version %d.%d)", file.Node().FileName(), v>>16, v&0xffff)
	}
	h := &header{typ: uint32(num(offType)), mapOff: num(offMap), dataOff: num(offData), blocks: num(offBlocks), allocated: num(offAllocated)}
	size := le.Uint64(p[offDiskSize:])
	switch {
	case h.typ != typeDynamic && h.typ != typeStatic:
		return nil, block.Errorf(block.KindUnsupported, "Image '%s': unsupported VDI image (type %d; differencing images are not supported)", file.Node().FileName(), h.typ)
	case h.mapOff%sectorSize != 0 || h.mapOff < headerSize:
		return bad(offMap, "offset_bmap", "%#x is not aligned to 512, or within the header", h.mapOff)
	case h.dataOff%sectorSize != 0:
		return bad(offData, "offset_data", "%#x is not aligned to 512", h.dataOff)
	case num(offSector) != sectorSize:
		return bad(offSector, "sector_size", "%d is not 512", num(offSector))
	case num(offBlockSize) != blockSize:
		return bad(offBlockSize, "block_size", "%d is not %d", num(offBlockSize), blockSize)
	case num(offBlockExtra) != 0:
		return bad(offBlockExtra, "block_extra", "%d is not 0", num(offBlockExtra))
	case h.blocks > maxBlocks:
		return bad(offBlocks, "blocks_in_image", "%d is more than %d", h.blocks, maxBlocks)
	case size > uint64(h.blocks)<<blockBits:
		return bad(offDiskSize, "disk_size", "%d is more than %d blocks hold", size, h.blocks)
	case h.allocated > h.blocks:
		return bad(offAllocated, "blocks_allocated", "%d is more than there are blocks (%d)", h.allocated, h.blocks)
	case h.dataOff < h.mapOff+h.blocks*4:
		return bad(offData, "offset_data", "%#x is before the end of the block map (%#x)", h.dataOff, h.mapOff+h.blocks*4)
	case h.mapOff+h.blocks*4 > file.Length():
		return bad(offMap, "offset_bmap", "the block map (%d bytes at %#x) reaches beyond the end of the file", h.blocks*4, h.mapOff)
	case !zero(p[offLinkID : offLinkID+16]):
		return bad(offLinkID, "uuid_link", "images that are linked to another are not supported")
	case !zero(p[offParentID : offParentID+16]):
		return bad(offParentID, "uuid_parent", "images that have a parent are not supported")
	}
	h.size = (int64(size) + sectorSize - 1) &^ (sectorSize - 1)
	return h, nil
}

func zero(p []byte) bool { return len(bytes.Trim(p, "\x00")) == 0 }

// encode returns the header of a new image.
func (h *header) encode() []byte {
	p := make([]byte, headerSize)
	copy(p, "<<< govmd VM Virtual Disk Image >>>\n")
	put := func(at int, v int64) { le.PutUint32(p[at:], uint32(v)) }
	put(offSignature, signature)
	put(offVersion, version)
	put(offLength, lengthV1)
	put(offType, int64(h.typ))
	put(offMap, h.mapOff)
	put(offData, h.dataOff)
	put(offSector, sectorSize)
	le.PutUint64(p[offDiskSize:], uint64(h.size))
	put(offBlockSize, blockSize)
	put(offBlocks, h.blocks)
	put(offAllocated, h.allocated)
	image, snap := uuid.New(), uuid.New()
	copy(p[offImageID:], image[:])
	copy(p[offSnapID:], snap[:])
	return p
}

func probe(head []byte, _ string) int {
	if len(head) >= offSignature+4 && le.Uint32(head[offSignature:]) == signature {
		return 100
	}
	return 0
}
