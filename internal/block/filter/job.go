package filter

import "govmd/internal/block"

// JobOptions are the options of a filter that a job puts on top of an image.
type JobOptions struct{ block.GenericFormat }

// JobType returns a type of filter that hands everything down, and that perm decides
// for what it needs of the image and shares of it. It is for Graph.InsertFilter.
func JobType(name string, perm func(perm, shared block.Perm) (block.Perm, block.Perm)) *block.Type {
	return &block.Type{Name: name, Filter: true, Open: func(a *block.OpenArgs) (block.Driver, error) {
		p, err := openFile(a, a.Opts.(*JobOptions).File)
		if err != nil {
			return nil, err
		}
		return &jobFilter{p, perm}, nil
	}}
}

type jobFilter struct {
	passthrough
	perm func(perm, shared block.Perm) (block.Perm, block.Perm)
}

// ChildPerm implements block.ChildPermitter.
func (f *jobFilter) ChildPerm(_ *block.Child, _ block.Role, perm, shared block.Perm) (block.Perm, block.Perm) {
	return f.perm(perm, shared)
}
