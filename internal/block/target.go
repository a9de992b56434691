package block

import "context"

// Target is what an image is made in.
type Target struct {
	*Backend
	node *Node
}

// OpenTarget opens the file that an image is to be made in, for Create functions: it
// may be written and resized, and nobody else does so.
func (g *Graph) OpenTarget(ctx context.Context, ref Ref) (*Target, error) {
	var n *Node
	var err error
	if ref.Reference != nil {
		if n, err = g.Lookup(*ref.Reference, *ref.Reference); err == nil {
			n.Ref()
		}
	} else {
		n, err = g.Open(ctx, ref.Definition, Settings{})
	}
	if err != nil {
		return nil, err
	}
	b, err := g.NewBackend("")
	if err == nil {
		if err = b.SetPerms(PermRead|PermWrite|PermResize, PermAll&^(PermWrite|PermResize)); err == nil {
			err = b.InsertMedium(n)
		}
		if err != nil {
			b.Close()
		}
	}
	if err != nil {
		n.Unref()
		return nil, err
	}
	return &Target{Backend: b, node: n}, nil
}

// Close lets the file go.
func (t *Target) Close() {
	t.Backend.Close()
	t.node.Unref()
}

// Write writes p at off.
func (t *Target) Write(off int64, p []byte) error { return t.Root().Pwrite(off, p) }

// Empty makes the file one of size zeroes, of which no space is allocated.
func (t *Target) Empty(ctx context.Context, size int64) error {
	f := t.Root()
	if err := f.Truncate(ctx, 0, false, PreallocOff, 0); err != nil {
		return err
	}
	return f.Truncate(ctx, size, false, PreallocOff, 0)
}
