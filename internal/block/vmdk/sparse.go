package vmdk

import (
	"encoding/binary"
	"math/bits"
	"sync"

	"govmd/internal/block"
	"govmd/internal/block/maptable"
)

var le = binary.LittleEndian

// The header of a sparse extent, in sector 0. Numbers are little endian; places and
// sizes are in sectors.
const (
	sectorSize = 512
	headerSize = 512

	offVersion   = 4
	offFlags     = 8
	offCapacity  = 12
	offGrainSize = 20
	offDesc      = 28
	offDescSize  = 36
	offEntries   = 44 // of a grain table
	offRGD       = 48
	offGD        = 56
	offGrains    = 64 // where metadata end
	offCheck     = 73 // what a transfer as text would change
	offCompress  = 77

	flagNewline    = 1 << 0
	flagRGD        = 1 << 1 // there is a second grain directory
	flagZeroGrain  = 1 << 2 // an entry of 1 is a grain of zeroes
	flagCompressed = 1 << 16
	flagMarkers    = 1 << 17

	// gdAtEnd as the place of the grain directory says that a footer has it.
	gdAtEnd = 1<<64 - 1

	maxDirectory = 32 << 20 // entries
	entriesBits  = 9        // log2 of the most entries of a grain table
	maxGrain     = 1 << 21  // sectors
	// maxPacked is the largest grain that can be compressed, in sectors.
	maxPacked = 1 << 13
)

const checkBytes = "\n \r\n"

// sparseHeader is what is used of the header.
type sparseHeader struct {
	version, flags    uint32
	capacity, grain   int64
	desc, descSize    int64
	entries           int64
	rgd, gd, overhead int64
	end               bool // the grain directory is in a footer
	compression       uint16
}

// isSparse reports whether p begins a sparse extent.
func isSparse(p []byte) bool { return len(p) >= 4 && string(p[:4]) == "KDMV" }

// parseHeader reads and checks a header that is at off.
func parseHeader(file *block.Child, off int64, p []byte) (*sparseHeader, error) {
	bad := func(at int64, field, format string, args ...any) (*sparseHeader, error) {
		return nil, block.Malformed(file, off+at, field, format, args...)
	}
	h := &sparseHeader{version: le.Uint32(p[offVersion:]), flags: le.Uint32(p[offFlags:]), compression: le.Uint16(p[offCompress:])}
	for _, n := range []struct {
		at    int64
		field string
		to    *int64
	}{{offCapacity, "capacity", &h.capacity}, {offGrainSize, "grainSize", &h.grain}, {offDesc, "descriptorOffset", &h.desc},
		{offDescSize, "descriptorSize", &h.descSize}, {offRGD, "rgdOffset", &h.rgd}, {offGD, "gdOffset", &h.gd}, {offGrains, "overHead", &h.overhead}} {
		v := le.Uint64(p[n.at:])
		if n.at == offGD && v == gdAtEnd {
			h.end = true
			continue
		}
		if v > 1<<52 {
			return bad(n.at, n.field, "%#x is out of range", v)
		}
		*n.to = int64(v)
	}
	h.entries = int64(le.Uint32(p[offEntries:]))
	switch {
	case h.version < 1 || h.version > 3:
		return nil, block.Errorf(block.KindUnsupported, "Image '%s': Unsupported VMDK version %d", file.Node().FileName(), h.version)
	case h.grain < 1 || h.grain > maxGrain || bits.OnesCount64(uint64(h.grain)) != 1:
		return bad(offGrainSize, "grainSize", "%d: Invalid granularity, image may be corrupt", h.grain)
	case h.entries < 1 || h.entries > 1<<entriesBits || bits.OnesCount64(uint64(h.entries)) != 1:
		return bad(offEntries, "numGTEsPerGT", "%d is no power of two up to %d", h.entries, 1<<entriesBits)
	case h.tables() > maxDirectory:
		return bad(offCapacity, "capacity", "%d sectors need a grain directory of %d entries, which is too large", h.capacity, h.tables())
	case h.flags&flagCompressed != 0 && h.grain > maxPacked:
		return bad(offGrainSize, "grainSize", "%d is too much for compressed grains", h.grain)
	}
	return h, nil
}

// tables returns how many grain tables there are: the entries of the grain directory.
func (h *sparseHeader) tables() int64 {
	per := h.grain * h.entries
	return (h.capacity + per - 1) / per
}

// sparse is a sparse extent: a grain directory of the places of grain tables, which
// have the places of grains.
type sparse struct {
	file     *block.Child
	hdr      sparseHeader
	grain    int64 // bytes
	bits     uint  // log2 of it
	dir, rgd []uint32
	gt       *maptable.Table
	perTable uint  // log2 of the entries of a grain table
	least    int64 // no grain lies before it
	packed   packed

	mu sync.Mutex // held while a grain is allocated
}

// openSparse reads the header and the grain directory of an extent.
func openSparse(file *block.Child) (*sparse, error) {
	p := make([]byte, headerSize)
	if err := file.Pread(0, p); err != nil {
		return nil, block.Unreadable(file, "cannot read the VMDK header", err)
	}
	if !isSparse(p) {
		return nil, block.Malformed(file, 0, "magicNumber", "%q is not that of a sparse extent", p[:4])
	}
	h, err := parseHeader(file, 0, p)
	if err != nil {
		return nil, err
	}
	if h.end {
		// A footer, which is a copy of the header that knows, and an end-of-stream marker.
		at := file.Length() - 2*sectorSize
		if at < headerSize {
			return nil, block.Malformed(file, offGD, "gdOffset", "there is no footer")
		}
		if err := file.Pread(at, p); err != nil {
			return nil, block.Unreadable(file, "cannot read the VMDK footer", err)
		}
		if !isSparse(p) {
			return nil, block.Malformed(file, at, "magicNumber", "%q is not that of a footer", p[:4])
		}
		foot, err := parseHeader(file, at, p)
		if err != nil {
			return nil, err
		}
		if foot.end || foot.capacity != h.capacity || foot.grain != h.grain || foot.entries != h.entries {
			return nil, block.Malformed(file, at, "footer", "it contradicts the header")
		}
		foot.desc, foot.descSize = h.desc, h.descSize
		h = foot
	}
	x := &sparse{file: file, hdr: *h, grain: h.grain * sectorSize}
	x.bits, x.perTable = uint(bits.TrailingZeros64(uint64(x.grain))), uint(bits.TrailingZeros64(uint64(h.entries)))
	x.least = max(headerSize, (h.desc+h.descSize)*sectorSize)
	if h.version < 3 && !h.end && file.Length() < h.overhead*sectorSize {
		return nil, block.Malformed(file, offGrains, "overHead", "File truncated, expecting at least %d bytes", h.overhead*sectorSize)
	}
	if x.dir, err = x.directory(h.gd, offGD, "gdOffset"); err != nil {
		return nil, err
	}
	if h.flags&flagRGD != 0 && h.flags&flagCompressed == 0 {
		if x.rgd, err = x.directory(h.rgd, offRGD, "rgdOffset"); err != nil {
			return nil, err
		}
	}
	c := maptable.Config{File: file, Width: 4, Order: le, PageBits: x.perTable, Entries: h.tables() << x.perTable,
		Where: func(page int64) int64 { return int64(x.dir[page]) * sectorSize }}
	if x.rgd != nil {
		c.Copy = func(page int64) int64 { return int64(x.rgd[page]) * sectorSize }
	}
	x.gt = maptable.New(c)
	return x, nil
}

// directory reads a grain directory at a sector, which field, at an offset, names.
func (x *sparse) directory(sector, at int64, field string) ([]uint32, error) {
	n := x.hdr.tables()
	off, length := sector*sectorSize, x.file.Length()
	if off < headerSize || off > length-n*4 {
		return nil, block.Malformed(x.file, at, field, "the grain directory (%d bytes at %#x) is not within the file", n*4, off)
	}
	p := make([]byte, n*4)
	if err := x.file.Pread(off, p); err != nil {
		return nil, block.Unreadable(x.file, "cannot read the VMDK grain directory", err)
	}
	dir := make([]uint32, n)
	for i := range dir {
		dir[i] = le.Uint32(p[i*4:])
		if table := int64(dir[i]) * sectorSize; dir[i] != 0 && (table < x.least || table > length-x.hdr.entries*4) {
			return nil, block.Malformed(x.file, off+int64(i)*4, "grain directory", "table %d (at %#x) is not within the file", i, table)
		}
	}
	return dir, nil
}

// Find describes bytes of the extent, as maptable.Mapper has it.
func (x *sparse) Find(off, n int64) (maptable.Place, error) {
	in := off & (x.grain - 1)
	p := maptable.Place{N: min(n, x.grain-in)}
	i := off >> x.bits
	if x.dir[i>>x.perTable] == 0 {
		return p, nil
	}
	e, err := x.gt.Get(i)
	switch {
	case err != nil || e == 0:
		return p, err
	case e == 1 && x.hdr.flags&flagZeroGrain != 0:
		p.Kind = maptable.Zero
		return p, nil
	case int64(e)*sectorSize < x.least:
		return p, block.ErrIO // it would be metadata
	}
	p.Kind, p.File, p.Off = maptable.Data, x.file, int64(e)*sectorSize+in
	if x.hdr.flags&flagCompressed != 0 {
		p.Kind = maptable.Packed
	}
	return p, nil
}

// FindForWrite is Find for bytes that are about to be written. base, if not nil, is
// the image's backing file, and start where in it the extent begins.
func (x *sparse) FindForWrite(off, n int64, base *block.Child, start int64) (maptable.Place, error) {
	p, err := x.Find(off, n)
	if err != nil || p.Kind == maptable.Data {
		return p, err
	}
	if err := x.allocate(off>>x.bits, base, start); err != nil {
		return p, err
	}
	return x.Find(off, n)
}

// allocate gives a grain, unless another has just done so, a place that reads as the
// grain did.
func (x *sparse) allocate(i int64, base *block.Child, start int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	p, err := x.Find(i<<x.bits, 1)
	if err != nil || p.Kind == maptable.Data {
		return err
	}
	if x.dir[i>>x.perTable] == 0 || x.rgd != nil && x.rgd[i>>x.perTable] == 0 {
		return block.ErrIO // tables are made with the image
	}
	begin := (x.file.Length() + x.grain - 1) &^ (x.grain - 1)
	if begin/sectorSize > 1<<32-1 {
		return block.ErrNoSpace
	}
	if err := maptable.Claim(x.file, begin, begin+x.grain); err != nil {
		return err
	}
	if p.Kind == maptable.Absent && base != nil {
		if err := x.fill(begin, base, start+i<<x.bits); err != nil {
			return err
		}
	}
	return x.gt.Set(i, uint64(begin/sectorSize))
}

// fill copies a grain from the backing file.
func (x *sparse) fill(to int64, base *block.Child, from int64) error {
	b := block.GetBuffer(int(min(x.grain, 1<<20)))
	defer b.Release()
	for n := int64(0); n < x.grain; n += int64(len(b.B)) {
		if err := base.Pread(from+n, b.B); err != nil {
			return err
		}
		if block.IsZeroBytes(b.B) {
			continue
		}
		if err := x.file.Pwrite(to+n, b.B); err != nil {
			return err
		}
	}
	return nil
}

// zero makes a whole grain one of zeroes, if the image has such.
func (x *sparse) zero(off int64) (done bool, err error) {
	if x.hdr.flags&flagZeroGrain == 0 || x.dir[off>>x.bits>>x.perTable] == 0 {
		return false, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return true, x.gt.Set(off>>x.bits, 1)
}
