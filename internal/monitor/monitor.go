// Package monitor serves the machine's control protocol, QMP.
//
// A Monitor serves any number of clients, each in a Session. In-band commands of
// all sessions run one at a time on the control lane, in the order in which they
// arrive; commands that do not need the lane run on the goroutine that reads
// from the client, as those issued out of band do. A session carries out its own
// in-band commands in order: while one waits for its result, it alone waits.
//
// A client that does not read what it is sent disturbs nobody: its output is
// bounded. When that is full its commands are not read any more, and of the
// events that wait for it the oldest are dropped. A client that goes away
// cancels nothing that it has begun.
package monitor

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"govmd/internal/chardev"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/qmp"
)

// Config is what a Monitor works with.
type Config struct {
	Registry *qmp.Registry
	Lane     *lane.Lane
	Bus      *event.Bus      // nil for no events
	Context  context.Context // given to commands; nil for one that never ends
	// Package is the version of this program: "govmd-1.2". The protocol's
	// version is that of QEMU 7.2.0.
	Package string
	// Ready reports whether the machine has been made: until then only commands
	// marked qmp.Preconfig are taken. Nil means always.
	Ready func() bool
	// SessionBegins and SessionEnds, unless nil, are told of each session, by its
	// ID: before it is served and after its last command was read.
	SessionBegins, SessionEnds func(id uint64)
}

// Conn is a client's connection.
type Conn = chardev.Conn

// Options are the properties of one session.
type Options struct {
	Pretty bool // indent what is sent
}

// Monitor serves clients.
type Monitor struct {
	cfg      Config
	version  []byte // the version object, as JSON
	lastID   atomic.Uint64
	events   limiter
	cancel   func()         // ends the subscription to events
	sessions sync.WaitGroup // their ServeConn

	mu     sync.Mutex // guards what follows; taken after the bus's and the limiter's, before a session's
	live   []*Session
	closed bool
}

// New returns a monitor. Its Commands must be in the registry before the first
// client is served.
func New(cfg Config) *Monitor {
	if cfg.Context == nil {
		cfg.Context = context.Background()
	}
	m := &Monitor{cfg: cfg, cancel: func() {}}
	m.version = qmp.Append(nil, m.versionInfo())
	m.events.emit = m.emit
	if cfg.Bus != nil {
		m.cancel = cfg.Bus.Subscribe(m.events.publish)
	}
	return m
}

// ServeConn serves one client until it goes away or the monitor is closed. It
// closes conn.
func (m *Monitor) ServeConn(conn Conn, opts Options) {
	s := newSession(m, conn, opts)
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		_ = conn.Close()
		return
	}
	m.live = append(m.live, s)
	m.sessions.Add(1)
	m.mu.Unlock()
	defer m.sessions.Done()
	if m.cfg.SessionBegins != nil {
		m.cfg.SessionBegins(s.id)
	}
	s.serve()
	if m.cfg.SessionEnds != nil {
		m.cfg.SessionEnds(s.id)
	}
	m.mu.Lock()
	i := slices.Index(m.live, s)
	m.live = slices.Delete(slices.Clone(m.live), i, i+1)
	m.mu.Unlock()
}

// NextID returns an ID for a session that is not one of m's but of a monitor of
// another kind.
func (m *Monitor) NextID() uint64 { return m.lastID.Add(1) }

func (m *Monitor) snapshot() []*Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.live
}

// Close ends all sessions, each after it has been sent what waits for it or when
// ctx is done, and waits until they have ended. No client is served afterwards.
// It must not be called on the control lane while commands are to be answered.
func (m *Monitor) Close(ctx context.Context) {
	m.cancel()
	m.events.stop()
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	for _, s := range m.snapshot() {
		s.drain(ctx)
		s.abort()
	}
	m.sessions.Wait()
}

// Frontend returns what serves the connections of a character device.
func (m *Monitor) Frontend(opts Options) chardev.ConnFrontend { return &frontend{m, opts} }

type frontend struct {
	m    *Monitor
	opts Options
}

func (f *frontend) ServeConn(c Conn)           { f.m.ServeConn(c, f.opts) }
func (f *frontend) CanReceive() int            { return 0 }
func (f *frontend) Receive([]byte)             {}
func (f *frontend) ChardevEvent(chardev.Event) {}
