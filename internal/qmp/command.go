package qmp

import (
	"context"
	"reflect"
	"sync/atomic"

	"govmd/internal/qmp/qjson"
)

// Context is what a command's function is told of its circumstances. The
// context.Context in it lives as long as the machine: a client's going away
// cancels nothing.
type Context struct {
	context.Context
	Registry *Registry
	Session  Session // nil when no monitor issued the command
}

// Session is the monitor session that issued a command.
type Session interface {
	// SessionID identifies the session among those of its process.
	SessionID() uint64
	// TakeFD returns the next file descriptor that the client passed with the
	// command, or before it and not taken yet. It belongs to the caller then.
	TakeFD() (fd int, ok bool)
}

// TakeFD returns the descriptor that the client passed with the command.
func (c *Context) TakeFD() (fd int, err error) {
	if c.Session != nil {
		if fd, ok := c.Session.TakeFD(); ok {
			return fd, nil
		}
	}
	return -1, Errorf("No file descriptor supplied via SCM_RIGHTS")
}

// Command is a command of the monitor protocol. Make one with New or NewAsync.
type Command struct {
	name      string
	args, ret *typeInfo
	features  []string

	oob, noLane, preconfig bool

	flatten string // a member whose own members belong one level up

	call func(c *Command, ctx *Context, args Value, mode Mode, dst []byte) ([]byte, error)
	// async is set instead of call when the result may come later.
	async func(c *Command, ctx *Context, args Value, mode Mode, done Done)
}

// Done takes the result of an asynchronous command, as JSON, or its error.
type Done func(result []byte, err error)

// Option is a property of a command.
type Option func(*Command)

// OOB lets a command be issued out of band. It runs at once, on the goroutine
// that reads from the client, whatever else is going on: it must not block, nor
// use anything that changes only on the control lane.
func OOB(c *Command) { c.oob = true }

// NoLane says that a command needs not run on the control lane: it is quick and
// only reads what may be read from any goroutine.
func NoLane(c *Command) { c.noLane = true }

// Preconfig lets a command be issued before the machine has been made.
func Preconfig(c *Command) { c.preconfig = true }

// Deprecated marks a command that is kept for old clients.
func Deprecated(c *Command) { c.features = append(c.features, "deprecated") }

// Unstable marks a command that may change.
func Unstable(c *Command) { c.features = append(c.features, "unstable") }

// Flatten says that older clients send some arguments within one of this name:
// its members count as if they were beside it. The schema knows nothing of it. If
// the arguments have a boolean member of that name, it is true then.
func Flatten(name string) Option { return func(c *Command) { c.flatten = name } }

// New returns a command that fn carries out. A and R are structs (None for no
// arguments or no result) or, for R, any type that can be sent. fn runs on the
// control lane unless the options say otherwise; arguments have been checked
// before. It may keep what is in a.
func New[A, R any](name string, fn func(ctx *Context, a *A) (R, error), opts ...Option) Command {
	c := newCommand[A, R](name, opts)
	c.call = func(c *Command, ctx *Context, args Value, mode Mode, dst []byte) ([]byte, error) {
		a := new(A)
		if err := c.decode(args, mode, reflect.ValueOf(a).Elem()); err != nil {
			return dst, err
		}
		r, err := fn(ctx, a)
		if err != nil {
			return dst, err
		}
		return appendValue(dst, c.ret, reflect.ValueOf(&r).Elem()), nil
	}
	return c
}

// NewAsync returns a command whose result may come later. fn runs as that of New
// does and must not wait; it, or whatever it sets going, answers through reply.
// Until then the monitor that issued the command waits, and no other.
func NewAsync[A, R any](name string, fn func(ctx *Context, a *A, reply *Reply[R]), opts ...Option) Command {
	c := newCommand[A, R](name, opts)
	c.async = func(c *Command, ctx *Context, args Value, mode Mode, done Done) {
		a := new(A)
		if err := c.decode(args, mode, reflect.ValueOf(a).Elem()); err != nil {
			done(nil, err)
			return
		}
		fn(ctx, a, &Reply[R]{ret: c.ret, done: done})
	}
	return c
}

// Reply takes the result of an asynchronous command, once, from any goroutine.
type Reply[R any] struct {
	ret  *typeInfo
	done Done
	used atomic.Bool
}

// Return ends the command with a result.
func (r *Reply[R]) Return(result R) {
	if r.once() {
		r.done(appendValue(nil, r.ret, reflect.ValueOf(&result).Elem()), nil)
	}
}

// Fail ends the command with an error.
func (r *Reply[R]) Fail(err error) {
	if r.once() {
		r.done(nil, err)
	}
}

// Finish ends the command with a result, or with err when it is not nil.
func (r *Reply[R]) Finish(result R, err error) {
	if err != nil {
		r.Fail(err)
	} else {
		r.Return(result)
	}
}

func (r *Reply[R]) once() bool {
	if r.used.Swap(true) {
		panic("qmp: a command was answered twice")
	}
	return true
}

func newCommand[A, R any](name string, opts []Option) Command {
	c := Command{name: name, args: typeOf(reflect.TypeFor[A]()), ret: typeOf(reflect.TypeFor[R]())}
	if c.args.kind != kindStruct {
		panic("qmp: the arguments of " + name + " are no struct")
	}
	for _, o := range opts {
		o(&c)
	}
	return c
}

func (c *Command) decode(args Value, mode Mode, dst reflect.Value) error {
	if !args.Exists() {
		return decode(c.args, emptyObject, mode, dst)
	}
	if c.flatten != "" {
		_, told := c.args.byName[c.flatten]
		args = flatten(args, c.flatten, told)
	}
	return decode(c.args, args, mode, dst)
}

// flatten returns args with the members of the object called name in its place or,
// with told, beside a member true of that name.
func flatten(args Value, name string, told bool) Value {
	if inner := args.Get(name); !inner.Exists() || inner.Kind() != qjson.Object {
		return args
	}
	var b qjson.Builder
	b.Begin(qjson.Object)
	for m := args.First(); m.Exists(); m = m.Next() {
		if string(m.Key()) != name {
			b.Add(m)
			continue
		}
		if told {
			b.Key([]byte(name))
			b.Bool(true)
		}
		for in := m.First(); in.Exists(); in = in.Next() {
			b.Add(in)
		}
	}
	b.End()
	return b.Finish().Root()
}

// Name returns the command's name.
func (c *Command) Name() string { return c.name }

// OOB reports whether the command can be issued out of band.
func (c *Command) OOB() bool { return c.oob }

// NoLane reports whether the command needs not run on the control lane.
func (c *Command) NoLane() bool { return c.noLane }

// Preconfig reports whether the command can be issued before the machine exists.
func (c *Command) Preconfig() bool { return c.preconfig }

// Async reports whether the result may come later.
func (c *Command) Async() bool { return c.async != nil }

// Call carries out a command: it checks args, which need not exist, and appends
// the result to dst. It must not be used for an asynchronous one.
func (c *Command) Call(ctx *Context, args Value, mode Mode, dst []byte) ([]byte, error) {
	return c.call(c, ctx, args, mode, dst)
}

// Start carries out an asynchronous command. done is called once, from any
// goroutine, possibly before Start returns. args is not used after the return.
func (c *Command) Start(ctx *Context, args Value, mode Mode, done Done) {
	c.async(c, ctx, args, mode, done)
}
