package blkdebug

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

// io is a set of kinds of request.
type io uint8

const (
	ioRead io = 1 << iota
	ioWrite
	ioZeroes
	ioDiscard
	ioFlush
	ioStatus

	ioDefault = ioRead | ioWrite | ioZeroes | ioDiscard | ioFlush
)

// rule is what happens at an event, in a state (0: in any).
type rule struct {
	state int

	// A rule that changes the state.
	newState int

	// A rule that injects an error.
	inject bool
	kinds  io
	errno  unix.Errno
	offset int64 // -1: anywhere
	once   bool

	// A breakpoint.
	tag string
}

type filter struct {
	node *block.Node
	file *block.Child
	opts *Options

	mu      sync.Mutex // guards what follows
	state   int
	rules   [block.NumDebugEvents][]*rule
	active  []*rule            // errors that are in force
	held    map[string][]*wait // requests at breakpoints, by tag
	changed sync.Cond
}

type wait struct{ released bool }

func open(a *block.OpenArgs) (block.Driver, error) {
	o := *a.Opts.(*Options)
	o.InjectError, o.SetState = slices.Clone(o.InjectError), slices.Clone(o.SetState)
	if o.Config != nil {
		if err := readConfig(*o.Config, &o); err != nil {
			return nil, err
		}
	}
	f := &filter{node: a.Node, opts: &o, state: 1, held: map[string][]*wait{}}
	f.changed.L = &f.mu
	if err := f.addRules(&o); err != nil {
		return nil, err
	}
	file, err := a.OpenChild("image", o.Image, block.RoleFiltered|block.RolePrimary)
	if err != nil {
		return nil, err
	}
	f.file = file
	if err := f.checkLimits(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *filter) addRules(o *Options) error {
	event := func(e Event) (block.DebugEvent, error) {
		d, ok := block.ParseDebugEvent(string(e))
		if !ok {
			return 0, block.Errorf(block.KindInvalid, "Invalid event name \"%s\"", e)
		}
		return d, nil
	}
	for _, s := range o.SetState {
		e, err := event(s.Event)
		if err != nil {
			return err
		}
		r := &rule{newState: s.NewState}
		if s.State != nil {
			r.state = *s.State
		}
		f.rules[e] = append(f.rules[e], r)
	}
	for _, s := range o.InjectError {
		e, err := event(s.Event)
		if err != nil {
			return err
		}
		r := &rule{inject: true, kinds: ioDefault, errno: unix.EIO, offset: -1, once: s.Once != nil && *s.Once}
		if s.State != nil {
			r.state = *s.State
		}
		if s.Errno != nil {
			r.errno = unix.Errno(*s.Errno)
		}
		if s.Sector != nil && *s.Sector >= 0 {
			r.offset = *s.Sector * 512
		}
		if s.IOType != nil {
			i := slices.Index(IOType("").EnumValues(), string(*s.IOType))
			if i < 0 {
				return block.Errorf(block.KindInvalid, "Invalid iotype value: '%s'", *s.IOType)
			}
			r.kinds = 1 << i
		}
		f.rules[e] = append(f.rules[e], r)
		if e == block.EventNone {
			f.active = append(f.active, r) // in force from the start
		}
	}
	return nil
}

func (f *filter) checkLimits() error {
	o := f.opts
	align := int64(f.file.Node().Limits().Align)
	if o.Align != nil {
		if a := *o.Align; a < 1 || a > 1<<22 || a&(a-1) != 0 {
			return block.Errorf(block.KindInvalid, "Cannot meet constraints with align %d", a)
		}
		align = max(align, *o.Align)
	}
	for _, l := range []struct {
		name string
		v    *int32
	}{{"max-transfer", o.MaxTransfer}, {"opt-write-zero", o.OptWriteZero}, {"max-write-zero", o.MaxWriteZero},
		{"opt-discard", o.OptDiscard}, {"max-discard", o.MaxDiscard}} {
		if l.v != nil && (*l.v < 0 || int64(*l.v)%align != 0) {
			return block.Errorf(block.KindInvalid, "Cannot meet constraints with %s %d", l.name, *l.v)
		}
	}
	return nil
}

// DebugEvent applies the rules of an event.
func (f *filter) DebugEvent(e block.DebugEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rules[e]) == 0 {
		return
	}
	next, fresh := f.state, true
	var tags []string
	for _, r := range f.rules[e] {
		if r.state != 0 && r.state != f.state {
			continue
		}
		switch {
		case r.inject:
			if fresh {
				f.active, fresh = f.active[:0:0], false
			}
			f.active = append(f.active, r)
		case r.tag != "":
			tags = append(tags, r.tag)
		default:
			next = r.newState
		}
	}
	f.state = next
	for _, tag := range tags {
		f.hold(e, tag)
	}
}

// hold keeps a request at a breakpoint, which it uses up. mu is held.
func (f *filter) hold(e block.DebugEvent, tag string) {
	f.rules[e] = slices.DeleteFunc(f.rules[e], func(r *rule) bool { return r.tag == tag })
	w := &wait{}
	f.held[tag] = append(f.held[tag], w)
	f.changed.Broadcast()
	for !w.released {
		f.changed.Wait()
	}
}

// fail returns the error of a rule that is in force for a request, or nil.
func (f *filter) fail(kind io, off, n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range f.active {
		if r.kinds&kind == 0 || r.offset >= 0 && (r.offset < off || r.offset >= off+n) {
			continue
		}
		if r.once {
			f.active = slices.Delete(slices.Clone(f.active), i, i+1)
			for e := range f.rules {
				f.rules[e] = slices.DeleteFunc(f.rules[e], func(x *rule) bool { return x == r })
			}
		}
		if r.errno == 0 {
			return nil
		}
		return r.errno
	}
	return nil
}

// SetBreak holds the next request that comes to an event.
func (f *filter) SetBreak(event, tag string) error {
	e, ok := block.ParseDebugEvent(event)
	if !ok || tag == "" {
		return unix.ENOENT
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules[e] = append(f.rules[e], &rule{tag: tag})
	return nil
}

// RemoveBreak removes a breakpoint and lets go what it holds.
func (f *filter) RemoveBreak(tag string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := f.letGo(tag)
	for e := range f.rules {
		n := len(f.rules[e])
		f.rules[e] = slices.DeleteFunc(f.rules[e], func(r *rule) bool { return r.tag == tag })
		found = found || len(f.rules[e]) < n
	}
	if !found {
		return unix.ENOENT
	}
	return nil
}

// ResumeBreak lets go what a breakpoint holds.
func (f *filter) ResumeBreak(tag string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.letGo(tag) {
		return unix.ENOENT
	}
	return nil
}

func (f *filter) letGo(tag string) bool {
	list := f.held[tag]
	for _, w := range list {
		w.released = true
	}
	delete(f.held, tag)
	f.changed.Broadcast()
	return len(list) > 0
}

// WaitBreak waits until a breakpoint holds a request.
func (f *filter) WaitBreak(tag string, stop <-chan struct{}) error {
	over, ended := false, make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-stop:
			f.mu.Lock()
			over = true
			f.changed.Broadcast()
			f.mu.Unlock()
		case <-ended:
		}
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.held[tag]) == 0 && !over {
		f.changed.Wait()
	}
	if len(f.held[tag]) == 0 {
		return unix.ECANCELED
	}
	return nil
}
