package monitor

import "sync"

const (
	// maxOutput is how much output waits for a client before its commands are
	// left waiting too.
	maxOutput = 256 << 10
	// maxEvents is how many bytes of events wait for a client. When they are
	// more the oldest are dropped until half of that is left.
	maxEvents = 256 << 10
	// keepOutput bounds the buffers that are kept for reuse.
	keepOutput = 64 << 10
)

// output is what waits to be sent to a client. Adding to it never blocks.
type output struct {
	conn   Conn
	resume func()        // called with no lock held when there is room again
	kick   chan struct{} // capacity 1: there is something to write
	done   chan struct{} // closed when the session ends

	mu      sync.Mutex // innermost
	changed *sync.Cond
	buf     []byte
	spare   []byte
	marks   []mark // the events in buf, in order
	events  int    // their bytes
	writing bool   // somebody is in conn.Write
	stalled bool   // full was reported: resume is to be called
	closed  bool
	dropped uint64 // events
}

// mark is where an event is in the buffer.
type mark struct{ from, to int }

func (o *output) init(conn Conn, resume func()) {
	o.conn, o.resume = conn, resume
	o.kick = make(chan struct{}, 1)
	o.done = make(chan struct{})
	o.changed = sync.NewCond(&o.mu)
}

// add appends a message and the end of its line.
func (o *output) add(msg []byte, isEvent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	from := len(o.buf)
	o.buf = append(o.buf, msg...)
	o.buf = append(o.buf, "\r\n"...)
	if !isEvent {
		return
	}
	o.marks = append(o.marks, mark{from, len(o.buf)})
	if o.events += len(o.buf) - from; o.events > maxEvents {
		o.dropEvents()
	}
}

// dropEvents drops the oldest events until half of what may wait is left, so
// that the work is done once for many events.
func (o *output) dropEvents() {
	n, bytes := 0, 0
	for n < len(o.marks)-1 && o.events-bytes > maxEvents/2 {
		bytes += o.marks[n].to - o.marks[n].from
		n++
	}
	kept := o.buf[:o.marks[0].from]
	for i, m := range o.marks[:n] {
		end := len(o.buf)
		if i+1 < len(o.marks) {
			end = o.marks[i+1].from
		}
		kept = append(kept, o.buf[m.to:end]...)
	}
	kept = append(kept, o.buf[o.marks[n].from:]...)
	shift := len(o.buf) - len(kept)
	o.buf = kept
	o.marks = o.marks[:copy(o.marks, o.marks[n:])]
	for i := range o.marks {
		o.marks[i].from -= shift
		o.marks[i].to -= shift
	}
	o.events -= bytes
	o.dropped += uint64(n)
}

// full reports whether commands are to wait; if so, resume will be called.
func (o *output) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stalled = len(o.buf)-o.events >= maxOutput && !o.closed
	return o.stalled
}

// waitRoom waits until output is not full. It returns false when the session has
// ended. What is there is written first, by the caller if need be.
func (o *output) waitRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf)-o.events >= maxOutput && !o.closed {
		o.wake()
		o.changed.Wait()
	}
	return !o.closed
}

// wake has the writer write.
func (o *output) wake() {
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// run writes what others have added, until the session ends.
func (o *output) run() {
	for {
		select {
		case <-o.kick:
			o.flush()
		case <-o.done:
			return
		}
	}
}

// flush writes all that is there, unless somebody else is at it. It blocks while
// the client does not read.
func (o *output) flush() {
	o.mu.Lock()
	if o.writing {
		o.mu.Unlock()
		return
	}
	o.writing = true
	for len(o.buf) > 0 && !o.closed {
		p := o.buf
		o.buf, o.marks, o.events = o.spare[:0], o.marks[:0], 0
		o.spare = nil
		o.mu.Unlock()
		_, err := o.conn.Write(p)
		o.mu.Lock()
		if o.spare == nil && cap(p) <= keepOutput {
			o.spare = p[:0]
		}
		if err != nil {
			o.closeLocked()
		}
	}
	o.writing = false
	resume := o.stalled
	o.stalled = false
	o.changed.Broadcast()
	o.mu.Unlock()
	if resume {
		o.resume()
		o.wake()
	}
}

// drain waits until everything has been written, or cannot be.
func (o *output) drain() {
	o.wake()
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.writing || len(o.buf) > 0) && !o.closed {
		o.changed.Wait()
	}
}

// close drops what has not been written.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeLocked()
}

func (o *output) closeLocked() {
	if o.closed {
		return
	}
	o.closed = true
	o.buf, o.spare, o.marks, o.events = nil, nil, nil, 0
	close(o.done)
	o.changed.Broadcast()
}
