package human

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/chardev"
	"govmd/internal/qmp"
)

const (
	// maxInput is how much input waits while a command is carried out. Of more the
	// rest is left unread.
	maxInput = 16 << 10
	// maxOutput bounds what a command on the control lane has to say, and what
	// human-monitor-command returns.
	maxOutput = 4 << 20
	// maxHeld is how much output waits for a session's turn.
	maxHeld = 64 << 10
	// maxFDs is how many descriptors of a client wait for a command.
	maxFDs = 64
)

// Session is one client's conversation.
type Session struct {
	m        *Monitor
	conn     chardev.Conn
	id       uint64
	terminal *terminal
	editor   editor

	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	input   []item
	size    int    // bytes of input
	ended   bool   // there is no more input to come
	busy    bool   // something is being carried out
	away    bool   // the multiplexer has given the turn to another: what it says is held
	leaving bool   // it has, and there is input from before that
	held    []byte // what is to be written once the turn is back
	gone    bool   // the client is no longer served
	fds     []int
	cancel  func() // asks the command that is being carried out to end; or nil
}

// item is some input, or that a multiplexer gives or takes the turn.
type item struct {
	data []byte
	turn bool
	away bool
}

func newSession(m *Monitor, conn chardev.Conn, t *terminal) *Session {
	s := &Session{m: m, conn: conn, terminal: t}
	if m.cfg.NextID != nil {
		s.id = m.cfg.NextID()
	}
	s.changed = sync.NewCond(&s.mu)
	s.editor.history = &history{lines: t.history.all()}
	s.editor.history.at = len(s.editor.history.lines)
	s.editor.complete = func(line string) []string {
		return m.completions(&qmp.Context{Context: m.cfg.Context, Registry: m.cfg.Registry, Session: s}, line)
	}
	return s
}

// serve holds the conversation.
func (s *Session) serve() {
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		s.read()
	}()
	s.editor.out = append(s.editor.out, "QEMU "+s.m.cfg.Version+" monitor - type 'help' for more information\r\n"...)
	s.editor.prompt()
	if s.flush() {
		s.converse()
	}
	s.abort()
	<-reader
	s.mu.Lock()
	fds := s.fds
	s.fds = nil
	s.mu.Unlock()
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// read takes input until it ends.
func (s *Session) read() {
	p := make([]byte, 4096)
	for {
		n, fds, err := s.conn.ReadMsg(p)
		s.take(p[:max(n, 0)], fds)
		s.mu.Lock()
		if err != nil {
			s.ended = true
			s.changed.Broadcast()
		}
		for s.size >= maxInput && !s.gone {
			s.changed.Wait()
		}
		end := s.ended || s.gone
		s.mu.Unlock()
		if end {
			return
		}
	}
}

// take keeps input for the conversation. While a command is carried out, Ctrl-C
// asks it to end.
func (s *Session) take(p []byte, fds []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fds = append(s.fds, fds...)
	for len(s.fds) > maxFDs {
		_ = unix.Close(s.fds[0])
		s.fds = s.fds[1:]
	}
	if s.cancel != nil {
		for _, c := range p {
			if c == ctrlC {
				s.cancel()
			}
		}
	}
	if len(p) > 0 {
		s.input = append(s.input, item{data: append([]byte(nil), p...)})
		s.size += len(p)
		s.changed.Broadcast()
	}
}

// turn notes that a multiplexer gives the turn to this session, or takes it away:
// that is for what is typed afterwards.
func (s *Session) turn(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = away
	if !away {
		s.away = false
	}
	// Of a change and back that nobody has looked at yet nothing need be known.
	if n := len(s.input); n > 1 && s.input[n-1].turn && s.input[n-2].turn {
		s.input = s.input[:n-2]
	}
	s.input = append(s.input, item{turn: true, away: away})
	s.changed.Broadcast()
}

// next returns the next input; it reports false at the end.
func (s *Session) next() (item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	s.changed.Broadcast()
	for len(s.input) == 0 && !s.ended && !s.gone {
		s.changed.Wait()
	}
	if len(s.input) == 0 || s.gone {
		return item{}, false
	}
	i := s.input[0]
	s.input = append(s.input[:0], s.input[1:]...)
	s.size -= len(i.data)
	s.busy = true
	s.changed.Broadcast()
	return i, true
}

// converse carries out what is typed.
func (s *Session) converse() {
	left := false // for another that shares the device
	for {
		i, ok := s.next()
		switch {
		case !ok:
			return
		case i.turn && i.away && !left:
			left = true
			s.editor.forget()
			if s.write([]byte("\r\n")) != nil {
				return
			}
			s.leave()
		case i.turn && !i.away && left:
			left = false
			s.editor.restart()
		}
		for _, c := range i.data {
			if line, done := s.editor.key(c); done && !s.enter(line) {
				return
			}
		}
		if !s.flush() {
			return
		}
	}
}

// enter carries out a line. It reports whether to go on.
func (s *Session) enter(line string) bool {
	if !s.flush() {
		return false
	}
	s.terminal.mu.Lock()
	s.terminal.history.add(line)
	s.terminal.mu.Unlock()
	ctx, cancel := context.WithCancel(s.m.cfg.Context)
	defer cancel()
	s.mu.Lock()
	s.cancel = cancel
	s.mu.Unlock()
	out := &terminalWriter{s: s}
	more := s.m.execute(&qmp.Context{Context: ctx, Registry: s.m.cfg.Registry, Session: s}, clean(line), out)
	s.mu.Lock()
	s.cancel = nil
	s.mu.Unlock()
	out.flush()
	if out.err != nil {
		return false
	}
	if more {
		s.editor.prompt()
	}
	return true
}

// flush sends what the editor has to say.
func (s *Session) flush() bool {
	p := s.editor.out
	if s.editor.out = p[:0]; cap(p) > maxInput {
		s.editor.out = nil
	}
	return s.write(p) == nil
}

// leave ends the session's turn, unless it has got it back already.
func (s *Session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = s.leaving
}

// write sends p, when it is this session's turn.
func (s *Session) write(p []byte) error { return s.writeWhile(p, false) }

// writeWhile is write, for what comes in such amounts that another who has got the
// turn meanwhile should not see it, or not. While it is not this session's turn, what
// it has to say is kept as far as there is room.
func (s *Session) writeWhile(p []byte, much bool) error {
	s.mu.Lock()
	for (s.away || much && s.leaving) && !s.gone && !s.ended {
		if len(s.held)+len(p) <= maxHeld {
			s.held = append(s.held, p...)
			s.mu.Unlock()
			return nil
		}
		s.changed.Wait()
	}
	if len(s.held) > 0 {
		p = append(s.held, p...)
		s.held = nil
	}
	s.mu.Unlock()
	if len(p) == 0 {
		return nil
	}
	_, err := s.conn.Write(p)
	return err
}

// abort ends the session: nothing is read or written any more.
func (s *Session) abort() {
	s.mu.Lock()
	s.gone = true
	if s.cancel != nil {
		s.cancel()
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	_ = s.conn.Close()
}

// drain waits until the session has done what it was told, or ctx is done, or it
// cannot go on without its turn.
func (s *Session) drain(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.abort)
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for (s.busy || len(s.input) > 0) && !s.gone && !s.away {
		s.changed.Wait()
	}
}

// SessionID implements qmp.Session.
func (s *Session) SessionID() uint64 { return s.id }

// TakeFD implements qmp.Session.
func (s *Session) TakeFD() (fd int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fds) == 0 {
		return -1, false
	}
	fd = s.fds[0]
	s.fds = s.fds[1:]
	return fd, true
}

// CPU implements qmp.HumanSession.
func (s *Session) CPU() int {
	s.terminal.mu.Lock()
	defer s.terminal.mu.Unlock()
	return s.terminal.cpu
}

// SetCPU implements qmp.HumanSession.
func (s *Session) SetCPU(index int) {
	s.terminal.mu.Lock()
	defer s.terminal.mu.Unlock()
	s.terminal.cpu = index
}

// History implements qmp.HumanSession.
func (s *Session) History() []string {
	s.terminal.mu.Lock()
	defer s.terminal.mu.Unlock()
	return s.terminal.history.all()
}
