package filter

import "govmd/internal/block"

// JobOptions are the options of a filter that a job puts on top of an image.
type JobOptions struct {
	block.GenericFormat
	// Written is called after each write, whether or not it went well, and before it is
	// said to be done. It may be nil.
	Written func(off, n int64)
}

// JobType returns a type of filter that hands everything down, and that perm decides
// for what it needs of the image and shares of it. It is for Graph.InsertFilter.
func JobType(name string, perm func(perm, shared block.Perm) (block.Perm, block.Perm)) *block.Type {
	return &block.Type{Name: name, Filter: true, Open: func(a *block.OpenArgs) (block.Driver, error) {
		o := a.Opts.(*JobOptions)
		p, err := openFile(a, o.File)
		if err != nil {
			return nil, err
		}
		return &jobFilter{p, perm, o.Written}, nil
	}}
}

type jobFilter struct {
	passthrough
	perm    func(perm, shared block.Perm) (block.Perm, block.Perm)
	written func(off, n int64)
}

func (f *jobFilter) Pwritev(off int64, v block.Vec, fl block.Flags) error {
	return f.wrote(off, int64(v.Len()), f.file.Pwritev(off, v, fl))
}

func (f *jobFilter) PwriteZeroes(off, n int64, fl block.Flags) error {
	return f.wrote(off, n, f.file.PwriteZeroes(off, n, fl))
}

func (f *jobFilter) Pdiscard(off, n int64) error {
	return f.wrote(off, n, f.file.Pdiscard(off, n))
}

func (f *jobFilter) wrote(off, n int64, err error) error {
	if f.written != nil {
		f.written(off, n)
	}
	return err
}

// ChildPerm implements block.ChildPermitter.
func (f *jobFilter) ChildPerm(_ *block.Child, _ block.Role, perm, shared block.Perm) (block.Perm, block.Perm) {
	return f.perm(perm, shared)
}
