package filter

import (
	"govmd/internal/block"
)

// SnapshotAccessOptions are the options of the driver snapshot-access.
type SnapshotAccessOptions struct {
	block.GenericFormat
}

func init() {
	block.Register[SnapshotAccessOptions](&block.Type{Name: "snapshot-access", Open: openSnapshotAccess})
}

// Snapshotted is a driver that has what its child held at some time, to be read and,
// where it is not needed any more, discarded.
type Snapshotted interface {
	ReadSnapshot(off int64, v block.Vec) error
	SnapshotStatus(off, n int64, want block.StatusFlags) (block.Status, error)
	DiscardSnapshot(off, n int64) error
}

// snapshotAccess shows what a copy-before-write filter keeps. It is for reading; who
// has read a part may discard it.
type snapshotAccess struct {
	file *block.Child
	of   Snapshotted
}

func openSnapshotAccess(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*SnapshotAccessOptions)
	file, err := a.OpenChild("file", o.File, block.RoleData|block.RolePrimary)
	if err != nil {
		return nil, err
	}
	of, ok := file.Node().Driver().(Snapshotted)
	if !ok {
		return nil, block.Errorf(block.KindUnsupported, "Node '%s' (driver '%s') keeps no snapshot: driver 'copy-before-write' does",
			file.Node().Name(), file.Node().DriverName())
	}
	return &snapshotAccess{file: file, of: of}, nil
}

// ChildPerm implements block.ChildPermitter: nothing of what the filter shows is used.
func (d *snapshotAccess) ChildPerm(*block.Child, block.Role, block.Perm, block.Perm) (block.Perm, block.Perm) {
	return 0, block.PermAll
}

func (d *snapshotAccess) Length() (int64, error) { return d.file.Length(), nil }

func (d *snapshotAccess) Limits() block.Limits { return block.Limits{Align: 1} }

func (d *snapshotAccess) Preadv(off int64, v block.Vec, _ block.Flags) error {
	return d.of.ReadSnapshot(off, v)
}

func (d *snapshotAccess) Pwritev(int64, block.Vec, block.Flags) error { return block.ErrUnsupp }

func (d *snapshotAccess) PwriteZeroes(int64, int64, block.Flags) error { return block.ErrUnsupp }

func (d *snapshotAccess) Pdiscard(off, n int64) error { return d.of.DiscardSnapshot(off, n) }

func (d *snapshotAccess) BlockStatus(off, n int64, want block.StatusFlags) (block.Status, error) {
	return d.of.SnapshotStatus(off, n, want)
}

func (d *snapshotAccess) Flush() error { return nil }

func (d *snapshotAccess) Close() {}
