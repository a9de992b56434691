package blockjob

import (
	"govmd/internal/block"
	"govmd/internal/job"
	"govmd/internal/qmp"
)

// Info is a block job as query-block-jobs shows it.
type Info struct {
	Type         string         `qmp:"type"`
	Device       string         `qmp:"device"`
	Len          int64          `qmp:"len"`
	Offset       int64          `qmp:"offset"`
	Busy         bool           `qmp:"busy"`
	Paused       bool           `qmp:"paused"`
	Speed        int64          `qmp:"speed"`
	IOStatus     block.IOStatus `qmp:"io-status"`
	Ready        bool           `qmp:"ready"`
	Status       job.Status     `qmp:"status"`
	AutoFinalize bool           `qmp:"auto-finalize"`
	AutoDismiss  bool           `qmp:"auto-dismiss"`
	Error        *string        `qmp:"error"`
}

// Info describes the job for clients.
func (b *Base) Info() Info {
	j, a := b.job, b.about()
	return Info{
		Type: string(a.Type), Device: a.Device, Len: a.Len, Offset: a.Offset, Speed: a.Speed,
		Busy: j.Busy(), Paused: j.PauseCount() > 0, IOStatus: b.IOStatus(), Ready: j.IsReady(), Status: j.Status(),
		AutoFinalize: j.AutoFinalize(), AutoDismiss: j.AutoDismiss(), Error: j.ErrorText(),
	}
}

// Infos describes all block jobs that clients can see, the newest first.
func (m *Manager) Infos() []Info {
	list := []Info{}
	for _, b := range m.all() {
		if b.job.ID() != "" {
			list = append(list, b.Info())
		}
	}
	return list
}

// SetSpeed changes the limit in bytes a second, 0 for none.
func (b *Base) SetSpeed(speed int64) error {
	if err := b.job.Accept(job.VerbSetSpeed); err != nil {
		return err
	}
	if err := b.setSpeed(speed); err != nil {
		return err
	}
	b.job.Wake() // from a sleep that the old limit wanted
	return nil
}

func (b *Base) setSpeed(speed int64) error {
	if speed < 0 {
		return qmp.InvalidValue("speed", "a non-negative value")
	}
	b.limit.SetSpeed(uint64(speed))
	return nil
}

// cancel is block-job-cancel.
func (b *Base) cancel(force bool) error {
	if b.job.UserPaused() && !force {
		return qmp.Errorf("The block job for device '%s' is currently paused", b.job.ID())
	}
	return b.job.UserCancel(force)
}

// UserResume implements job.UserResumer: what was wrong may be put right.
func (b *Base) UserResume(*job.Job) { b.ioStatus.Store(0) }

type deviceArgs struct {
	Device string `qmp:"device"`
}

type idArgs struct {
	ID string `qmp:"id"`
}

type speedArgs struct {
	Device string `qmp:"device"`
	Speed  int64  `qmp:"speed"`
}

type cancelArgs struct {
	Device string `qmp:"device"`
	Force  *bool  `qmp:"force"`
}

// Commands returns the commands that act on block jobs of every kind.
func (m *Manager) Commands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-block-jobs", func(*qmp.Context, *qmp.None) ([]Info, error) { return m.Infos(), nil }),
		qmp.New("block-job-set-speed", func(_ *qmp.Context, a *speedArgs) (none qmp.None, err error) {
			return none, m.on(a.Device, func(b *Base) error { return b.SetSpeed(a.Speed) })
		}),
		qmp.New("block-job-cancel", func(_ *qmp.Context, a *cancelArgs) (none qmp.None, err error) {
			return none, m.on(a.Device, func(b *Base) error { return b.cancel(a.Force != nil && *a.Force) })
		}),
		m.verb("block-job-pause", (*job.Job).UserPause),
		m.verb("block-job-resume", (*job.Job).UserResume),
		m.verb("block-job-complete", (*job.Job).Complete),
		m.verbByID("block-job-finalize", (*job.Job).Finalize),
		m.verbByID("block-job-dismiss", (*job.Job).Dismiss),
	}
}

// on has fn act on the job of that ID.
func (m *Manager) on(id string, fn func(b *Base) error) error {
	b, err := m.find(id)
	if err != nil {
		return err
	}
	return fn(b)
}

func (m *Manager) verb(name string, do func(*job.Job) error) qmp.Command {
	return qmp.New(name, func(_ *qmp.Context, a *deviceArgs) (none qmp.None, err error) {
		return none, m.on(a.Device, func(b *Base) error { return do(b.job) })
	})
}

func (m *Manager) verbByID(name string, do func(*job.Job) error) qmp.Command {
	return qmp.New(name, func(_ *qmp.Context, a *idArgs) (none qmp.None, err error) {
		return none, m.on(a.ID, func(b *Base) error { return do(b.job) })
	})
}
