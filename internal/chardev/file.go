package chardev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// fileBackend writes output to a file, and takes input from another.
type fileBackend struct {
	cfg  FileConfig
	out  *os.File
	in   *os.File
	conn *fileConn
	done sync.WaitGroup
}

func (b *fileBackend) start(ctx context.Context, c *Chardev) (err error) {
	flags := os.O_WRONLY | os.O_CREATE
	if b.cfg.Append {
		flags |= os.O_APPEND
	} else {
		flags |= os.O_TRUNC
	}
	if b.out, err = openFile(ctx, b.cfg.Out, flags); err != nil {
		return openError(b.cfg.Out, err)
	}
	if b.cfg.In != "" {
		if b.in, err = openFile(ctx, b.cfg.In, os.O_RDONLY); err != nil {
			_ = b.out.Close()
			return openError(b.cfg.In, err)
		}
	}
	b.conn = &fileConn{b: b, eof: make(chan struct{})}
	c.setConnected(true) // from the first byte on
	b.done.Add(1)
	go func() {
		defer b.done.Done()
		c.serve(b.conn)
	}()
	return nil
}

// openFile opens a file. To open a pipe is to wait for its other end: when ctx
// ends the wait is left to itself.
func openFile(ctx context.Context, path string, flags int) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	opened := make(chan result, 1)
	go func() {
		f, err := os.OpenFile(path, flags, 0o666)
		opened <- result{f, err}
	}()
	select {
	case r := <-opened:
		return r.f, r.err
	case <-ctx.Done():
		go func() {
			if r := <-opened; r.f != nil {
				_ = r.f.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

func openError(path string, err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("could not open '%s': %w", path, err)
}

func (b *fileBackend) stop() {
	_ = b.conn.Close()
	b.done.Wait()
}

func (b *fileBackend) describe() string { return "file" }

// fileConn is a file as a connection that stays open at the end of its input.
type fileConn struct {
	b    *fileBackend
	once sync.Once
	eof  chan struct{}
}

func (f *fileConn) Write(p []byte) (int, error) { return f.b.out.Write(p) }

func (f *fileConn) Read(p []byte) (int, error) {
	if f.b.in != nil {
		if n, err := f.b.in.Read(p); n > 0 || (err != nil && !errors.Is(err, io.EOF)) {
			return n, err
		}
	}
	<-f.eof
	return 0, io.EOF
}

func (f *fileConn) ReadMsg(p []byte) (int, []int, error) {
	n, err := f.Read(p)
	return n, nil, err
}

func (f *fileConn) Close() error {
	f.once.Do(func() {
		close(f.eof)
		_ = f.b.out.Close()
		if f.b.in != nil {
			_ = f.b.in.Close()
		}
	})
	return nil
}
