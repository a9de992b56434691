// Package human serves the human monitor: a command line for people, and for
// programs that are older than QMP.
//
// A Session is one client's. What it types is edited as on a terminal and carried
// out line by line; while a command is carried out, its session waits and no
// other. Commands run on the control lane, or where they say so on the session's
// own goroutine. A client that does not read what it is sent holds up its own
// session only.
package human

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"govmd/internal/chardev"
	"govmd/internal/lane"
	"govmd/internal/qmp"
)

// Config is what a Monitor works with.
type Config struct {
	Commands *qmp.HumanRegistry
	Registry *qmp.Registry // given to commands
	Lane     *lane.Lane
	Context  context.Context // given to commands; nil for one that never ends
	// Version is this program's: "7.2.0 (govmd 1.2)".
	Version string
	// CPUs returns how many vCPUs there are.
	CPUs func() int
	// Register returns the value of a vCPU's register; known is false when it has
	// none of that name. It may wait for the vCPU.
	Register func(cpu int, name string) (value int64, known bool, err error)
	// Files completes a file name; nil for what the host has.
	Files func(prefix string) []string
	// NextID returns an ID that no other monitor session of the process has.
	NextID func() uint64
	// SessionBegins and SessionEnds, unless nil, are told of each session.
	SessionBegins, SessionEnds func(id uint64)
}

// Monitor serves clients of the human monitor.
type Monitor struct {
	cfg    Config
	format lastFormat
	calls  sync.WaitGroup // human-monitor-command under way
	served sync.WaitGroup // ServeConn

	mu     sync.Mutex // guards what follows
	live   []*Session
	closed bool
}

// New returns a monitor. What it has itself, help and info among it, is added to
// cfg.Commands.
func New(cfg Config) *Monitor {
	if cfg.Context == nil {
		cfg.Context = context.Background()
	}
	if cfg.Files == nil {
		cfg.Files = hostFiles
	}
	m := &Monitor{cfg: cfg}
	cfg.Commands.Add(m.commands()...)
	return m
}

// Frontend returns what serves the connections of a character device. With shared
// the device is a multiplexer's: nothing is said before it gives this one its turn.
func (m *Monitor) Frontend(shared bool) chardev.ConnFrontend {
	return &frontend{m: m, away: shared, terminal: &terminal{}}
}

// frontend is the monitor of one character device. What people expect to find
// again when they come back, as the history, belongs to it.
type frontend struct {
	m        *Monitor
	terminal *terminal

	mu   sync.Mutex // guards what follows
	away bool       // a multiplexer has given the turn to another
	live *Session
}

// terminal is what outlasts a connection.
type terminal struct {
	mu      sync.Mutex // guards what follows
	cpu     int
	history history
}

// ServeConn implements chardev.ConnFrontend.
func (f *frontend) ServeConn(c chardev.Conn) {
	s := newSession(f.m, c, f.terminal)
	if !f.m.admit(s) {
		_ = c.Close()
		return
	}
	defer f.m.served.Done()
	f.mu.Lock()
	f.live = s
	s.away, s.leaving = f.away, f.away
	f.mu.Unlock()
	if f.m.cfg.SessionBegins != nil {
		f.m.cfg.SessionBegins(s.id)
	}
	s.serve()
	if f.m.cfg.SessionEnds != nil {
		f.m.cfg.SessionEnds(s.id)
	}
	f.m.mu.Lock()
	i := slices.Index(f.m.live, s)
	f.m.live = slices.Delete(slices.Clone(f.m.live), i, i+1)
	f.m.mu.Unlock()
}

// admit takes note of a session, unless the monitor is closed.
func (m *Monitor) admit(s *Session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.live = append(m.live, s)
	m.served.Add(1)
	return true
}

// CanReceive implements chardev.Frontend.
func (f *frontend) CanReceive() int { return 0 }

// Receive implements chardev.Frontend.
func (f *frontend) Receive([]byte) {}

// ChardevEvent implements chardev.Frontend.
func (f *frontend) ChardevEvent(ev chardev.Event) {
	if ev != chardev.MuxIn && ev != chardev.MuxOut {
		return
	}
	f.mu.Lock()
	f.away = ev == chardev.MuxOut
	s := f.live
	f.mu.Unlock()
	if s != nil {
		s.turn(ev == chardev.MuxOut)
	}
}

// Close ends all sessions, each after it has carried out what it is at and said
// so, or when ctx is done, and waits until they have ended and commands that were
// given over QMP too. No client is served afterwards.
func (m *Monitor) Close(ctx context.Context) {
	m.mu.Lock()
	m.closed = true
	live := m.live
	m.mu.Unlock()
	for _, s := range live {
		s.drain(ctx)
		s.abort()
	}
	m.served.Wait()
	m.calls.Wait()
}

// execute carries out one line. It reports whether there is to be another.
func (m *Monitor) execute(ctx *qmp.Context, line string, out io.Writer) bool {
	c, err := m.read(ctx, line, out)
	if err == nil && c.cmd != nil {
		err = m.run(ctx, c, out)
	}
	if errors.Is(err, qmp.ErrSessionEnds) {
		return false
	}
	if err != nil {
		say(out, "%s\n", err)
	}
	return true
}

// run has a command carried out. What it returns is how an error is shown.
func (m *Monitor) run(ctx *qmp.Context, c *call, out io.Writer) error {
	var err error
	if c.cmd.NoLane {
		streaming(out, true)
		err = c.cmd.Run(ctx, c.args, out)
		streaming(out, false)
	} else if e := m.cfg.Lane.Do(context.Background(), func() { err = c.cmd.Run(ctx, c.args, out) }); e != nil {
		err = qmp.Errorf("The machine is shutting down")
	}
	if b, ok := out.(bounded); ok && b.cut() && !errors.Is(err, qmp.ErrSessionEnds) {
		err = errTooLong
	}
	if err != nil && !errors.Is(err, qmp.ErrSessionEnds) {
		return fmt.Errorf("Error: %w", err)
	}
	return err
}
