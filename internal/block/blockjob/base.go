package blockjob

import (
	"context"
	"slices"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/job"
)

// Driver is what a kind of block job does: it embeds Base.
type Driver interface {
	job.Driver
	based
}

type based interface{ common() *Base }

// Base is the part of a block job that all of them have. Manager.New fills it in.
type Base struct {
	job      *job.Job
	manager  *Manager
	limit    job.Limiter
	ioStatus atomic.Int32 // index of ioStatuses
	reason   string       // for which operations on its nodes are refused
	main     *block.Child
	held     []*block.Child // main among them
	ignored  error          // the first, of those that the policy was to ignore; the worker's
}

func (b *Base) common() *Base { return b }

// Job returns the job. Any goroutine.
func (b *Base) Job() *job.Job { return b.job }

// Bind says what the job will be made by, for a driver that has something to undo
// when it never is. New does it, too.
func (b *Base) Bind(m *Manager) { b.manager = m }

// Manager returns what the job was made by. Any goroutine.
func (b *Base) Manager() *Manager { return b.manager }

// Main returns the edge to the job's main node. Any goroutine.
func (b *Base) Main() *block.Child { return b.main }

// Hold makes n a node of the job's: it stays open, operations on it are refused,
// and its drain pauses the job. The job may do to it what perm says and lets others do
// what shared says.
func (b *Base) Hold(name string, n *block.Node, perm, shared block.Perm) (*block.Child, error) {
	c, err := b.manager.graph.Attach(parent{b}, name, 0, n, perm, shared)
	if err != nil {
		return nil, err
	}
	b.held = append(b.held, c)
	n.BlockAllBut(b, b.reason, block.OperationDataplane)
	return c, nil
}

// Holds reports whether n is a node of the job's.
func (b *Base) Holds(n *block.Node) bool {
	return slices.ContainsFunc(b.held, func(c *block.Child) bool { return c.Node() == n })
}

// Release lets go of all nodes, before Clean would: what follows changes the graph.
func (b *Base) Release() {
	held := b.held
	b.held = nil
	for _, c := range slices.Backward(held) {
		c.Node().Unblock(b)
		b.manager.graph.Detach(c)
	}
}

// Clean implements job.Cleaner.
func (b *Base) Clean(*job.Job) { b.Release() }

// Discard takes back New, of a job that could not be made complete: it does nothing
// when there is none yet.
func (b *Base) Discard() {
	b.Release()
	if b.job != nil {
		b.job.Abandon()
	}
}

// Yield is where the worker waits: while the job is to pause, and until its speed
// allows n more bytes (0: whatever the speed). None of the job's requests is under
// way. It returns job.ErrCancelled when the job is to stop at once.
func (b *Base) Yield(n int64) error { return b.yield(n, func() {}) }

// yield is Yield, with settle called before each wait.
func (b *Base) yield(n int64, settle func()) error {
	if b.job.MustPause() {
		settle()
		if err := b.job.PausePoint(); err != nil {
			return err
		}
	}
	for n > 0 {
		since := b.job.Wakes() // SetSpeed may come at any time
		d := b.limit.Delay(uint64(n))
		if d == 0 {
			break
		}
		settle()
		if err := b.job.SleepSince(since, d); err != nil {
			return err
		}
	}
	return nil
}

// parent is a job as the user of its nodes.
type parent struct{ b *Base }

func (p parent) ParentName() string {
	return string(p.b.job.Type()) + " job '" + p.b.job.ID() + "'"
}

// StaysAtNode implements block.Stayer: a job is about its node, whatever is put on
// top of it.
func (p parent) StaysAtNode() {}

func (p parent) DrainBegin(*block.Child) { p.b.job.Pause() }

func (p parent) DrainWait(ctx context.Context, _ *block.Child) error { return p.b.job.WaitIdle(ctx) }

func (p parent) DrainEnd(*block.Child) { p.b.job.Resume() }

func (p parent) ChildResized(*block.Child) {}

// Inactivate refuses to hand an image over that a job works on.
func (p parent) Inactivate(c *block.Child) error {
	if perm, _ := c.Perms(); perm&(block.PermWrite|block.PermUnchanged) == 0 {
		return nil
	}
	return block.Errorf(block.KindInUse, "Node '%s' is busy: %s", c.Node().Name(), p.b.reason)
}

func (p parent) Activate(*block.Child) error { return nil }
