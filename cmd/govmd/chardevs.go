package main

import (
	"context"
	"fmt"

	"govmd/internal/chardev"
	"govmd/internal/object"
	"govmd/internal/sock"
)

// openChardevs opens what the command line asks for.
func (v *vm) openChardevs(ctx context.Context) error {
	r := &v.chardevs
	r.FDs, r.Post, r.Yanks, r.Escape = &v.fds, v.lane.Post, &v.yanks, v.setup.escape
	r.Warn = func(text string) { v.log.Warn(text) }
	r.Guard = func() func() { return startTerminalGuard(v.log) }
	r.Hooks = chardev.MuxHooks{Quit: func() { v.interrupt(errQuitKey) }}
	r.TLS = func(id, by string) (sock.TLSCreds, func(), error) {
		return use[sock.TLSCreds](&v.objects, id, by, "TLS credentials")
	}
	r.Authz = func(id, by string) (sock.Authz, func(), error) {
		return use[sock.Authz](&v.objects, id, by, "authorization object")
	}
	v.onClose(r.Close)
	for _, c := range v.setup.chardevs {
		if err := v.openChardev(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// use finds an object and notes by whom it is used.
func use[T any](objects *object.Collection, id, by, what string) (x T, release func(), err error) {
	if x, err = object.Find[T](objects, id, what); err != nil {
		return x, nil, err
	}
	return x, object.Use(objects.Find(id), by), nil
}

func (v *vm) openChardev(ctx context.Context, c chardevSetup) error {
	if s, ok := c.Backend.(chardev.SocketConfig); ok && s.Server && s.Wait {
		v.log.Infof("%s: waiting for a client", c.given)
	}
	d, err := v.chardevs.Add(ctx, c.Config)
	if err != nil {
		return &usageError{c.given, err}
	}
	if c.Mux {
		d = v.chardevs.Get(c.ID + "-base")
	}
	if pty := d.PTY(); pty != "" {
		fmt.Printf("char device redirected to %s (label %s)\n", pty, d.ID())
	}
	return nil
}
