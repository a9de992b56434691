// Package rngbackend provides sources of random bytes for devices: the objects
// that -object rng-builtin and rng-random make.
package rngbackend

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"govmd/internal/object"
)

// MaxRequest is how many bytes can be asked for at a time.
const MaxRequest = 4096

// Backend is an object of a type that descends from "rng-backend".
type Backend interface {
	object.Object
	// Connect returns a new user's hold on the source. deliver is called with
	// the bytes of each request, on the goroutine that requests or on another,
	// never twice at the same time; it must not block, nor call the Conn.
	Connect(deliver func(p []byte)) (Conn, error)
}

// Conn is a device's hold on a source.
type Conn interface {
	// Request asks for up to n bytes, at most MaxRequest. It does not block. One
	// request may be under way at a time: another one changes nothing. A
	// source that has run out never delivers.
	Request(n int)
	// Close ends the hold: when it has returned, deliver is not called again. It
	// must not be called with a lock held that deliver takes.
	Close()
}

// Builtin gives what the host's kernel gives to anybody who asks.
type Builtin struct{ object.Node }

// Connect implements Backend.
func (b *Builtin) Connect(deliver func(p []byte)) (Conn, error) {
	return &builtinConn{deliver: deliver}, nil
}

type builtinConn struct {
	mu      sync.Mutex // guards what follows, and deliver's run against Close
	deliver func([]byte)
	closed  bool
	buf     [MaxRequest]byte
}

func (c *builtinConn) Request(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || n <= 0 {
		return
	}
	p := c.buf[:min(n, len(c.buf))]
	_, _ = rand.Read(p) // it cannot fail: the program ends where the host has no random bytes
	c.deliver(p)
}

func (c *builtinConn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// Find returns the source with the given ID; lookup finds user-created objects.
func Find(lookup func(id string) object.Object, id string) (Backend, error) {
	var o object.Object
	if lookup != nil {
		o = lookup(id)
	}
	if o == nil {
		return nil, fmt.Errorf("Device '%s' not found", id)
	}
	b, ok := o.(Backend)
	if !ok {
		return nil, &object.TypeError{Name: "rng", Expected: "rng-backend"}
	}
	return b, nil
}

var errClosed = errors.New("the source has been removed")

func init() {
	object.Register(object.Type{Name: "rng-backend", Abstract: true})
	object.Register(object.Type{
		Name: "rng-builtin", Parent: "rng-backend", UserCreatable: true,
		Description: "random bytes from the host's kernel",
		New:         func() object.Object { return &Builtin{} },
	})
	object.Register(object.Type{
		Name: "rng-random", Parent: "rng-backend", UserCreatable: true,
		Description: "random bytes from a file",
		New:         func() object.Object { return &Random{fd: -1} },
		Props: []object.Property{
			object.As("string", object.Str("filename", func(r *Random) *string { return &r.filename }, "/dev/urandom", "")),
		},
	})
}
