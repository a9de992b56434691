package job

import (
	"golang.org/x/sys/unix"

	"govmd/internal/event"
	"govmd/internal/qmp"
)

// StatusChange is the event JOB_STATUS_CHANGE.
type StatusChange struct {
	ID     string `qmp:"id"`
	Status Status `qmp:"status"`
}

// EventName implements event.Event.
func (StatusChange) EventName() string { return "JOB_STATUS_CHANGE" }

// Events are the events that this package publishes.
func Events() []event.Event { return []event.Event{StatusChange{}} }

// Info is a job as query-jobs shows it.
type Info struct {
	ID      string  `qmp:"id"`
	Type    Type    `qmp:"type"`
	Status  Status  `qmp:"status"`
	Current int64   `qmp:"current-progress"`
	Total   int64   `qmp:"total-progress"`
	Error   *string `qmp:"error,optional"`
}

// Info describes the job for clients.
func (j *Job) Info() Info {
	current, total := j.Progress()
	info := Info{ID: j.id, Type: j.Type(), Status: j.status, Current: int64(current), Total: int64(total)}
	info.Error = j.ErrorText()
	return info
}

// ErrorText returns what went wrong, as clients are told it; nil for nothing.
func (j *Job) ErrorText() *string {
	if j.err == nil {
		return nil
	}
	text := j.err.Error()
	if no, ok := j.err.(unix.Errno); ok {
		text = qmp.Strerror(no)
	}
	return &text
}

type idArgs struct {
	ID string `qmp:"id"`
}

// Commands returns the commands that act on jobs of every kind.
func (m *Manager) Commands() []qmp.Command {
	verb := func(name string, do func(*Job) error) qmp.Command {
		return qmp.New(name, func(_ *qmp.Context, a *idArgs) (qmp.None, error) {
			j := m.Get(a.ID)
			if j == nil {
				return qmp.None{}, qmp.Errorf("Job not found")
			}
			return qmp.None{}, do(j)
		})
	}
	return []qmp.Command{
		verb("job-pause", (*Job).UserPause),
		verb("job-resume", (*Job).UserResume),
		verb("job-cancel", func(j *Job) error { return j.UserCancel(true) }),
		verb("job-complete", (*Job).Complete),
		verb("job-finalize", (*Job).Finalize),
		verb("job-dismiss", (*Job).Dismiss),
		qmp.New("query-jobs", func(*qmp.Context, *qmp.None) ([]Info, error) {
			list := []Info{}
			for _, j := range m.jobs {
				if !j.options.Internal {
					list = append(list, j.Info())
				}
			}
			return list, nil
		}),
	}
}
