package vpc

import (
	"math/bits"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/block/maptable"
)

const (
	minBlockSize = 4096
	maxBlockSize = 1 << 30
	// maxEntries bounds the table.
	maxEntries = 1 << 26
)

// loadTable reads the header of a dynamic disk and examines its table.
func (d *image) loadTable() error {
	at, length := d.footer.header, d.file.Length()
	bad := func(off int64, field, format string, args ...any) error {
		return block.Malformed(d.file, off, field, format, args...)
	}
	if at < footerSize || at > length-dynSize {
		return bad(offHeader, "data_offset", "there is no room for a header at %#x", uint64(at))
	}
	p := make([]byte, dynSize)
	if err := d.file.Pread(at, p); err != nil {
		return block.Unreadable(d.file, "cannot read the VHD dynamic header", err)
	}
	table, entries := int64(be.Uint64(p[dynTable:])), int64(be.Uint32(p[dynEntries:]))
	blockSize := int64(be.Uint32(p[dynBlockSize:]))
	switch {
	case string(p[:8]) != "cxsparse":
		return bad(at, "cookie", "%q is not that of a dynamic header", p[:8])
	case checksum(p, dynSum) != be.Uint32(p[dynSum:]):
		return bad(at+dynSum, "checksum", "the dynamic header's is %#x, not %#x", checksum(p, dynSum), be.Uint32(p[dynSum:]))
	case bits.OnesCount64(uint64(blockSize)) != 1 || blockSize < minBlockSize || blockSize > maxBlockSize:
		return bad(at+dynBlockSize, "block_size", "Invalid block size %d", blockSize)
	case entries > maxEntries:
		return bad(at+dynEntries, "max_table_entries", "%d is more than %d", entries, maxEntries)
	case (d.footer.size+blockSize-1)/blockSize > entries:
		return bad(at+dynEntries, "max_table_entries", "%d entries are too few for %d bytes", entries, d.footer.size)
	case table < footerSize || table > length-entries*4:
		return bad(at+dynTable, "table_offset", "the table (%d bytes at %#x) is not within the file", entries*4, uint64(table))
	case table < at+dynSize && at < table+entries*4:
		return bad(at+dynTable, "table_offset", "the table (%d bytes at %#x) overlaps the dynamic header", entries*4, table)
	}
	d.blockBits = uint(bits.TrailingZeros64(uint64(blockSize)))
	d.bitmapSize = (blockSize/sectorSize/8 + sectorSize - 1) &^ (sectorSize - 1)
	d.marked = make([]atomic.Uint32, (entries+31)/32)
	d.bat = maptable.New(maptable.Config{
		File: d.file, Width: 4, Order: be, PageBits: 10, Entries: entries,
		Where: func(page int64) int64 { return table + page<<12 },
	})
	d.end = (max(table+entries*4, at+dynSize) + sectorSize - 1) &^ (sectorSize - 1)
	d.footerAt = -1
	return d.scan(table, entries)
}

// scan checks the entries of the table and finds the end of the blocks.
func (d *image) scan(table, entries int64) error {
	length, header := d.file.Length(), d.footer.header
	b := block.GetBuffer(1 << 20)
	defer b.Release()
	for i := int64(0); i < entries; {
		p := b.B[:min(int64(len(b.B)), (entries-i)*4)]
		if err := d.file.Pread(table+i*4, p); err != nil {
			return block.Unreadable(d.file, "cannot read the VHD table", err)
		}
		for ; len(p) > 0; i, p = i+1, p[4:] {
			e := be.Uint32(p)
			if e == entryFree {
				continue
			}
			begin := int64(e) * sectorSize
			end := begin + d.bitmapSize + 1<<d.blockBits
			overlaps := func(off, n int64) bool { return begin < off+n && off < end }
			switch {
			case end > length:
				return block.Malformed(d.file, table+i*4, "table entry", "block %d at %#x ends after the end of the file (%#x): the image has been truncated", i, begin, length)
			case overlaps(0, footerSize) || overlaps(header, dynSize) || overlaps(table, entries*4):
				return block.Malformed(d.file, table+i*4, "table entry", "block %d at %#x overlaps metadata", i, begin)
			}
			d.end = max(d.end, end)
		}
	}
	return nil
}
