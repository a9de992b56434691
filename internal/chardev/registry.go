package chardev

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"

	"govmd/internal/fd"
	"govmd/internal/qmp"
	"govmd/internal/sock"
	"govmd/internal/yank"
)

// Registry holds the character devices of one machine. Its zero value is ready
// to use. Which devices there are, and who uses which, changes on the control
// lane only; looking up is safe anywhere.
type Registry struct {
	// FDs is what files are opened from; nil for plain files.
	FDs *fd.Table
	// TLS and Authz find objects by their IDs; nil where there are none. They are
	// called where Add is, or on the control lane. The object stays until release
	// is called, on the lane; by is who uses it.
	TLS   func(id, by string) (creds sock.TLSCreds, release func(), err error)
	Authz func(id, by string) (authz sock.Authz, release func(), err error)
	// Guard is called before the program's terminal is changed, what it returns
	// when it was put back; nil for nothing.
	Guard func() (dismiss func())
	// Warn is told what a user should know and no client hears of; nil for nobody.
	Warn func(text string)
	// Escape is the key that introduces a multiplexer's commands; 0 for Ctrl-A.
	Escape byte
	// Hooks are what the keys of multiplexers do.
	Hooks MuxHooks
	// Yanks is told of sockets, whose connections users can break off; nil for nobody.
	Yanks *yank.Registry
	// Post has a function run on the control lane, in its turn; it returns false
	// when that is over. Nil runs it at once.
	Post func(func()) bool

	mu      sync.Mutex
	devs    map[string]*Chardev
	opening map[string]bool // IDs of devices that are being opened
	stdio   bool            // one of them is stdio
	closing bool
	pending sync.WaitGroup // what goes on in the background
	life    context.Context
	end     context.CancelFunc
}

// maxDevices bounds how many devices clients can add.
const maxDevices = 4096

func (r *Registry) warn(format string, args ...any) {
	if r.Warn != nil {
		r.Warn(fmt.Sprintf(format, args...))
	}
}

func (r *Registry) escape() byte {
	if r.Escape == 0 {
		return defaultEscape
	}
	return r.Escape
}

// Add opens a character device. With SocketConfig.Wait it returns when the first
// client is there. When ctx ends first there is no device, and the error wraps
// ctx's cause; afterwards ctx is not used. With Config.Mux there are two devices:
// ID-base, and ID, which shares it.
func (r *Registry) Add(ctx context.Context, cfg Config) (*Chardev, error) {
	names, done, err := r.resolve(nil, &cfg)
	if err != nil {
		return nil, err
	}
	defer done()
	return r.add(ctx, cfg, names)
}

func (r *Registry) add(ctx context.Context, cfg Config, names *sock.Names) (*Chardev, error) {
	if !cfg.Mux {
		return r.addOne(ctx, cfg, names)
	}
	id := cfg.ID
	cfg.ID, cfg.Mux = id+"-base", false
	if r.Get(id) != nil {
		return nil, existsError(id)
	}
	// The multiplexer comes before the wait for a client: its keys work from the
	// first one on.
	s, isSocket := cfg.Backend.(SocketConfig)
	wait := isSocket && s.Wait
	if wait {
		s.Wait = false
		cfg.Backend = s
	}
	base, err := r.addOne(ctx, cfg, names)
	if err != nil {
		return nil, err
	}
	m, err := r.addOne(ctx, Config{ID: id, Backend: MuxConfig{cfg.ID}}, nil)
	if err == nil && wait {
		b := base.backend.(*socketBackend)
		if err = b.waitFirst(ctx); err != nil {
			r.forget(m)
			m.close()
		}
	}
	if err != nil {
		r.forget(base)
		base.close()
		return nil, err
	}
	return m, nil
}

func (r *Registry) addOne(ctx context.Context, cfg Config, names *sock.Names) (*Chardev, error) {
	done, err := r.admit(cfg)
	if err != nil {
		return nil, err
	}
	defer done()
	return r.addAdmitted(ctx, cfg, names)
}

func (r *Registry) addAdmitted(ctx context.Context, cfg Config, names *sock.Names) (*Chardev, error) {
	c, err := r.open(ctx, cfg, names)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		r.pending.Go(c.close)
		return nil, errClosing
	}
	if r.devs == nil {
		r.devs = map[string]*Chardev{}
	}
	r.devs[cfg.ID] = c
	c.SetMuxHooks(r.Hooks)
	return c, nil
}

var errClosing = errors.New("The machine is shutting down")

// refusal is that a device cannot be added or changed, whatever its back end: an
// error that is complete without saying what was tried.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

func existsError(id string) error { return refuse("Chardev with id '%s' already exists", id) }

// admit refuses what cannot be there twice, and keeps its place until done is
// called.
func (r *Registry) admit(cfg Config) (done func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, dup := r.devs[cfg.ID]; dup || r.opening[cfg.ID] {
		return nil, existsError(cfg.ID)
	}
	if len(r.devs)+len(r.opening) >= maxDevices {
		return nil, fmt.Errorf("no more than %d character devices can be there: 'chardev-remove' makes room", maxDevices)
	}
	return r.reserve(cfg)
}

// reserve is the part of admit for a device that may take another's place.
func (r *Registry) reserve(cfg Config) (done func(), err error) {
	switch {
	case r.closing:
		return nil, errClosing
	case r.opening[cfg.ID]:
		return nil, refuse("Chardev '%s' is being changed", cfg.ID)
	}
	_, stdio := cfg.Backend.(StdioConfig)
	if stdio {
		taken := r.stdio
		for _, c := range r.devs {
			_, is := c.backend.(*stdioBackend)
			taken = taken || is
		}
		if taken {
			return nil, errors.New("cannot use stdio by multiple character devices")
		}
		r.stdio = true
	}
	if r.opening == nil {
		r.opening = map[string]bool{}
	}
	r.opening[cfg.ID] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.opening, cfg.ID)
		r.stdio = r.stdio && !stdio
	}, nil
}

// open makes a device that is not in the registry yet.
func (r *Registry) open(ctx context.Context, cfg Config, names *sock.Names) (*Chardev, error) {
	b, err := r.make(cfg, names)
	if err != nil {
		return nil, err
	}
	c := newChardev(cfg.ID, b)
	c.uses = cfg.uses
	if cfg.Log.File != "" {
		if c.log, err = openLog(ctx, r.FDs, cfg.Log.File, cfg.Log.Append, c.roomMade); err != nil {
			return nil, err
		}
	}
	if err := b.start(ctx, c); err != nil {
		if c.log != nil {
			c.log.close()
		}
		return nil, err
	}
	if w, ok := b.(waiter); ok {
		if err := w.wait(ctx); err != nil {
			c.close()
			return nil, err
		}
	}
	traceOpen.Emit(c.id, c.Kind())
	c.uses.begin()
	return c, nil
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
	c, err := r.take(id)
	if err == nil {
		c.close()
	}
	return err
}

// take takes a device that nobody uses out of the registry, to be closed.
func (r *Registry) take(id string) (*Chardev, error) {
	c := r.Get(id)
	if c == nil {
		return nil, notFound(id)
	}
	if c.InUse() {
		return nil, fmt.Errorf("Chardev '%s' is busy", id)
	}
	r.forget(c)
	return c, nil
}

func notFound(id string) error { return fmt.Errorf("Chardev '%s' not found", id) }

func (r *Registry) forget(c *Chardev) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.devs[c.id] == c {
		delete(r.devs, c.id)
	}
}

// Attach makes fe the front end of the device with that ID.
func (r *Registry) Attach(id string, fe Frontend) (Port, error) {
	c := r.Get(id)
	if c == nil {
		return nil, fmt.Errorf("chardev '%s' not found", id)
	}
	return c.Attach(fe)
}

// background runs fn, which opens or closes something, beside the control lane.
// Its context ends when the registry closes. It returns false when that was so
// already.
func (r *Registry) background(fn func(context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return false
	}
	if r.life == nil {
		r.life, r.end = context.WithCancel(context.Background())
	}
	ctx := r.life
	r.pending.Go(func() { fn(ctx) })
	return true
}

// AddFor opens a character device, without Config.Mux, for a command. It is called on the control lane
// and does not wait: done is called from anywhere with the result.
func (r *Registry) AddFor(ctx *qmp.Context, cfg Config, done func(*Chardev, error)) {
	unreserve, err := r.admit(cfg)
	if err != nil {
		done(nil, err)
		return
	}
	finish := func(c *Chardev, err error) {
		unreserve()
		done(c, err)
	}
	r.later(ctx, cfg, finish, func(life context.Context, cfg Config, names *sock.Names) {
		finish(r.addAdmitted(life, cfg, names))
	})
}

// later prepares cfg and has fn run in the background.
func (r *Registry) later(ctx *qmp.Context, cfg Config, done func(*Chardev, error), fn func(context.Context, Config, *sock.Names)) {
	names, close, err := r.resolve(ctx, &cfg)
	if err != nil {
		done(nil, err)
		return
	}
	if !r.background(func(life context.Context) {
		defer close()
		fn(life, cfg, names)
	}) {
		close()
		done(nil, errClosing)
	}
}

// Close ends all devices: output that was taken is given a moment to leave, and
// terminals and socket names are put back as they were.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closing = true
	if r.end != nil {
		r.end()
	}
	r.mu.Unlock()
	r.pending.Wait()
	var all sync.WaitGroup
	for _, c := range r.All() { // at once: each may wait for a peer
		all.Go(func() {
			c.close()
			r.forget(c) // not before: Abandon may be needed meanwhile
		})
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
