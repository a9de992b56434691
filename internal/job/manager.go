package job

import (
	"slices"

	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/option"
	"govmd/internal/qmp"
)

// Manager holds the jobs of one machine. Its methods are for the control lane.
type Manager struct {
	lane *lane.Lane
	bus  *event.Bus
	jobs []*Job // the newest first, as clients are shown them
}

// NewManager returns a manager without jobs.
func NewManager(l *lane.Lane, bus *event.Bus) *Manager {
	return &Manager{lane: l, bus: bus}
}

func (m *Manager) publish(e event.Event) { m.bus.Publish(e) }

// Jobs returns all jobs, the newest first, those without an ID included.
func (m *Manager) Jobs() []*Job { return slices.Clone(m.jobs) }

// Get returns the job of that ID, or nil.
func (m *Manager) Get(id string) *Job {
	i := slices.IndexFunc(m.jobs, func(j *Job) bool { return id != "" && j.id == id })
	if i < 0 {
		return nil
	}
	return m.jobs[i]
}

// New makes a job, which does nothing until Start or, if nothing comes of it,
// Abandon. It fails where the ID is missing, malformed or taken.
func (m *Manager) New(driver Driver, o Options) (*Job, error) {
	switch {
	case o.Internal && o.ID != "":
		return nil, qmp.Errorf("Cannot specify job ID for internal job")
	case o.Internal:
	case o.ID == "":
		return nil, qmp.Errorf("An explicit job ID is required")
	case !option.ValidID(o.ID):
		return nil, qmp.Errorf("Invalid job ID '%s'", o.ID)
	case m.Get(o.ID) != nil:
		return nil, qmp.Errorf("Job ID '%s' already in use", o.ID)
	}
	j := newJob(m, driver, o)
	m.jobs = slices.Insert(m.jobs, 0, j)
	j.setStatus(Created)
	if j.txn == nil {
		j.txn = NewTxn()
	}
	j.txn.add(j)
	return j, nil
}

func (m *Manager) forget(j *Job) {
	m.jobs = slices.DeleteFunc(m.jobs, func(x *Job) bool { return x == j })
}

// CancelAll cancels every job and returns when all are over and forgotten. It
// waits for their workers, which end as soon as their drivers notice that the
// context is done.
func (m *Manager) CancelAll() {
	for len(m.jobs) > 0 {
		j := m.jobs[0]
		j.CancelSync()
		if j.status == Concluded {
			j.dismiss()
		}
	}
}
