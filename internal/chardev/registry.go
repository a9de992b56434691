package chardev

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
)

// Registry holds the character devices of one machine. Its zero value is ready
// to use. It changes on the control lane only; looking up is safe anywhere.
type Registry struct {
	mu   sync.Mutex
	devs map[string]*Chardev
}

// Add opens a character device. With SocketConfig.Wait it returns when the first
// client is there. When ctx ends first there is no device, and the error wraps
// ctx's cause; afterwards ctx is not used.
func (r *Registry) Add(ctx context.Context, cfg Config) (*Chardev, error) {
	if err := r.admit(cfg); err != nil {
		return nil, err
	}
	b, err := cfg.backend()
	if err != nil {
		return nil, err
	}
	c := newChardev(cfg.ID, b)
	if err := b.start(ctx, c); err != nil {
		return nil, err
	}
	if err := c.complete(ctx, cfg); err != nil {
		c.close()
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.devs == nil {
		r.devs = map[string]*Chardev{}
	}
	r.devs[cfg.ID] = c
	return c, nil
}

// admit refuses what cannot be there twice.
func (r *Registry) admit(cfg Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, dup := r.devs[cfg.ID]; dup {
		return fmt.Errorf("Chardev with id '%s' already exists", cfg.ID)
	}
	if _, ok := cfg.Backend.(StdioConfig); !ok {
		return nil
	}
	for _, c := range r.devs {
		if _, ok := c.backend.(*stdioBackend); ok {
			return errors.New("cannot use stdio by multiple character devices")
		}
	}
	return nil
}

// complete does what follows the start of the back end.
func (c *Chardev) complete(ctx context.Context, cfg Config) error {
	if cfg.Mux {
		m, err := newMux(c)
		if err != nil {
			return err
		}
		c.mux = m
	}
	if w, ok := c.backend.(waiter); ok {
		return w.wait(ctx)
	}
	return nil
}

// Get returns the device of that ID, or nil.
func (r *Registry) Get(id string) *Chardev {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.devs[id]
}

// All returns every device, sorted by ID.
func (r *Registry) All() []*Chardev {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*Chardev
	for _, c := range r.devs {
		list = append(list, c)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].id < list[j].id })
	return list
}

// Remove closes the device of that ID. One that is in use is not removed.
func (r *Registry) Remove(id string) error {
	c := r.Get(id)
	if c == nil {
		return fmt.Errorf("Chardev '%s' not found", id)
	}
	if c.InUse() {
		return fmt.Errorf("Chardev '%s' is busy", id)
	}
	r.forget(c)
	c.close()
	return nil
}

func (r *Registry) forget(c *Chardev) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.devs, c.id)
}

// Attach makes fe the front end of the device with that ID.
func (r *Registry) Attach(id string, fe Frontend) (Port, error) {
	c := r.Get(id)
	if c == nil {
		return nil, fmt.Errorf("chardev '%s' not found", id)
	}
	return c.Attach(fe)
}

// Close ends all devices: output that was taken is given a moment to leave, and
// terminals and socket names are put back as they were.
func (r *Registry) Close() {
	var all sync.WaitGroup
	for _, c := range r.All() {
		r.forget(c)
		all.Go(c.close) // at once: each may wait for a peer
	}
	all.Wait()
}

// Abandon puts terminals and socket names back as they were and waits for
// nobody. It is for a process that has to end now, whatever else hangs.
func (r *Registry) Abandon() {
	for _, c := range r.All() {
		if a, ok := c.backend.(abandoner); ok {
			a.abandon()
		}
	}
}
