package filter

import (
	"govmd/internal/block"
)

// CopyOnReadOptions are the options of the driver copy-on-read.
type CopyOnReadOptions struct {
	block.GenericFormat
	Bottom *string `qmp:"bottom"`
}

func init() {
	block.Register[CopyOnReadOptions](&block.Type{Name: "copy-on-read", Filter: true, Open: openCopyOnRead})
}

// copyOnRead has what reads bring up from the backing chain kept in the image:
// from all of the chain, or from the part down to bottom.
type copyOnRead struct {
	passthrough
	bottom *block.Node // nil: all of the chain
}

func openCopyOnRead(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*CopyOnReadOptions)
	p, err := openFile(a, o.File)
	if err != nil {
		return nil, err
	}
	d := &copyOnRead{passthrough: p}
	if o.Bottom == nil {
		return d, nil
	}
	n := a.Graph.Node(*o.Bottom)
	switch {
	case n == nil:
		return nil, block.Errorf(block.KindNotFound, "Bottom node '%s' not found", *o.Bottom)
	case n.Type().Filter:
		return nil, block.Errorf(block.KindInvalid, "Bottom node '%s' is a filter", *o.Bottom)
	case !p.file.Node().InChain(n):
		return nil, block.Errorf(block.KindInvalid, "Bottom node '%s' is not in the backing chain of '%s'", *o.Bottom, p.file.Node().Name())
	}
	n.Ref() // it stays, whatever becomes of the chain
	d.bottom = n
	return d, nil
}

// ChildPerm implements block.ChildPermitter: copying changes nothing that is visible.
func (d *copyOnRead) ChildPerm(_ *block.Child, _ block.Role, perm, shared block.Perm) (block.Perm, block.Perm) {
	if !d.file.Node().ReadOnly() {
		perm |= block.PermUnchanged
	}
	return perm, shared | block.PermUnchanged
}

func (d *copyOnRead) Preadv(off int64, v block.Vec, f block.Flags) error {
	if d.bottom == nil {
		return d.file.Preadv(off, v, f|block.CopyOnRead)
	}
	for n := int64(v.Len()); n > 0; n = int64(v.Len()) {
		k, keep, err := d.worth(off, n)
		if err != nil {
			return err
		}
		g := f
		if keep {
			g |= block.CopyOnRead
		}
		if err := d.file.Preadv(off, v.To(int(k)), g); err != nil {
			return err
		}
		off, v = off+k, v.From(int(k))
	}
	return nil
}

// worth returns how many bytes from off on, at most n, are alike in whether they
// are to be kept: those that come from below the image, but not from below bottom.
func (d *copyOnRead) worth(off, n int64) (k int64, keep bool, err error) {
	top := d.file.Node().SkipFilters()
	here, k, err := top.IsAllocatedAbove(top.BackingChainNext(), off, n)
	if err != nil || k == 0 {
		return n, false, err
	}
	if here {
		return k, false, nil
	}
	next := top.BackingChainNext()
	if next == nil {
		return k, false, nil
	}
	keep, m, err := next.IsAllocatedAbove(d.bottom.BackingChainNext(), off, k)
	if err != nil || m == 0 {
		return k, false, err
	}
	return min(k, m), keep, nil
}

func (d *copyOnRead) Close() {
	if d.bottom != nil {
		d.bottom.Unref()
	}
}
