package block

import "context"

// RecordBacking has the image call its backing file by another name, "" for none. All
// that it has of its own is stable before, for it may not find the rest any more, and
// the name is when it returns. The graph is not touched.
func (n *Node) RecordBacking(ctx context.Context, file, format string) error {
	ch, ok := n.drv.(BackingChanger)
	if !ok {
		return ErrUnsupp
	}
	if err := n.flush(); err != nil {
		return err
	}
	if err := ch.ChangeBacking(ctx, file, format); err != nil {
		return err
	}
	if p := n.Primary(); p != nil {
		return p.flush()
	}
	return nil
}
