package monitor

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

const (
	// maxQueue is how many in-band commands of a client wait, the one that is
	// being carried out included. With more its input is not read.
	maxQueue = 8
	// maxQueued is how many bytes they may take, apart from the first: one
	// message can be large, but eight of them shall not be so.
	maxQueued = 1 << 20
	// bigRequest is how many bytes a request has after which memory is given
	// back to the host, not only to Go, which would keep it for minutes.
	bigRequest = 4 << 20
	// maxFDs is how many descriptors of a client wait for a command.
	maxFDs = 64
	// readSize is how much is read from a client at once.
	readSize = 16 << 10
	// maxIdleReads is how many reads in a row may bring nothing.
	maxIdleReads = 100
	// lingerTime is how long a client that has ended its input is given to take
	// what it is still being sent.
	lingerTime = time.Second
)

// Session is one client's conversation.
type Session struct {
	m    *Monitor
	conn Conn
	id   uint64
	opts Options
	out  output
	step func() // s.onLane, bound once

	// Of the goroutine that reads.
	reader qjson.Reader
	newFDs []int  // have come since the last request
	oobBuf []byte // for the responses of commands that are not in the queue

	// Of whoever carries out the queue (who set busy).
	buf []byte

	mu         sync.Mutex // guards what follows; the output's is taken after it
	changed    *sync.Cond // queue, busy, waiting or gone has changed
	negotiated bool
	oob        bool
	queue      []*request // in-band; the first is being carried out when busy
	queued     int        // bytes that they take
	busy       bool       // somebody carries out the queue
	waiting    bool       // the first of the queue is an asynchronous command
	gone       bool       // the client is no longer served
	leftFDs    []int      // descriptors that the requests they came with did not take
}

func newSession(m *Monitor, conn Conn, opts Options) *Session {
	s := &Session{m: m, conn: conn, id: m.lastID.Add(1), opts: opts}
	s.changed = sync.NewCond(&s.mu)
	s.step = s.onLane
	s.out.init(conn, s.resume)
	return s
}

// serve holds the conversation.
func (s *Session) serve() {
	traceBegin.Emit(s.id)
	defer traceEnd.Emit(s.id)
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		s.out.run()
	}()
	s.greet()
	err := s.read()
	if errors.Is(err, io.EOF) {
		s.linger()
	}
	s.abort()
	<-writer
	s.mu.Lock()
	fds := append(s.leftFDs, s.newFDs...)
	s.leftFDs, s.newFDs = nil, nil
	s.mu.Unlock()
	closeFDs(fds)
	s.reader.Reset()
}

func (s *Session) greet() {
	buf := append([]byte(`{"QMP": {"version": `), s.m.version...)
	buf = append(buf, `, "capabilities": ["oob"]}}`...)
	s.send(buf, false)
	s.out.flush()
}

// read takes requests until the client's input ends.
func (s *Session) read() error {
	p := make([]byte, readSize)
	for idle := 0; ; idle++ {
		n, fds, err := s.conn.ReadMsg(p)
		s.takeFDs(fds)
		for rest := p[:max(n, 0)]; len(rest) > 0; { // n can be -1 with an error
			used, doc, err := s.reader.Scan(rest)
			rest = rest[used:]
			if doc != nil || err != nil {
				s.take(doc, err)
			}
		}
		s.out.flush()
		if err != nil {
			return err
		}
		if n > 0 {
			idle = 0
		} else if idle == maxIdleReads {
			return io.ErrNoProgress
		}
	}
}

// takeFDs keeps descriptors for the next request. Of too many the oldest go.
func (s *Session) takeFDs(fds []int) {
	s.newFDs = append(s.newFDs, fds...)
	if extra := len(s.newFDs) - maxFDs; extra > 0 {
		closeFDs(s.newFDs[:extra])
		s.newFDs = s.newFDs[extra:]
	}
}

// take handles one message of the client.
func (s *Session) take(doc *qjson.Doc, err error) {
	s.mu.Lock()
	negotiated, oob := s.negotiated, s.oob
	s.mu.Unlock()
	r := &request{s: s, fds: s.newFDs}
	s.newFDs = nil
	r.ctx = qmp.Context{Context: s.m.cfg.Context, Registry: s.m.cfg.Registry, Session: r}
	if err != nil {
		r.fail(err)
	} else {
		r.read(doc, negotiated, oob)
	}
	r.trace()
	if !r.oob {
		s.submit(r)
		return
	}
	if !s.out.waitRoom() {
		s.discard(r)
		return
	}
	s.begin(r)
	if buf, done := r.carryOut(s.oobBuf[:0], s.oobLater); done {
		s.oobBuf = buf[:0]
		s.end(r, buf)
	}
}

func (s *Session) oobLater(r *request, result []byte, err error) {
	s.end(r, r.appendResult(nil, result, err))
	s.out.wake()
}

// submit queues an in-band request and, when nobody carries out the queue,
// starts to.
func (s *Session) submit(r *request) {
	if !s.out.waitRoom() {
		s.discard(r)
		return
	}
	if r.doc != nil {
		r.size = r.doc.Size()
	}
	s.mu.Lock()
	if s.crowded(r) {
		s.out.wake() // what the requests before this one brought
	}
	for s.crowded(r) && !s.gone {
		s.changed.Wait()
	}
	s.queue = append(s.queue, r)
	s.queued += r.size
	start := !s.busy
	s.busy = true
	length := len(s.queue)
	s.mu.Unlock()
	traceEnqueue.Emit(s.id, length)
	if start {
		s.advance()
	}
}

// crowded reports whether the queue has no room for r.
func (s *Session) crowded(r *request) bool {
	return len(s.queue) == maxQueue || len(s.queue) > 0 && s.queued+r.size > maxQueued
}

// advance carries out the queue as far as that needs no lane, and posts the rest
// to it. The caller has set busy.
func (s *Session) advance() {
	for {
		r := s.head()
		if !r.immediate() {
			if s.m.cfg.Lane.Post(s.step) {
				return
			}
			r.fail(qmp.Errorf("The machine is shutting down"))
		}
		if !s.carryOut(r) {
			return
		}
	}
}

// onLane carries out the first request of the queue on the control lane. The
// next one goes to the end of the lane's queue: other clients have their turn.
func (s *Session) onLane() {
	if s.carryOut(s.head()) {
		s.advance()
	}
	s.out.wake()
}

func (s *Session) head() *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue[0]
}

// carryOut carries out r, the first of the queue. It reports whether the caller
// goes on with the next one.
func (s *Session) carryOut(r *request) bool {
	s.begin(r)
	buf, done := r.carryOut(s.buf[:0], s.later)
	if !done {
		return false // s.buf may be somebody else's by now
	}
	s.buf = buf[:0]
	s.end(r, buf)
	return s.pop()
}

// later takes the result of the first request of the queue from wherever it
// comes.
func (s *Session) later(r *request, result []byte, err error) {
	s.end(r, r.appendResult(nil, result, err))
	if s.pop() {
		s.advance()
	}
	s.out.wake()
}

// pop takes the first request off the queue and reports whether to go on. When
// output is full or nothing is left, busy ends.
func (s *Session) pop() bool {
	if cap(s.buf) > keepOutput {
		s.buf = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue[0].size > bigRequest {
		time.AfterFunc(0, debug.FreeOSMemory) // takes a while, and this may be the lane
	}
	s.queued -= s.queue[0].size
	copy(s.queue, s.queue[1:])
	s.queue[len(s.queue)-1] = nil
	s.queue = s.queue[:len(s.queue)-1]
	s.waiting = false
	s.busy = len(s.queue) > 0 && !s.out.full()
	s.changed.Broadcast()
	return s.busy
}

// resume goes on with the queue once there is room for output again.
func (s *Session) resume() {
	s.mu.Lock()
	start := !s.busy && len(s.queue) > 0
	s.busy = s.busy || start
	s.mu.Unlock()
	if start {
		s.advance()
	}
}

// begin prepares for carrying out r: descriptors that came with it replace those
// that earlier requests left.
func (s *Session) begin(r *request) {
	s.mu.Lock()
	var old []int
	if len(r.fds) > 0 {
		old, s.leftFDs = s.leftFDs, nil
	}
	s.waiting = !r.oob && r.err == nil && r.cmd.Async()
	if s.waiting {
		s.changed.Broadcast()
	}
	s.mu.Unlock()
	closeFDs(old)
}

// end sends the response to r and lets go of what it holds.
func (s *Session) end(r *request, response []byte) {
	traceRespond.Emit(s.id, response[:min(len(response), maxTraced)])
	s.send(response, false)
	if r.doc != nil {
		r.doc.Release()
		r.doc, r.args, r.id = nil, qmp.Value{}, qmp.Value{}
	}
	s.mu.Lock()
	fds := r.fds
	r.fds = nil
	if !s.gone && len(fds) > 0 {
		s.leftFDs, fds = fds, s.leftFDs
	}
	s.mu.Unlock()
	closeFDs(fds)
}

// send queues a message.
func (s *Session) send(msg []byte, isEvent bool) {
	if s.opts.Pretty {
		msg = qjson.AppendPretty(nil, msg)
		msg = withCRs(msg)
	}
	s.out.add(msg, isEvent)
}

// withCRs returns msg with a carriage return before each line feed.
func withCRs(msg []byte) []byte {
	out := make([]byte, 0, len(msg)+len(msg)/16)
	for _, c := range msg {
		if c == '\n' {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

// event queues an event, unless the client is still negotiating.
func (s *Session) event(msg []byte) {
	s.mu.Lock()
	on := s.negotiated && !s.gone
	s.mu.Unlock()
	if on {
		s.send(msg, true)
		s.out.wake()
	}
}

// listens reports whether the client is to be sent events.
func (s *Session) listens() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.negotiated && !s.gone
}

// linger gives a client that has ended its input, but may still read, the time
// to be sent the responses to what it has asked.
func (s *Session) linger() {
	late := time.AfterFunc(lingerTime, s.abort)
	defer late.Stop()
	s.mu.Lock()
	for s.busy && !s.gone {
		s.changed.Wait()
	}
	s.mu.Unlock()
	s.out.drain()
}

// drain waits until the client has been sent everything, apart from results that
// come later, or ctx is done.
func (s *Session) drain(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.abort)
	defer stop()
	s.mu.Lock()
	for s.busy && !s.waiting && !s.gone {
		s.changed.Wait()
	}
	s.mu.Unlock()
	s.out.drain()
}

// discard lets go of a request that nobody will be answered.
func (s *Session) discard(r *request) {
	closeFDs(r.fds)
	if r.doc != nil {
		r.doc.Release()
	}
}

// abort ends the session: nothing is read or written any more.
func (s *Session) abort() {
	s.mu.Lock()
	s.gone = true
	s.changed.Broadcast()
	s.mu.Unlock()
	s.out.close()
	_ = s.conn.Close()
}
