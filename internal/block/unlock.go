package block

import "context"

// Keyed is an image that can be given its key after it has been opened.
type Keyed interface {
	// Key returns what the image's options say is the key, nil when they say nothing.
	Key() (secret []byte, err error)
	// SetKey has the image use secret as its key, if it is the right one. It may run
	// anywhere, beside requests, and takes seconds; ctx ends it early.
	SetKey(ctx context.Context, secret []byte) error
}

// Unlocking is what is left to do for images that were opened with LateKey.
type Unlocking struct{ list []pendingKey }

type pendingKey struct {
	image  Keyed
	secret []byte
}

// Unlocking returns what is left to do for n and what is below it, nil for nothing.
func (n *Node) Unlocking() (*Unlocking, error) {
	var u Unlocking
	if err := u.add(n); err != nil || len(u.list) == 0 {
		return nil, err
	}
	return &u, nil
}

func (u *Unlocking) add(n *Node) error {
	if k, ok := n.drv.(Keyed); ok && n.set.LateKey && n.Info().KeyMissing {
		secret, err := k.Key()
		if err != nil {
			return err
		}
		if secret != nil {
			u.list = append(u.list, pendingKey{k, secret})
		}
	}
	for _, c := range n.Children() {
		if err := u.add(c.Node()); err != nil {
			return err
		}
	}
	return nil
}

// Run gives the images their keys. It may run anywhere, and takes seconds; ctx ends it
// early.
func (u *Unlocking) Run(ctx context.Context) error {
	for _, p := range u.list {
		if err := p.image.SetKey(ctx, p.secret); err != nil {
			return err
		}
	}
	return nil
}

// Locked returns the first node from n down the backing chain that lacks its key, or
// nil.
func (n *Node) Locked() *Node {
	for ; n != nil; n = n.BackingChainNext() {
		if n.Info().KeyMissing {
			return n
		}
	}
	return nil
}
