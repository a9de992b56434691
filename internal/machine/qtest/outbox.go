package qtest

import (
	"errors"
	"io"
	"sync"
)

// outbox is what is to be sent to the peer. Interrupts are reported with pins'
// locks held, some on the control lane: that must not wait for a peer that does
// not read.
type outbox struct {
	w io.Writer

	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	queued  uint64 // bytes that were ever queued
	sent    uint64 // those of them that were sent
	closed  bool
	err     error
	done    chan struct{}
}

// maxReports bounds the reports that the peer has not read.
const maxReports = 1 << 20

var errSlowPeer = errors.New("the qtest peer does not read what it is told")

func newOutbox(w io.Writer) *outbox {
	o := &outbox{w: w, done: make(chan struct{})}
	o.changed.L = &o.mu
	go o.run()
	return o
}

func (o *outbox) run() {
	defer close(o.done)
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for len(o.buf) == 0 && !o.closed && o.err == nil {
			o.changed.Wait()
		}
		if len(o.buf) == 0 || o.err != nil {
			return
		}
		buf := o.buf
		o.buf = nil
		o.mu.Unlock()
		_, err := o.w.Write(buf)
		o.mu.Lock()
		o.sent += uint64(len(buf))
		if o.err == nil {
			o.err = err
		}
		o.changed.Broadcast()
	}
}

// report queues a line, and does not wait.
func (o *outbox) report(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed || o.err != nil:
		return
	case len(o.buf)+len(line) >= maxReports:
		o.err = errSlowPeer
	default:
		o.queue(line)
	}
	o.changed.Broadcast()
}

func (o *outbox) queue(line string) {
	o.buf = append(append(o.buf, line...), '\n')
	o.queued += uint64(len(line)) + 1
}

// reply sends a line, after what was queued before, and waits until it is sent.
func (o *outbox) reply(line string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.queue(line)
		o.changed.Broadcast()
	}
	for last := o.queued; o.sent < last && o.err == nil; {
		o.changed.Wait()
	}
	return o.err
}

// close ends the writing, once what is queued is sent.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.changed.Broadcast()
	o.mu.Unlock()
	<-o.done
}
