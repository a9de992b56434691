package chardev

import (
	"context"
	"fmt"
	"sync"
)

// stdioBackend is the program's standard input and output.
type stdioBackend struct {
	cfg   StdioConfig
	guard func() (dismiss func())
	off   func() // ends the guard
	conn  *fdConn
	tty   *terminal
	done  sync.WaitGroup
}

func (b *stdioBackend) start(_ context.Context, c *Chardev) (err error) {
	if b.conn, err = newFDConn(0, 1); err != nil {
		return fmt.Errorf("stdio: %w", err)
	}
	if b.off = func() {}; b.guard != nil {
		b.off = b.guard()
	}
	b.tty = rawTerminal(0, b.cfg.Signal)
	c.setConnected(true) // from the first byte on
	b.done.Go(func() {
		defer b.conn.release()
		c.serve(b.conn)
	})
	return nil
}

func (b *stdioBackend) stop() {
	_ = b.conn.Close()
	b.done.Wait()
	b.tty.close()
	b.off()
}

// abandon implements abandoner.
func (b *stdioBackend) abandon() { b.tty.restore() }

func (b *stdioBackend) describe() string { return "stdio" }
