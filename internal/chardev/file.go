package chardev

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/fd"
	"govmd/internal/sock"
)

// fileBackend writes output to a file, and takes input from another. A pipe is
// such a pair of files, too.
type fileBackend struct {
	kind string // "file" or "pipe"
	fds  *fd.Table
	open func(ctx context.Context, b *fileBackend) (in, out int, err error)
	conn *fdConn
	done sync.WaitGroup
}

func (b *fileBackend) start(ctx context.Context, c *Chardev) error {
	in, out, err := b.open(ctx, b)
	if err != nil {
		return err
	}
	release := func() {
		_ = b.fds.CloseFD(out)
		if in >= 0 && in != out {
			_ = b.fds.CloseFD(in)
		}
	}
	if b.conn, err = newFDConn(in, out); err != nil {
		release()
		return fmt.Errorf("%s: %w", b.kind, err)
	}
	c.setConnected(true) // from the first byte on
	b.done.Go(func() {
		defer release()
		defer b.conn.release()
		c.serve(b.conn)
	})
	return nil
}

func (b *fileBackend) stop() {
	_ = b.conn.Close()
	b.done.Wait()
}

func (b *fileBackend) describe() string { return b.kind }

// open opens the files of the back end "file".
func (cfg FileConfig) open(ctx context.Context, b *fileBackend) (in, out int, err error) {
	flags := unix.O_WRONLY | unix.O_CREAT
	if cfg.Append {
		flags |= unix.O_APPEND
	} else {
		flags |= unix.O_TRUNC
	}
	if out, err = openFile(ctx, b.fds, cfg.Out, flags); err != nil {
		return -1, -1, err
	}
	if cfg.In == "" {
		return -1, out, nil
	}
	if in, err = openFile(ctx, b.fds, cfg.In, unix.O_RDONLY); err != nil {
		_ = b.fds.CloseFD(out)
		return -1, -1, err
	}
	return in, out, nil
}

// open opens the named pipes PATH.in and PATH.out or, when they are not there,
// PATH for both directions. They are opened for reading and writing, so that
// neither this nor what follows depends on who is at the other end.
func (cfg PipeConfig) open(ctx context.Context, b *fileBackend) (in, out int, err error) {
	in, err = openFile(ctx, b.fds, cfg.Path+".in", unix.O_RDWR)
	if err == nil {
		if out, err = openFile(ctx, b.fds, cfg.Path+".out", unix.O_RDWR); err == nil {
			return in, out, nil
		}
		_ = b.fds.CloseFD(in)
	}
	in, err = openFile(ctx, b.fds, cfg.Path, unix.O_RDWR)
	return in, in, err
}

// openFile opens a file, which may be a set of descriptors. To open a pipe is to
// wait for its other end: when ctx ends the wait is left to itself.
func openFile(ctx context.Context, fds *fd.Table, path string, flags int) (int, error) {
	type result struct {
		fd  int
		err error
	}
	opened := make(chan result, 1)
	go func() {
		fd, err := fds.OpenFD(path, flags, 0o666)
		opened <- result{fd, err}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			return -1, fmt.Errorf("Could not open '%s': %w", path, sock.SystemText(r.err))
		}
		return r.fd, nil
	case <-ctx.Done():
		go func() {
			if r := <-opened; r.err == nil {
				_ = fds.CloseFD(r.fd)
			}
		}()
		return -1, context.Cause(ctx)
	}
}
