package vhdx

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"slices"

	"govmd/internal/block"
)

var le = binary.LittleEndian

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Where the fixed parts of the header section are, which is the first MiB of the
// file. Numbers are little endian.
const (
	mib        = 1 << 20
	headerSize = 4096
	regionSize = 64 << 10
	entrySize  = 32 // of region and metadata tables
	maxItems   = 2047

	maxBlock = 256 * mib
	maxDisk  = 64 << 40
	// maxMetadata bounds the metadata region, in bytes.
	maxMetadata = 64 * mib
)

var (
	headerPlaces = [2]int64{64 << 10, 128 << 10}
	regionPlaces = [2]int64{192 << 10, 256 << 10}
)

// guid is a GUID as it lies in the file.
type guid [16]byte

// Known regions and items of metadata.
var (
	regionBAT      = guid{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}
	regionMetadata = guid{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}

	itemParameters = guid{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}
	itemSize       = guid{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8}
	itemPage83     = guid{0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46}
	itemLogical    = guid{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f}
	itemPhysical   = guid{0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56}
	itemParent     = guid{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c}
)

// valid reports whether a structure has the signature and the checksum, which is
// bytes 4 to 8, that it should have.
func valid(p []byte, signature string) bool {
	if string(p[:4]) != signature {
		return false
	}
	sum := crc32.Update(crc32.Checksum(p[:4], castagnoli), castagnoli, make([]byte, 4))
	return crc32.Update(sum, castagnoli, p[8:]) == le.Uint32(p[4:])
}

// extent is a range of the file.
type extent struct{ off, n int64 }

func (e extent) end() int64 { return e.off + e.n }

func (e extent) overlaps(o extent) bool { return e.off < o.end() && o.off < e.end() }

// layout is what an image has where, and how large its disk is.
type layout struct {
	logGUID            guid
	log, bat, metadata extent
	blockBits          uint
	size               int64 // bytes of the disk
	sector             int64 // bytes of a logical sector
}

// readLayout reads and checks the header section and the metadata.
func readLayout(file *block.Child) (*layout, error) {
	l := &layout{}
	p := make([]byte, regionSize)
	read := func(off int64, p []byte) error {
		if err := file.Pread(off, p); err != nil {
			return block.Unreadable(file, "cannot read the VHDX headers", err)
		}
		return nil
	}
	if err := read(0, p[:8]); err != nil {
		return nil, err
	}
	if string(p[:8]) != "vhdxfile" {
		return nil, block.Malformed(file, 0, "signature", "%q is not that of a VHDX image", p[:8])
	}
	best, sequence := int64(-1), uint64(0)
	for _, at := range headerPlaces {
		if err := read(at, p[:headerSize]); err != nil {
			return nil, err
		}
		// Of the two headers the one that was written last counts.
		if n := le.Uint64(p[8:]); valid(p[:headerSize], "head") && (best < 0 || n > sequence) {
			best, sequence = at, n
			copy(l.logGUID[:], p[48:])
			if v := le.Uint16(p[66:]); v != 1 {
				return nil, block.Errorf(block.KindUnsupported, "Image '%s': unsupported VHDX version %d", file.Node().FileName(), v)
			}
			l.log = extent{int64(le.Uint64(p[72:])), int64(le.Uint32(p[68:]))}
		}
	}
	if best < 0 {
		return nil, block.Malformed(file, headerPlaces[0], "header", "neither of the two headers is valid")
	}
	if l.log.off%mib != 0 || l.log.n%mib != 0 || l.log.off < mib || l.log.off > file.Length() {
		return nil, block.Malformed(file, best+72, "LogOffset", "the log (%d bytes at %#x) is not in place", l.log.n, uint64(l.log.off))
	}
	at := regionPlaces[0]
	for _, at = range regionPlaces {
		if err := read(at, p); err != nil {
			return nil, err
		}
		if valid(p, "regi") {
			break
		}
	}
	if !valid(p, "regi") {
		return nil, block.Malformed(file, regionPlaces[0], "region table", "neither of the two region tables is valid")
	}
	if err := l.regions(file, at, p); err != nil {
		return nil, err
	}
	return l, l.readMetadata(file)
}

// regions finds the block allocation table and the metadata.
func (l *layout) regions(file *block.Child, at int64, p []byte) error {
	n := le.Uint32(p[8:])
	if n > maxItems {
		return block.Malformed(file, at+8, "EntryCount", "%d regions are too many", n)
	}
	all := []extent{{0, mib}, l.log}
	for i := range int64(n) {
		off := 16 + i*entrySize
		e := p[off : off+entrySize]
		r := extent{int64(le.Uint64(e[16:])), int64(le.Uint32(e[24:]))}
		if r.off%mib != 0 || r.n%mib != 0 || r.n == 0 || r.off < mib || r.off > file.Length() || r.end() > (file.Length()+mib-1)&^(mib-1) {
			return block.Malformed(file, at+off+16, "FileOffset", "region %d (%d bytes at %#x) is not within the file", i, r.n, uint64(r.off))
		}
		for _, o := range all {
			if r.overlaps(o) {
				return block.Malformed(file, at+off+16, "FileOffset", "region %d (%d bytes at %#x) overlaps another (%d bytes at %#x)", i, r.n, r.off, o.n, o.off)
			}
		}
		all = append(all, r)
		switch id := guid(e[:16]); {
		case id == regionBAT && l.bat.n == 0:
			l.bat = r
		case id == regionMetadata && l.metadata.n == 0:
			l.metadata = r
		case id == regionBAT || id == regionMetadata:
			return block.Malformed(file, at+off, "Guid", "region %d is there twice", i)
		case le.Uint32(e[28:])&1 != 0:
			return block.Errorf(block.KindUnsupported, "Image '%s': it requires a region that is not known (GUID %x)", file.Node().FileName(), id[:])
		}
	}
	if l.bat.n == 0 || l.metadata.n == 0 {
		return block.Malformed(file, at, "region table", "there is no block allocation table, or no metadata")
	}
	return nil
}

// item is an item of metadata.
type item struct {
	field string
	size  int64
	at    int64 // in the file, 0: it is not there
	p     []byte
}

// readMetadata reads the parameters of the disk.
func (l *layout) readMetadata(file *block.Child) error {
	table := make([]byte, regionSize)
	if err := file.Pread(l.metadata.off, table); err != nil {
		return block.Unreadable(file, "cannot read the VHDX metadata", err)
	}
	bad := func(at int64, field, format string, args ...any) error {
		return block.Malformed(file, at, field, format, args...)
	}
	if string(table[:8]) != "metadata" {
		return bad(l.metadata.off, "Signature", "%q is not that of metadata", table[:8])
	}
	n := int64(le.Uint16(table[10:]))
	if n > maxItems {
		return bad(l.metadata.off+10, "EntryCount", "%d items are too many", n)
	}
	params, size := item{field: "File Parameters", size: 8}, item{field: "Virtual Disk Size", size: 8}
	logical := item{field: "Logical Sector Size", size: 4}
	known := map[guid]*item{itemParameters: &params, itemSize: &size, itemLogical: &logical}
	for i := range n {
		off := 32 + i*entrySize
		e := table[off : off+entrySize]
		id := guid(e[:16])
		if id == itemParent {
			return block.Errorf(block.KindUnsupported, "Image '%s': differencing VHDX images are not supported", file.Node().FileName())
		}
		it := known[id]
		if it == nil {
			if le.Uint32(e[24:])&4 != 0 && !slices.Contains([]guid{itemPage83, itemPhysical}, id) {
				return block.Errorf(block.KindUnsupported, "Image '%s': it requires metadata that are not known (GUID %x)", file.Node().FileName(), id[:])
			}
			continue
		}
		at, length := int64(le.Uint32(e[16:])), int64(le.Uint32(e[20:]))
		if it.at != 0 || length < it.size || at < regionSize || at+it.size > min(l.metadata.n, maxMetadata) {
			return bad(l.metadata.off+off+16, "Offset", "%s (%d bytes at %d) is not within the metadata, or there twice", it.field, length, at)
		}
		it.at, it.p = l.metadata.off+at, make([]byte, it.size)
		if err := file.Pread(it.at, it.p); err != nil {
			return block.Unreadable(file, "cannot read the VHDX metadata", err)
		}
	}
	for _, it := range []*item{&params, &size, &logical} {
		if it.at == 0 {
			return bad(l.metadata.off, "metadata", "%s is missing", it.field)
		}
	}
	blockSize, flags := int64(le.Uint32(params.p)), le.Uint32(params.p[4:])
	disk, sector := le.Uint64(size.p), int64(le.Uint32(logical.p))
	switch {
	case flags&2 != 0:
		return block.Errorf(block.KindUnsupported, "Image '%s': differencing VHDX images are not supported", file.Node().FileName())
	case bits.OnesCount64(uint64(blockSize)) != 1 || blockSize < mib || blockSize > maxBlock:
		return bad(params.at, "BlockSize", "%d is no power of two from 1 MiB to 256 MiB", blockSize)
	case sector != 512 && sector != 4096:
		return bad(logical.at, "LogicalSectorSize", "%d is neither 512 nor 4096", sector)
	case disk > maxDisk || disk%uint64(sector) != 0:
		return bad(size.at, "VirtualDiskSize", "%d is more than 64 TiB, or no multiple of the sector size", disk)
	}
	l.blockBits, l.size, l.sector = uint(bits.TrailingZeros64(uint64(blockSize))), int64(disk), sector
	if n := l.entries(); n*8 > l.bat.n {
		return bad(size.at, "VirtualDiskSize", "%d bytes need %d entries, and there is room for %d", disk, n, l.bat.n/8)
	}
	return nil
}

// chunkRatio is how many blocks share a block of the sector bitmap, whose entry
// comes after theirs.
func (l *layout) chunkRatio() int64 { return l.sector << 23 >> l.blockBits }

// entry returns which entry of the table is that of block i of the disk.
func (l *layout) entry(i int64) int64 { return i + i/l.chunkRatio() }

// blocks returns how many blocks the disk has.
func (l *layout) blocks() int64 { return (l.size + 1<<l.blockBits - 1) >> l.blockBits }

// entries returns how many entries the table has at least.
func (l *layout) entries() int64 {
	if n := l.blocks(); n > 0 {
		return l.entry(n-1) + 1
	}
	return 0
}
