package blockjob

import (
	"govmd/internal/block"
	"govmd/internal/job"
	"govmd/internal/qmp"
	"govmd/internal/runstate"
)

// Manager holds the block jobs of one machine, among all of its jobs. Its methods
// are for the control lane.
type Manager struct {
	graph  *block.Graph
	jobs   *job.Manager
	unhook func()
}

// iostatusPriority puts the reset of I/O statuses behind that of drives.
const iostatusPriority = 0

// NewManager returns a manager whose jobs are made in jobs.
func NewManager(g *block.Graph, jobs *job.Manager) *Manager {
	m := &Manager{graph: g, jobs: jobs, unhook: func() {}}
	if rs := g.Env().RunState; rs != nil {
		m.unhook = rs.AddNotifier(iostatusPriority, func(running bool, _ runstate.State) {
			if running {
				m.resetIOStatus()
			}
		})
	}
	return m
}

// Graph returns the graph that the jobs work on.
func (m *Manager) Graph() *block.Graph { return m.graph }

// Close ends all jobs, of other kinds too, and waits for their workers: nothing
// holds a node any more.
func (m *Manager) Close() {
	m.jobs.CancelAll()
	m.unhook()
}

// resetIOStatus is for when the machine goes on: what was wrong may be put right.
func (m *Manager) resetIOStatus() {
	for _, b := range m.all() {
		b.ioStatus.Store(0)
	}
}

// all returns the block jobs, the newest first.
func (m *Manager) all() (list []*Base) {
	for _, j := range m.jobs.Jobs() {
		if d, ok := j.Driver().(Driver); ok {
			list = append(list, d.common())
		}
	}
	return list
}

// find returns the block job of that ID, which clients call its device.
func (m *Manager) find(id string) (*Base, error) {
	if j := m.jobs.Get(id); j != nil {
		if d, ok := j.Driver().(Driver); ok {
			return d.common(), nil
		}
	}
	return nil, qmp.ClassErrorf(qmp.ClassDeviceNotActive, "Block job '%s' not found", id)
}

// Options are what every command that makes a block job takes.
type Options struct {
	ID *string // nil: the name of the drive whose medium the node is
	// Internal has the job run without an ID; clients do not see it.
	Internal bool
	Speed    int64 // bytes a second; 0 for no limit
	// AutoFinalize and AutoDismiss are true unless they say otherwise.
	AutoFinalize, AutoDismiss *bool
	Txn                       *job.Txn // nil for one of its own
	// Perm is what the job does to its main node, Shared what others may do to it.
	Perm, Shared block.Perm
}

// New makes a job whose main node is n, which holds it.
func (m *Manager) New(d Driver, n *block.Node, o Options) error {
	b := d.common()
	b.Bind(m)
	jo := job.Options{
		Internal: o.Internal, Txn: o.Txn,
		ManualFinalize: o.AutoFinalize != nil && !*o.AutoFinalize,
		ManualDismiss:  o.AutoDismiss != nil && !*o.AutoDismiss,
	}
	switch {
	case o.Internal:
	case o.ID != nil:
		jo.ID = *o.ID
	default:
		jo.ID = n.DeviceName()
	}
	if jo.ID == "" && !o.Internal {
		return qmp.Errorf("Invalid job ID ''")
	}
	if !o.Internal {
		jo.Hooks = job.Hooks{Ready: b.tellReady, Pending: b.tellPending, Finished: b.tellFinished}
	}
	j, err := m.jobs.New(d, jo)
	if err != nil {
		return err
	}
	b.job = j
	b.reason = "block device is in use by block job: " + string(d.Type())
	if err = b.setSpeed(o.Speed); err == nil {
		b.main, err = b.Hold("main node", n, o.Perm, o.Shared)
	}
	if err != nil {
		b.Discard()
		b.job = nil
		return err
	}
	return nil
}
