package human

import (
	"errors"
	"strings"

	"govmd/internal/qmp"
)

type commandArgs struct {
	CommandLine string `qmp:"command-line"`
	CPUIndex    *int64 `qmp:"cpu-index"`
}

// Commands returns the commands about the human monitor.
func (m *Monitor) Commands() []qmp.Command {
	return []qmp.Command{qmp.NewAsync("human-monitor-command", m.humanMonitorCommand, qmp.NoLane)}
}

// humanMonitorCommand carries out a line of the human monitor.
func (m *Monitor) humanMonitorCommand(ctx *qmp.Context, a *commandArgs, r *qmp.Reply[string]) {
	s := &commandSession{Session: ctx.Session}
	if i := a.CPUIndex; i != nil {
		if m.cfg.CPUs == nil || *i < 0 || *i >= int64(m.cfg.CPUs()) {
			r.Fail(qmp.InvalidValue("cpu-index", "a CPU number"))
			return
		}
		s.cpu = int(*i)
	}
	if len(a.CommandLine) > maxLine {
		r.Fail(errors.New("Parameter 'command-line' is longer than 4095 bytes"))
		return
	}
	human := *ctx
	human.Session = s
	m.calls.Go(func() {
		var out boundedBuffer
		m.execute(&human, clean(a.CommandLine), &out)
		if out.over {
			r.Fail(qmp.Errorf("The output of the command is longer than %d MiB", maxOutput>>20))
			return
		}
		// Clients know lines that end as on a terminal.
		r.Return(strings.ReplaceAll(string(out.buf), "\n", "\r\n"))
	})
}

// commandSession is the session of one human-monitor-command: descriptors are
// those of the client that issued it.
type commandSession struct {
	qmp.Session
	cpu int
}

// SessionID implements qmp.Session.
func (s *commandSession) SessionID() uint64 {
	if s.Session == nil {
		return 0
	}
	return s.Session.SessionID()
}

// TakeFD implements qmp.Session.
func (s *commandSession) TakeFD() (int, bool) {
	if s.Session == nil {
		return -1, false
	}
	return s.Session.TakeFD()
}

// CPU implements qmp.HumanSession.
func (s *commandSession) CPU() int { return s.cpu }

// SetCPU implements qmp.HumanSession.
func (s *commandSession) SetCPU(index int) { s.cpu = index }

// History implements qmp.HumanSession.
func (s *commandSession) History() []string { return nil }
