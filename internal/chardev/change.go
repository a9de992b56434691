package chardev

import (
	"context"
	"sync/atomic"

	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// ChangeFor gives a device another back end while its front end goes on. It is
// called on the control lane and does not wait: done is called from anywhere with
// the result. When the new back end cannot be opened the old one stays.
func (r *Registry) ChangeFor(ctx *qmp.Context, cfg Config, done func(*Chardev, error)) {
	if _, err := r.changeable(cfg.ID); err != nil {
		done(nil, err)
		return
	}
	r.later(ctx, cfg, done, func(life context.Context, cfg Config, names *sock.Names) {
		done(r.change(life, cfg, names))
	})
}

func (r *Registry) changeable(id string) (*Chardev, error) {
	c := r.Get(id)
	if c == nil {
		return nil, refuse("Chardev '%s' does not exist", id)
	}
	if c.mux != nil {
		return nil, refuse("Mux device hotswap not supported yet")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, whole := c.fe.(ConnFrontend); whole {
		return nil, refuse("Chardev user does not support chardev hotswap")
	}
	return c, nil
}

// change opens the new back end and, on the control lane, puts it in the place of
// the old one.
func (r *Registry) change(ctx context.Context, cfg Config, names *sock.Names) (*Chardev, error) {
	c, unreserve, err := r.openOther(ctx, cfg, names)
	if err != nil {
		return nil, err
	}
	defer unreserve()
	swapped := make(chan error, 1)
	var begun atomic.Bool // the swap, or that it is given up
	var old *Chardev
	swap := func() {
		if begun.Swap(true) {
			return
		}
		var err error
		if old, err = r.changeable(cfg.ID); err == nil {
			err = r.swap(old, c)
		}
		swapped <- err
	}
	if r.Post == nil {
		swap()
	} else if !r.Post(swap) && !begun.Swap(true) {
		swapped <- errClosing
	}
	select {
	case err = <-swapped:
	case <-ctx.Done():
		if !begun.Swap(true) { // the lane has ended with the swap in its queue
			swapped <- errClosing
		}
		err = <-swapped
	}
	if err != nil {
		c.close()
		return nil, err
	}
	old.close() // what it has taken is given a moment to leave
	return c, nil
}

// openOther opens a device that is to take another's place. Until unreserve is
// called nobody else opens one of its name.
func (r *Registry) openOther(ctx context.Context, cfg Config, names *sock.Names) (c *Chardev, unreserve func(), err error) {
	r.mu.Lock()
	unreserve, err = r.reserve(cfg)
	r.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	if c, err = r.open(ctx, cfg, names); err != nil {
		unreserve()
		return nil, nil, err
	}
	return c, unreserve, nil
}

// swap moves old's front end to c and c to old's place.
func (r *Registry) swap(old, c *Chardev) error {
	r.mu.Lock()
	if r.closing {
		r.mu.Unlock()
		return errClosing
	}
	r.devs[old.id] = c
	r.mu.Unlock()
	old.mu.Lock()
	p, told := old.port, old.told
	old.mu.Unlock()
	if p == nil {
		return nil
	}
	old.release(p)
	if err := c.take(p, told); err != nil {
		return err
	}
	p.again()
	if fn := p.writable(); fn != nil {
		c.call(func(Frontend) { fn() }) // a Write may have been short before
	}
	return nil
}
