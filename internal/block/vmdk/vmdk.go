// Package vmdk is VMware's image format VMDK: a description in text, and extents that
// hold the disk's data one after the other. A flat extent is a file of its own. A
// sparse one has a grain directory, grain tables, and those of the disk's grains (64
// KiB mostly) that have been written; it may have the description in it, and then is
// all of the image (monolithicSparse).
//
// Changes of grain tables stay in memory until a flush, which makes grains stable
// before it writes both copies of the tables.
//
// An image with a backing file has its content ID as parentCID. The first write
// after an image was opened changes its content ID: what it was the backing file of
// is no image any more.
package vmdk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/block/maptable"
)

// Options are the options of the driver vmdk.
type Options struct{ block.GenericCOW }

func init() {
	block.Register[Options](&block.Type{
		Name: "vmdk", Backing: true, Open: open, Probe: probe, Create: create, CreateKeys: createKeys, CreateFixup: fixup,
	})
	block.RegisterCreate[CreateOptions]("vmdk")
}

func probe(head []byte, _ string) int {
	if isSparse(head) || isCOWD(head) || isDescriptor(head) {
		return 100
	}
	return 0
}

// isCOWD reports whether head begins a sparse extent of ESX servers' own kind.
func isCOWD(head []byte) bool { return len(head) >= 4 && string(head[:4]) == "COWD" }

// extent is a part of the disk.
type extent struct {
	start, end int64 // bytes of the disk
	file       *block.Child
	offset     int64   // of flat data in file
	sparse     *sparse // nil: flat
}

// image is an open VMDK image.
type image struct {
	node    *block.Node
	file    *block.Child // that has the description
	desc    descriptor
	extents []extent

	fresh atomic.Bool // the content ID has been changed
	cidMu sync.Mutex  // held while it is
}

func open(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*Options)
	file, err := a.OpenChild("file", o.File, block.RoleImage)
	if err != nil {
		return nil, err
	}
	if err := a.FollowReadOnly(file); err != nil {
		return nil, err
	}
	d := &image{node: a.Node, file: file}
	if err := d.load(a); err != nil {
		return nil, err
	}
	backing, err := a.OpenBacking(o.Backing, d.desc.parent, "vmdk")
	if err != nil {
		return nil, err
	}
	return d, d.checkParent(backing)
}

// load reads the description and opens the extents.
func (d *image) load(a *block.OpenArgs) error {
	head := make([]byte, min(d.file.Length(), headerSize))
	if err := d.file.Pread(0, head); err != nil {
		return block.Unreadable(d.file, "cannot read the VMDK header", err)
	}
	switch {
	case isCOWD(head):
		return block.Errorf(block.KindUnsupported, "Image '%s': sparse extents of ESX servers (COWD) are not supported", d.file.Node().FileName())
	case isSparse(head):
		return d.loadSparse(a)
	}
	if err := d.describe(0, maxDescriptor); err != nil {
		return err
	}
	desc := &d.desc
	if !slices.Contains([]string{"monolithicFlat", "vmfs", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"}, desc.createType) {
		return block.Errorf(block.KindUnsupported, "Image '%s': Unsupported image type '%s'", d.file.Node().FileName(), clip(desc.createType))
	}
	for i := range desc.extents {
		if err := d.openExtent(a, &desc.extents[i]); err != nil {
			return err
		}
	}
	if len(d.extents) == 0 {
		return block.Malformed(d.file, 0, "extents", "the description names none that can be written")
	}
	return nil
}

// describe reads the description, at most n bytes at off.
func (d *image) describe(off, n int64) error {
	text := make([]byte, max(0, min(n, maxDescriptor, d.file.Length()-off)))
	if err := d.file.Pread(off, text); err != nil {
		return block.Unreadable(d.file, "cannot read the VMDK description", err)
	}
	desc, err := parse(d.file, off, text)
	if err == nil {
		d.desc = *desc
	}
	return err
}

// loadSparse opens an image that is one sparse extent with the description in it.
func (d *image) loadSparse(a *block.OpenArgs) error {
	x, err := openSparse(d.file)
	if err != nil {
		return err
	}
	h := &x.hdr
	if h.desc == 0 || h.descSize == 0 {
		return block.Malformed(d.file, offDesc, "descriptorOffset", "there is no description: this is an extent of another image")
	}
	if err := d.describe(h.desc*sectorSize, h.descSize*sectorSize); err != nil {
		return err
	}
	if err := d.readOnly(a, x); err != nil {
		return err
	}
	d.extents = []extent{{end: h.capacity * sectorSize, file: d.file, sparse: x}}
	return nil
}

// readOnly lets what govmd can only read be opened for reading alone.
func (d *image) readOnly(a *block.OpenArgs, x *sparse) error {
	if a.Settings().ReadOnly {
		return nil
	}
	switch h := &x.hdr; {
	case h.flags&flagCompressed != 0:
		return a.SetReadOnly(block.Errorf(block.KindUnsupported, "Image '%s': compressed VMDK images (%s) can only be read", d.file.Node().FileName(), d.desc.createType))
	case h.version == 3:
		return a.SetReadOnly(block.Errorf(block.KindUnsupported, "Image '%s': VMDK version 3 must be read only", d.file.Node().FileName()))
	}
	return nil
}

// openExtent opens the extent that a line of the description names.
func (d *image) openExtent(a *block.OpenArgs, line *extentLine) error {
	if line.access != "RW" {
		return nil // as others do: it is not part of the disk
	}
	x := extent{}
	if n := len(d.extents); n > 0 {
		x.start = d.extents[n-1].end
	}
	x.end = x.start + line.sectors*sectorSize
	flat := line.kind == "FLAT" || line.kind == "VMFS"
	if !flat && line.kind != "SPARSE" || x.end < x.start {
		return block.Errorf(block.KindUnsupported, "Image '%s': Unsupported extent type '%s'", d.file.Node().FileName(), clip(line.kind))
	}
	ref, err := extentRef(d.file.Node(), line.name)
	if err != nil {
		return err
	}
	role := block.RoleData
	if !flat {
		role |= block.RoleMetadata
	}
	if x.file, err = a.OpenChild(fmt.Sprintf("extents.%d", len(d.extents)), ref, role); err != nil {
		return err
	}
	if err := a.FollowReadOnly(x.file); err != nil {
		return err
	}
	if flat {
		x.offset = line.offset * sectorSize
		if n := x.file.Length(); x.offset+line.sectors*sectorSize > n {
			return block.Errorf(block.KindCorrupt, "Image '%s': extent '%s' has %d bytes, fewer than the description says (%d)", d.file.Node().FileName(), line.name, n, x.offset+line.sectors*sectorSize)
		}
	} else {
		if x.sparse, err = openSparse(x.file); err != nil {
			return err
		}
		if n := x.sparse.hdr.capacity; n != line.sectors {
			return block.Malformed(x.file, offCapacity, "capacity", "it is %d sectors, and the description says %d", n, line.sectors)
		}
		if err := d.readOnly(a, x.sparse); err != nil {
			return err
		}
	}
	d.extents = append(d.extents, x)
	return nil
}

// extentRef returns how to open an extent that the description in n calls name.
func extentRef(n *block.Node, name string) (block.Ref, error) {
	full, err := n.ResolveBacking(name)
	if err != nil {
		return block.Ref{}, err
	}
	o, err := block.NamedOptions(full)
	if err != nil {
		return block.Ref{}, err
	}
	return block.DefRef(o), nil
}

// checkParent compares the parentCID with the content ID of the backing file, if
// there is one.
func (d *image) checkParent(backing *block.Child) error {
	if backing == nil {
		return nil
	}
	n := backing.Node()
	base, ok := n.Driver().(*image)
	if !ok {
		return block.Errorf(block.KindInvalid, "Image '%s': the backing file '%s' is no VMDK image, as it has to be", d.file.Node().FileName(), n.FileName())
	}
	if base.desc.cid != d.desc.parentCID {
		return block.Errorf(block.KindCorrupt, "Image '%s': parentCID %08x is not the CID of the backing file '%s', %08x: it has been written to since",
			d.file.Node().FileName(), d.desc.parentCID, n.FileName(), base.desc.cid)
	}
	return nil
}

// at returns the extent of a byte of the disk.
func (d *image) at(off int64) *extent {
	lo, hi := 0, len(d.extents)-1
	for lo < hi {
		if mid := (lo + hi) / 2; off < d.extents[mid].end {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return &d.extents[lo]
}

// Find implements maptable.Mapper.
func (d *image) Find(off, n int64) (maptable.Place, error) {
	x := d.at(off)
	n = min(n, x.end-off)
	if x.sparse != nil {
		return x.sparse.Find(off-x.start, n)
	}
	return maptable.Place{Kind: maptable.Data, N: n, File: x.file, Off: x.offset + off - x.start}, nil
}

// FindForWrite implements maptable.Mapper.
func (d *image) FindForWrite(off, n int64) (maptable.Place, error) {
	x := d.at(off)
	if x.sparse == nil {
		return d.Find(off, n)
	}
	return x.sparse.FindForWrite(off-x.start, min(n, x.end-off), d.node.BackingChild(), x.start)
}

// Unpack implements maptable.Unpacker.
func (d *image) Unpack(p maptable.Place, off int64, v block.Vec) error {
	x := d.at(off)
	return x.sparse.unpack(p, (off-x.start)&(x.sparse.grain-1), v)
}

// Length returns the size of the disk.
func (d *image) Length() (int64, error) { return d.extents[len(d.extents)-1].end, nil }

// Limits says that everything is taken.
func (d *image) Limits() block.Limits {
	l := block.Limits{
		Align: 1, MemAlign: d.file.Node().Limits().MemAlign, MaxTransfer: 1 << 30, MaxZeroes: 1 << 30,
		WriteFlags: block.Unchanged,
		ZeroFlags:  block.MayUnmap | block.NoFallback | block.Unchanged,
	}
	if x := d.extents[0].sparse; x != nil {
		l.OptTransfer = int(x.grain)
	}
	return l
}

func (d *image) Preadv(off int64, v block.Vec, _ block.Flags) error {
	return maptable.Preadv(d, d.node.BackingChild(), off, v)
}

func (d *image) Pwritev(off int64, v block.Vec, f block.Flags) error {
	if err := d.renew(); err != nil {
		return err
	}
	if err := maptable.Pwritev(d, off, v, f); err != nil {
		return err
	}
	return d.relieve()
}

// PwriteZeroes leaves out what reads as zeroes for not being there, and makes grains
// of zeroes where the image has such.
func (d *image) PwriteZeroes(off, n int64, f block.Flags) error {
	if err := d.renew(); err != nil {
		return err
	}
	backing := d.node.BackingChild() != nil
	for n > 0 {
		x := d.at(off)
		m := min(n, x.end-off)
		done := false
		if x.sparse != nil && backing {
			if in := (off - x.start) & (x.sparse.grain - 1); in != 0 || m < x.sparse.grain {
				m = min(m, x.sparse.grain-in)
			} else {
				m = x.sparse.grain
				p, err := x.sparse.Find(off-x.start, m)
				if err == nil && p.Kind == maptable.Absent {
					done, err = x.sparse.zero(off - x.start)
				}
				if err != nil {
					return err
				}
			}
		}
		if !done {
			if err := maptable.PwriteZeroes(d, backing, off, m, f); err != nil {
				return err
			}
		}
		off, n = off+m, n-m
	}
	return d.relieve()
}

func (d *image) BlockStatus(off, n int64, _ block.StatusFlags) (block.Status, error) {
	st, err := maptable.BlockStatus(d, true, off, n)
	if x := d.at(off); x.sparse == nil {
		st.Flags |= block.StatusRecurse
	}
	return st, err
}

// Map implements block.Mapper: a grain that has a place keeps it.
func (d *image) Map(off, n int64, write bool) (*block.Child, int64, uint32, bool) {
	x := d.at(off)
	switch {
	case write && !d.fresh.Load():
		return nil, 0, 0, false
	case x.sparse == nil:
		return maptable.Map(d, nil, 0, off, n)
	}
	return maptable.Map(d, x.sparse.gt, (off-x.start)>>x.sparse.bits, off, n)
}

// Unmap implements block.Mapper.
func (d *image) Unmap(uint32) {}

// renew changes the content ID before the first write.
func (d *image) renew() error {
	if d.fresh.Load() {
		return nil
	}
	d.cidMu.Lock()
	defer d.cidMu.Unlock()
	if d.fresh.Load() {
		return nil
	}
	if err := d.setCID(rand.Uint32N(noParent)); err != nil { // all ones are no parent's
		return err
	}
	d.fresh.Store(true)
	return nil
}

// room is how long the description may be, in bytes.
func (d *image) room() int64 {
	if x := d.extents[0].sparse; x != nil && x.file == d.file {
		return x.hdr.descSize * sectorSize
	}
	return maxDescriptor
}

// setCID puts another content ID into the description.
func (d *image) setCID(cid uint32) error {
	from, to, ok := d.desc.value("CID")
	if !ok {
		return block.ErrIO
	}
	text := slices.Concat(d.desc.text[:from], fmt.Appendf(nil, "%08x", cid), d.desc.text[to:])
	if int64(len(text)) > d.room() {
		return block.ErrNoSpace
	}
	changed := text[from:]
	if to-from == 8 {
		changed = changed[:8] // what follows stays where it is
	}
	if err := d.file.Pwrite(d.desc.off+int64(from), changed); err != nil {
		return err
	}
	d.desc.text, d.desc.cid = text, cid
	return nil
}

// relieve writes tables back when much of one has changed.
func (d *image) relieve() error {
	for i := range d.extents {
		if x := d.extents[i].sparse; x != nil && x.gt.Full() {
			return d.Flush()
		}
	}
	return nil
}

// Flush writes tables back, behind the grains.
func (d *image) Flush() error {
	for i := range d.extents {
		if x := d.extents[i].sparse; x != nil {
			if err := x.gt.WriteBack(x.file.Flush); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close writes what is left. A failure has been met by those who flushed.
func (d *image) Close() { _ = d.Flush() }

// Inactivate writes everything back.
func (d *image) Inactivate() error { return d.Flush() }

// Activate reads everything anew: another process has had the image.
func (d *image) Activate(context.Context) error {
	for i := range d.extents {
		x := &d.extents[i]
		if x.sparse == nil {
			continue
		}
		fresh, err := openSparse(x.file)
		if err != nil {
			return err
		}
		x.sparse = fresh
	}
	d.fresh.Store(false)
	return d.describe(d.desc.off, d.room())
}

// PrepareReopen writes back what a read-only image could not.
func (d *image) PrepareReopen(a *block.ReopenArgs) error {
	for i := range d.extents {
		if x := d.extents[i].sparse; x != nil && !a.Set.ReadOnly && (x.hdr.flags&flagCompressed != 0 || x.hdr.version == 3) {
			return block.Errorf(block.KindUnsupported, "Image '%s' can only be read", d.file.Node().FileName())
		}
	}
	return d.Flush()
}

// CommitReopen implements block.Reopener.
func (d *image) CommitReopen(*block.ReopenArgs) {}

// AbortReopen implements block.Reopener.
func (d *image) AbortReopen(*block.ReopenArgs) {}
