package vmtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
)

// A Console collects what a machine prints and lets a test wait for parts of it.
type Console struct {
	mu      sync.Mutex
	text    []byte        // guarded by mu
	matched int           // guarded by mu: how much of text Wait has passed
	ended   error         // guarded by mu
	more    chan struct{} // guarded by mu: closed when any of these change
}

// NewConsole returns a Console that reads from r until it ends.
func NewConsole(r io.Reader) *Console {
	c := &Console{more: make(chan struct{})}
	go c.read(r)
	return c
}

// maxConsole bounds what a machine gone wild can make us keep.
const maxConsole = 16 << 20

func (c *Console) read(r io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		c.mu.Lock()
		if len(c.text) < maxConsole {
			c.text = append(c.text, buf[:n]...)
		}
		c.ended = err
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Wait waits until text is printed after what an earlier Wait found, and returns
// all printed since then, text included.
func (c *Console) Wait(ctx context.Context, text string) (string, error) {
	for {
		c.mu.Lock()
		rest := c.text[c.matched:]
		if at := bytes.Index(rest, []byte(text)); at >= 0 {
			c.matched += at + len(text)
			c.mu.Unlock()
			return string(rest[:at+len(text)]), nil
		}
		ended, more := c.ended, c.more
		c.mu.Unlock()
		if ended != nil {
			return "", fmt.Errorf("the console ended (%w) without %q", ended, text)
		}
		select {
		case <-more:
		case <-ctx.Done():
			return "", fmt.Errorf("no %q on the console: %w", text, ctx.Err())
		}
	}
}

// Skip passes all that was printed so far: a later Wait finds only what is new.
func (c *Console) Skip() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.matched = len(c.text)
}

// Text is all that was printed so far.
func (c *Console) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text)
}
