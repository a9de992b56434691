package vpc

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"govmd/internal/block"
)

var be = binary.BigEndian

const (
	sectorSize = 512
	// maxSectors is the largest disk: 2040 GiB.
	maxSectors = 0xff000000
	// maxCHS is how many sectors the largest geometry has: 65535 cylinders of 16 heads
	// of 255 sectors.
	maxCHS = 65535 * 16 * 255
)

// The footer, the last sector of a file; that of a dynamic disk begins with a copy.
// Numbers are big endian.
const (
	footerSize = 512

	offCookie   = 0 // "conectix"
	offFeatures = 8
	offVersion  = 12
	offHeader   = 16 // where the dynamic header is
	offTime     = 24 // seconds since 2000
	offApp      = 28
	offAppVer   = 32
	offHost     = 36
	offOrigSize = 40
	offSize     = 48
	offCyls     = 56
	offHeads    = 58
	offSecs     = 59
	offType     = 60
	offSum      = 64
	offID       = 68
)

// Types of disk.
const (
	typeFixed        = 2
	typeDynamic      = 3
	typeDifferencing = 4
)

// The header of a dynamic disk.
const (
	dynSize = 1024

	dynCookie    = 0 // "cxsparse"
	dynNext      = 8
	dynTable     = 16
	dynVersion   = 24
	dynEntries   = 28
	dynBlockSize = 32
	dynSum       = 36
)

const version = 0x00010000

// epoch is the beginning of time, in seconds since 1970.
const epoch = 946684800

// checksum returns the checksum of a structure whose own is at off.
func checksum(p []byte, off int) uint32 {
	var sum uint32
	for i, b := range p {
		if i < off || i >= off+4 {
			sum += uint32(b)
		}
	}
	return ^sum
}

// geometry returns the cylinders, heads and sectors of a track that the specification
// has for a disk of so many sectors: their product is at most that.
func geometry(sectors int64) (cyls, heads, secs int64) {
	sectors = min(sectors, maxCHS)
	var tracks int64
	if sectors >= 65535*16*63 {
		secs, heads = 255, 16
		tracks = sectors / secs
	} else {
		secs = 17
		tracks = sectors / secs
		heads = max((tracks+1023)/1024, 4)
		if tracks >= heads*1024 || heads > 16 {
			secs, heads = 31, 16
			tracks = sectors / secs
		}
		if tracks >= heads*1024 {
			secs, heads = 63, 16
			tracks = sectors / secs
		}
	}
	return tracks / heads, heads, secs
}

// roomy returns the smallest geometry that holds so many sectors.
func roomy(sectors int64) (cyls, heads, secs int64) {
	for i := int64(0); ; i++ {
		cyls, heads, secs = geometry(sectors + i)
		if cyls*heads*secs >= min(sectors, maxCHS) {
			return cyls, heads, secs
		}
	}
}

// bySize are the programs whose disks are as large as the footer says, not as the
// geometry does.
var bySize = map[string]bool{"win ": true, "qem2": true, "d2v ": true, "tap\x00": true, "CTXS": true, "wa\x00\x00": true}

// footer is what is used of the footer.
type footer struct {
	typ    uint32
	header int64 // where the dynamic header is
	size   int64 // bytes of the disk
	raw    [footerSize]byte
}

func isFooter(p []byte) bool { return len(p) >= 8 && string(p[:8]) == "conectix" }

// readFooter reads the footer: its copy at the begin, or else what ends the file.
func readFooter(file *block.Child) (*footer, error) {
	f := &footer{}
	p := f.raw[:]
	at := int64(0)
	if err := file.Pread(at, p); err != nil {
		return nil, block.Unreadable(file, "cannot read the VHD footer", err)
	}
	if !isFooter(p) {
		if at = file.Length() - footerSize; at < 0 {
			return nil, block.Malformed(file, 0, "file", "too short for a VHD image")
		}
		if err := file.Pread(at, p); err != nil {
			return nil, block.Unreadable(file, "cannot read the VHD footer", err)
		}
	}
	bad := func(off int64, field, format string, args ...any) (*footer, error) {
		return nil, block.Malformed(file, at+off, field, format, args...)
	}
	switch {
	case !isFooter(p):
		return bad(offCookie, "cookie", "invalid VPC image: there is no footer")
	case checksum(p, offSum) != be.Uint32(p[offSum:]):
		return bad(offSum, "checksum", "the footer's is %#x, not %#x", checksum(p, offSum), be.Uint32(p[offSum:]))
	}
	f.typ, f.header = be.Uint32(p[offType:]), int64(be.Uint64(p[offHeader:]))
	size := be.Uint64(p[offSize:]) / sectorSize
	sectors := uint64(be.Uint16(p[offCyls:])) * uint64(p[offHeads]) * uint64(p[offSecs])
	if bySize[string(p[offApp:offApp+4])] || sectors == 0 || sectors == maxCHS {
		sectors = size
	}
	switch {
	case sectors > maxSectors:
		return bad(offSize, "current_size", "%d bytes are more than a disk has", sectors*sectorSize)
	case f.typ == typeDifferencing:
		return nil, block.Errorf(block.KindUnsupported, "Image '%s': differencing VHD images are not supported", file.Node().FileName())
	case f.typ != typeFixed && f.typ != typeDynamic:
		return bad(offType, "disk_type", "%d is neither fixed (2) nor dynamic (3)", f.typ)
	}
	f.size = int64(sectors) * sectorSize
	if f.typ == typeFixed && f.size > max(0, file.Length()-footerSize) {
		return bad(offSize, "current_size", "the disk (%d bytes) is larger than the file", f.size)
	}
	return f, nil
}

// newFooter returns the footer of a new disk.
func newFooter(typ uint32, size, cyls, heads, secs int64) []byte {
	p := make([]byte, footerSize)
	copy(p, "conectix")
	be.PutUint32(p[offFeatures:], 2)
	be.PutUint32(p[offVersion:], version)
	be.PutUint64(p[offHeader:], footerSize)
	if typ == typeFixed {
		be.PutUint64(p[offHeader:], ^uint64(0))
	}
	be.PutUint32(p[offTime:], uint32(time.Now().Unix()-epoch))
	copy(p[offApp:], "gvmd")
	be.PutUint32(p[offAppVer:], version)
	copy(p[offHost:], "Wi2k") // what the programs that were there first write
	be.PutUint64(p[offOrigSize:], uint64(size))
	be.PutUint64(p[offSize:], uint64(size))
	be.PutUint16(p[offCyls:], uint16(cyls))
	p[offHeads], p[offSecs] = byte(heads), byte(secs)
	be.PutUint32(p[offType:], typ)
	id := uuid.New()
	copy(p[offID:], id[:])
	be.PutUint32(p[offSum:], checksum(p, offSum))
	return p
}

func probe(head []byte, _ string) int {
	if isFooter(head) {
		return 100
	}
	return 0
}
