package qcow2

import (
	"context"

	"govmd/internal/block"
)

// Inactivate writes everything, bitmaps too, and marks the image clean: another
// process may open it now.
func (q *image) Inactivate() error {
	if q.read {
		return nil
	}
	q.gate.Lock()
	defer q.gate.Unlock()
	err := q.storeBitmaps()
	if e := q.sync(); e != nil {
		return e
	}
	if err != nil {
		return err
	}
	return q.markClean()
}

// markClean clears the dirty bit once everything is stable. gate is held.
func (q *image) markClean() error {
	if q.hdr.incompat&incompatDirty == 0 || q.corrupt {
		return nil
	}
	if err := q.setIncompat(q.hdr.incompat &^ incompatDirty); err != nil {
		return err
	}
	q.lazyDirty = false
	return nil
}

// Activate reads everything anew: another process has had the image.
func (q *image) Activate(context.Context) error {
	q.gate.Lock()
	defer q.gate.Unlock()
	if err := q.loadHeader(); err != nil {
		return err
	}
	if err := q.loadCrypto(); err != nil {
		return err
	}
	if err := q.loadTables(false); err != nil {
		return err
	}
	if err := q.configure(q.opts, q.node.Settings()); err != nil {
		return err
	}
	q.forgetDecompressed()
	return q.loadBitmaps()
}

// PrepareReopen checks new options and writes back what is cached.
func (q *image) PrepareReopen(a *block.ReopenArgs) error {
	o := a.Opts.(*Options)
	if a.Set.ReadOnly && !a.Old.ReadOnly {
		if err := q.Inactivate(); err != nil {
			return err
		}
	} else if !q.read {
		q.gate.Lock()
		err := q.sync()
		q.gate.Unlock()
		if err != nil {
			return err
		}
	}
	if !a.Set.ReadOnly && q.hdr.incompat&incompatCorrupt != 0 {
		return block.Errorf(block.KindCorrupt, "qcow2: Image is corrupt; cannot be opened read/write")
	}
	old, oldSet := q.opts, a.Old
	if err := q.configure(o, a.Set); err != nil {
		return err
	}
	a.State = func() {
		_ = q.configure(old, oldSet) // it was in effect before
	}
	return nil
}

// CommitReopen implements block.Reopener.
func (q *image) CommitReopen(a *block.ReopenArgs) {
	q.cleaner.end()
	q.cleaner.start(q)
	if a.Old.ReadOnly && !a.Set.ReadOnly {
		for _, b := range q.node.Bitmaps() {
			if b.Persistent() {
				b.SetReadonly(false)
			}
		}
		q.bitmapsInUse()
	}
}

// AbortReopen implements block.Reopener.
func (q *image) AbortReopen(a *block.ReopenArgs) { a.State.(func())() }

// writeHeader writes the header anew and makes it stable. gate or mu is held such
// that nothing else changes it.
func (q *image) writeHeader() error {
	p, err := q.hdr.encode()
	if err != nil {
		return err
	}
	full := make([]byte, min(q.clusterSize, max(int64(len(p)), 4096)))
	copy(full, p)
	return q.file.PwriteSync(0, full)
}

// ChangeBacking records another backing file.
func (q *image) ChangeBacking(_ context.Context, file, format string) error {
	q.gate.Lock()
	defer q.gate.Unlock()
	if len(file) > maxBackingName {
		return block.Errorf(block.KindInvalid, "Backing file name is longer than %d bytes", maxBackingName)
	}
	if q.hdr.autoclear&autoclearRawData != 0 && file != "" {
		return block.Errorf(block.KindInvalid, "An image with a raw external data file cannot have a backing file")
	}
	old := q.hdr
	q.hdr.backingFile, q.hdr.backingFmt, q.hdr.hasFmt = file, format, format != ""
	if err := q.writeHeader(); err != nil {
		q.hdr = old
		return err
	}
	return nil
}

// Info says what is known of the image.
func (q *image) Info() block.Info {
	h := &q.hdr
	i := block.Info{
		ClusterSize: int(q.clusterSize), Subcluster: 1 << q.subBits, Dirty: h.incompat&incompatDirty != 0,
		Encrypted: q.encrypted(), KeyMissing: q.locked(), BackingFile: h.backingFile, BackingFormat: h.backingFmt,
		AllocatedBytes: -1, ZeroInit: true, UnallocZero: true, CanWriteZeroes: h.version >= 3,
		VMStateOffset: q.vmStateOffset(),
	}
	i.Specific = q.specific()
	return i
}

// vmStateOffset is where VM state begins: behind what the disk can have.
func (q *image) vmStateOffset() int64 {
	shift := q.l2Bits + q.clusterBits
	return q.l1Needed(q.sizeBytes.Load()) << shift
}

// SpecificInfo is the format-specific information of query-block.
type SpecificInfo struct {
	Type string       `qmp:"type"`
	Data SpecificData `qmp:"data"`
}

// SpecificData is ImageInfoSpecificQCow2.
type SpecificData struct {
	Compat          string       `qmp:"compat"`
	DataFile        *string      `qmp:"data-file"`
	DataFileRaw     *bool        `qmp:"data-file-raw"`
	ExtendedL2      *bool        `qmp:"extended-l2"`
	LazyRefcounts   *bool        `qmp:"lazy-refcounts"`
	Corrupt         *bool        `qmp:"corrupt"`
	RefcountBits    int          `qmp:"refcount-bits"`
	Encrypt         any          `qmp:"encrypt,optional"`
	Bitmaps         []BitmapInfo `qmp:"bitmaps,optional"`
	CompressionType string       `qmp:"compression-type"`
}

// BitmapInfo is Qcow2BitmapInfo.
type BitmapInfo struct {
	Name        string   `qmp:"name"`
	Granularity int64    `qmp:"granularity"`
	Flags       []string `qmp:"flags"`
}

func (q *image) specific() *SpecificInfo {
	h := &q.hdr
	d := SpecificData{Compat: "0.10", RefcountBits: 1 << h.refcountOrder, CompressionType: "zlib", Encrypt: q.encryptInfo()}
	if h.compression == compressZstd {
		d.CompressionType = "zstd"
	}
	if h.version >= 3 {
		d.Compat = "1.1"
		lazy, corrupt, ext := h.compat&compatLazy != 0, h.incompat&incompatCorrupt != 0, q.extL2
		d.LazyRefcounts, d.Corrupt, d.ExtendedL2 = &lazy, &corrupt, &ext
		if q.ext {
			raw := h.autoclear&autoclearRawData != 0
			d.DataFileRaw = &raw
			if h.dataFile != "" {
				d.DataFile = &h.dataFile
			}
		}
	}
	for _, b := range q.bitmaps {
		info := BitmapInfo{Name: b.name, Granularity: 1 << b.granBits, Flags: []string{}}
		if b.flags&bitmapInUse != 0 {
			info.Flags = append(info.Flags, "in-use")
		}
		if b.flags&bitmapAuto != 0 {
			info.Flags = append(info.Flags, "auto")
		}
		d.Bitmaps = append(d.Bitmaps, info)
	}
	return &SpecificInfo{Type: "qcow2", Data: d}
}
