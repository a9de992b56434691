package qcow2

import (
	"context"
	"encoding/binary"
	"math/bits"

	"govmd/internal/block"
)

// Flags of a bitmap directory entry.
const (
	bitmapInUse = 1 << 0
	bitmapAuto  = 1 << 1
	bitmapExtra = 1 << 2 // extra_data_compatible

	maxBitmaps       = 65535
	maxBitmapTable   = 0x8000000 / 8 // entries
	maxBitmapDir     = 1024 * maxBitmaps
	minGranularity   = 9
	maxGranularity   = 31
	bitmapEntrySize  = 24
	bitmapTableOnes  = 1
	bitmapOffsetMask = 0x00fffffffffffe00
)

// storedBitmap is a bitmap in the image (docs/interop/qcow2.txt, "Bitmaps").
type storedBitmap struct {
	tableOff  int64
	tableSize int // entries
	flags     uint32
	granBits  uint8
	extra     []byte
	name      string
}

// readBitmaps reads the bitmap directory.
func (q *image) readBitmaps() ([]*storedBitmap, error) {
	x := q.hdr.bitmaps
	bad := func(what string) error {
		return block.Errorf(block.KindCorrupt, "Bitmap directory: %s", what)
	}
	if x.count == 0 || x.count > maxBitmaps || x.dirSize > maxBitmapDir || x.dirOff&uint64(q.clusterSize-1) != 0 || x.dirOff == 0 {
		return nil, bad("its size or place is invalid")
	}
	if x.dirOff > uint64(q.file.Length()) || x.dirSize > uint64(q.file.Length())-x.dirOff {
		return nil, bad("it lies beyond the end of the file")
	}
	p := make([]byte, x.dirSize)
	if err := q.file.Pread(int64(x.dirOff), p); err != nil {
		return nil, err
	}
	var list []*storedBitmap
	for range x.count {
		if len(p) < bitmapEntrySize {
			return nil, bad("an entry is cut short")
		}
		b := &storedBitmap{tableOff: int64(be.Uint64(p)), tableSize: int(be.Uint32(p[8:])), flags: be.Uint32(p[12:]), granBits: p[17]}
		typ, nameLen, extra := p[16], int(be.Uint16(p[18:])), int64(be.Uint32(p[20:]))
		size := (bitmapEntrySize + extra + int64(nameLen) + 7) &^ 7
		if size > int64(len(p)) {
			return nil, bad("an entry is cut short")
		}
		b.extra = p[bitmapEntrySize : bitmapEntrySize+extra]
		b.name = string(p[bitmapEntrySize+extra : bitmapEntrySize+extra+int64(nameLen)])
		switch {
		case typ != 1:
			return nil, bad("a bitmap is of an unknown type")
		case b.granBits < minGranularity || b.granBits > maxGranularity, nameLen == 0 || nameLen > 1023:
			return nil, bad("a granularity or name is invalid")
		case b.tableOff < 0 || b.tableOff&(q.clusterSize-1) != 0 || b.tableSize > maxBitmapTable:
			return nil, bad("the table of bitmap '" + b.name + "' is invalid")
		case b.flags&^(bitmapInUse|bitmapAuto|bitmapExtra) != 0:
			return nil, bad("bitmap '" + b.name + "' has unknown flags")
		case extra != 0 && b.flags&bitmapExtra == 0:
			return nil, bad("bitmap '" + b.name + "' has extra data that is not known")
		}
		list = append(list, b)
		p = p[size:]
	}
	return list, nil
}

// loadBitmaps reads the bitmaps of an image that has been opened, and notes in the
// image that they are in use: unless they are stored again, nobody trusts them.
func (q *image) loadBitmaps() error {
	q.bitmaps = nil
	if !q.hdr.hasBitmaps {
		return nil
	}
	if q.hdr.autoclear&autoclearBitmaps == 0 {
		// Somebody wrote to the image who does not know bitmaps.
		if !q.read {
			q.hdr.hasBitmaps = false
		}
		return nil
	}
	list, err := q.readBitmaps()
	if err != nil {
		return err
	}
	q.bitmaps = list
	for _, s := range list {
		// After another process has had the image the bits in it are the newer ones.
		b := q.node.Bitmap(s.name)
		if b == nil || b.Granularity() != 1<<s.granBits {
			if b != nil {
				b.Remove()
			}
			if b, err = q.node.CreateBitmap(s.name, 1<<s.granBits); err != nil {
				return err
			}
		}
		b.SetPersistent(true)
		if s.flags&bitmapInUse != 0 {
			b.SetInconsistent()
			continue
		}
		words, err := q.readBits(s, b.Size())
		if err != nil {
			return err
		}
		b.Load(words)
		b.SetEnabled(s.flags&bitmapAuto != 0)
		b.SetReadonly(q.read)
	}
	if q.read {
		return nil
	}
	return q.bitmapsInUse()
}

// bitmapsInUse marks the stored bitmaps as in use.
func (q *image) bitmapsInUse() error {
	changed := false
	for _, s := range q.bitmaps {
		if s.flags&bitmapInUse == 0 {
			s.flags |= bitmapInUse
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return q.file.PwriteSync(int64(q.hdr.bitmaps.dirOff), encodeBitmaps(q.bitmaps))
}

func encodeBitmaps(list []*storedBitmap) []byte {
	var p []byte
	for _, b := range list {
		p = be.AppendUint64(p, uint64(b.tableOff))
		p = be.AppendUint32(p, uint32(b.tableSize))
		p = be.AppendUint32(p, b.flags)
		p = append(p, 1, b.granBits)
		p = be.AppendUint16(p, uint16(len(b.name)))
		p = be.AppendUint32(p, uint32(len(b.extra)))
		p = append(p, b.extra...)
		p = append(p, b.name...)
		for len(p)%8 != 0 {
			p = append(p, 0)
		}
	}
	return p
}

// readBits reads the bits of a stored bitmap that covers size bytes.
func (q *image) readBits(s *storedBitmap, size int64) ([]uint64, error) {
	if size>>s.granBits > 1<<30 {
		return nil, block.Errorf(block.KindCorrupt, "Bitmap '%s' is too large", s.name)
	}
	nbits := (size + 1<<s.granBits - 1) >> s.granBits
	bytes := (nbits + 7) / 8
	if need := (bytes + q.clusterSize - 1) >> q.clusterBits; int64(s.tableSize) < need {
		return nil, block.Errorf(block.KindCorrupt, "The table of bitmap '%s' is too small", s.name)
	}
	if err := q.inFile(uint64(s.tableOff), uint64(s.tableSize)*8, "A bitmap's"); err != nil {
		return nil, err
	}
	table, err := readTable(q.file, s.tableOff, s.tableSize)
	if err != nil {
		return nil, err
	}
	words := make([]uint64, (nbits+63)/64)
	buf := make([]byte, q.clusterSize)
	perCluster := int(q.clusterSize / 8)
	for i := 0; i*perCluster < len(words); i++ {
		part := words[i*perCluster : min((i+1)*perCluster, len(words))]
		e := table[i]
		if off := e & bitmapOffsetMask; off != 0 {
			if off&uint64(q.clusterSize-1) != 0 {
				return nil, block.Errorf(block.KindCorrupt, "The table of bitmap '%s' has an unaligned entry", s.name)
			}
			if err := q.file.Pread(int64(off), buf); err != nil {
				return nil, err
			}
			for j := range part {
				part[j] = binary.LittleEndian.Uint64(buf[8*j:])
			}
		} else if e&bitmapTableOnes != 0 {
			for j := range part {
				part[j] = ^uint64(0)
			}
		}
	}
	return words, nil
}

// CanStoreBitmap reports whether a persistent bitmap can be added.
func (q *image) CanStoreBitmap(name string, granularity int64) error {
	switch {
	case q.hdr.version < 3:
		return block.Errorf(block.KindUnsupported, "Cannot store dirty bitmaps in qcow2 v2 files")
	case len(name) == 0 || len(name) > 1023:
		return block.Errorf(block.KindInvalid, "The name of a persistent bitmap has 1 to 1023 bytes")
	case granularity < 1<<minGranularity || granularity > 1<<maxGranularity:
		return block.Errorf(block.KindInvalid, "Granularity is out of the range of persistent bitmaps")
	case len(q.bitmaps) >= maxBitmaps:
		return block.Errorf(block.KindInvalid, "Maximum number of persistent bitmaps is already reached")
	}
	q.gate.RLock()
	defer q.gate.RUnlock()
	for _, s := range q.bitmaps {
		if s.name == name {
			return block.Errorf(block.KindInUse, "Bitmap with the same name is already stored")
		}
	}
	return nil
}

// RemoveBitmap removes a stored bitmap.
func (q *image) RemoveBitmap(_ context.Context, name string) error {
	q.gate.Lock()
	defer q.gate.Unlock()
	var keep, gone []*storedBitmap
	for _, s := range q.bitmaps {
		if s.name == name {
			gone = append(gone, s)
		} else {
			keep = append(keep, s)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return q.replaceBitmaps(keep, gone)
}

// replaceBitmaps makes keep the directory and gives up what gone took. gate is held
// exclusively.
func (q *image) replaceBitmaps(keep, gone []*storedBitmap) error {
	old := q.hdr
	h := &q.hdr
	h.hasBitmaps, h.bitmaps = false, bitmapExt{}
	h.autoclear &^= autoclearBitmaps
	if len(keep) > 0 {
		dir := encodeBitmaps(keep)
		off, err := q.newTable(dir)
		if err != nil {
			q.hdr = old
			return err
		}
		h.hasBitmaps = true
		h.bitmaps = bitmapExt{uint32(len(keep)), uint64(len(dir)), uint64(off)}
		h.autoclear |= autoclearBitmaps
	}
	// newTable may have moved the refcount table: what it did to the header stays.
	if err := q.writeHeader(); err != nil {
		q.hdr = old
		return err
	}
	for _, s := range gone {
		if err := q.dropBitmap(s); err != nil {
			return err
		}
	}
	q.mu.Lock()
	if old.hasBitmaps {
		q.dropTable(int64(old.bitmaps.dirOff), int64(old.bitmaps.dirSize))
	}
	q.mu.Unlock()
	q.bitmaps = keep
	return q.sync()
}

// dropBitmap gives up the clusters of a stored bitmap.
func (q *image) dropBitmap(s *storedBitmap) error {
	if s.tableSize == 0 {
		return nil
	}
	table, err := readTable(q.file, s.tableOff, s.tableSize)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range table {
		if off := e & bitmapOffsetMask; off != 0 && off&uint64(q.clusterSize-1) == 0 {
			q.free(int64(off)>>q.clusterBits, 1, freeOther)
		}
	}
	q.free(s.tableOff>>q.clusterBits, (int64(s.tableSize)*8+q.clusterSize-1)>>q.clusterBits, freeOther)
	return nil
}

// storeBitmaps writes the node's persistent bitmaps into the image. gate is held
// exclusively.
func (q *image) storeBitmaps() error {
	live := map[string]*block.Bitmap{}
	for _, b := range q.node.Bitmaps() {
		if b.Persistent() && !b.Inconsistent() && !b.SkipStore() && b.Name() != "" {
			live[b.Name()] = b
		}
	}
	if len(live) == 0 {
		return nil
	}
	var keep, gone []*storedBitmap
	for _, s := range q.bitmaps {
		if live[s.name] != nil {
			gone = append(gone, s)
		} else {
			keep = append(keep, s)
		}
	}
	for _, b := range q.node.Bitmaps() {
		if live[b.Name()] != b {
			continue
		}
		s, err := q.writeBitmap(b)
		if err != nil {
			return err
		}
		keep = append(keep, s)
	}
	return q.replaceBitmaps(keep, gone)
}

// writeBitmap writes the bits of a bitmap: clusters of zeroes or ones take no space.
func (q *image) writeBitmap(b *block.Bitmap) (*storedBitmap, error) {
	s := &storedBitmap{name: b.Name(), granBits: uint8(bits.TrailingZeros64(uint64(b.Granularity())))}
	if b.Recording() {
		s.flags |= bitmapAuto
	}
	words := b.Words()
	perCluster := int(q.clusterSize / 8)
	s.tableSize = (len(words) + perCluster - 1) / perCluster
	table := make([]uint64, s.tableSize)
	buf := make([]byte, q.clusterSize)
	for i := range table {
		clear(buf)
		zero, ones := true, true
		for j, w := range words[i*perCluster : min((i+1)*perCluster, len(words))] {
			binary.LittleEndian.PutUint64(buf[8*j:], w)
			zero = zero && w == 0
			ones = ones && w == ^uint64(0)
		}
		switch {
		case zero:
		case ones && (i+1)*perCluster <= len(words):
			table[i] = bitmapTableOnes
		default:
			var c int64
			if err := q.again(func() (err error) {
				q.mu.Lock()
				defer q.mu.Unlock()
				c, _, _, err = q.alloc(1)
				return err
			}); err != nil {
				return nil, err
			}
			if err := q.file.Pwrite(c<<q.clusterBits, buf); err != nil {
				return nil, err
			}
			table[i] = uint64(c) << q.clusterBits
		}
	}
	if len(table) == 0 {
		return s, nil
	}
	off, err := q.newTable(encodeTable(table))
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	q.removeMeta(off, int64(len(table))*8) // it is found by the directory alone
	q.mu.Unlock()
	s.tableOff = off
	return s, nil
}

// bitmaps counts the clusters that stored bitmaps use.
func (c *checker) bitmaps() error {
	q := c.q
	list, err := q.readBitmaps()
	if err != nil {
		c.res.Corruptions++
		return nil
	}
	c.use(q.hdr.bitmaps.dirOff, int64(q.hdr.bitmaps.dirSize))
	for _, s := range list {
		if s.tableSize == 0 || !c.use(uint64(s.tableOff), int64(s.tableSize)*8) {
			continue
		}
		table, err := readTable(q.file, s.tableOff, s.tableSize)
		if err != nil {
			return err
		}
		for _, e := range table {
			if off := e & bitmapOffsetMask; off != 0 {
				c.use(off, q.clusterSize)
			}
		}
	}
	return nil
}
