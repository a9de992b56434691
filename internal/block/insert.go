package block

import "context"

// InsertFilter opens a filter on top of n, as branch says (whose child is n, by
// name), and has it take n's place for all of n's users but those that stay. It need
// not be a registered type. name is nil for one that users do not know of. It returns
// the filter with a reference, for RemoveFilter. It runs on the lane and waits for
// requests under way.
func (g *Graph) InsertFilter(ctx context.Context, t *Type, name *string, branch any, n *Node) (*Node, error) {
	set := Settings{ReadOnly: n.set.ReadOnly, Unmap: true}
	f, err := g.open(ctx, &Options{Driver: t.Name, NodeName: name, Branch: branch}, set, openMore{typ: t})
	if err != nil {
		return nil, err
	}
	f.implicit = name == nil
	if err = n.Drain(ctx); err == nil { // and with it the filter, its user
		err = g.ReplaceNode(n, f, nil)
		n.Undrain()
	}
	if err != nil {
		f.Unref()
		return nil, err
	}
	return f, nil
}

// RemoveFilter puts what f filters back in its place and gives the reference to f
// back. It runs on the lane and waits for requests under way.
func (g *Graph) RemoveFilter(ctx context.Context, f *Node) error {
	n := f.filtered().Node()
	n.Ref()
	defer n.Unref()
	if err := n.Drain(ctx); err != nil {
		return err
	}
	defer n.Undrain()
	if err := g.ReplaceNode(f, n, nil); err != nil {
		return err
	}
	f.Unref()
	return nil
}
