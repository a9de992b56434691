package job

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// Type is the kind of a job.
type Type string

// The types, as clients know them.
const (
	TypeCommit         Type = "commit"
	TypeStream         Type = "stream"
	TypeMirror         Type = "mirror"
	TypeBackup         Type = "backup"
	TypeCreate         Type = "create"
	TypeAmend          Type = "amend"
	TypeSnapshotLoad   Type = "snapshot-load"
	TypeSnapshotSave   Type = "snapshot-save"
	TypeSnapshotDelete Type = "snapshot-delete"
)

// EnumValues implements qmp.Enum.
func (Type) EnumValues() []string {
	return []string{
		string(TypeCommit), string(TypeStream), string(TypeMirror), string(TypeBackup), string(TypeCreate),
		string(TypeAmend), string(TypeSnapshotLoad), string(TypeSnapshotSave), string(TypeSnapshotDelete),
	}
}

// ErrCancelled is how a job ends that was cancelled.
var ErrCancelled = errors.New("Operation canceled")

// A Driver is what a job does. What else it can do is found by assertion: the
// interfaces below, all of whose methods are called on the control lane.
type Driver interface {
	Type() Type
	// Run does the work, on the job's worker. It calls PausePoint often, and
	// returns soon after ctx is done; what it returns then does not matter.
	Run(ctx context.Context, j *Job) error
}

// Completer is a driver whose job becomes ready and goes on until it is told to
// complete. Complete must not wait: it tells the worker.
type Completer interface{ Complete(j *Job) error }

// Canceller is a driver that may let a job that is cancelled without force come
// to a good end of another kind. Cancel returns whether the job is to stop as if
// by force. Jobs whose driver has no such method always are.
type Canceller interface{ Cancel(j *Job, force bool) bool }

// Preparer is a driver with something left to do that may fail, once all jobs of
// the transaction have succeeded.
type Preparer interface{ Prepare(j *Job) error }

// Committer is a driver that makes its outcome the machine's. It cannot fail.
type Committer interface{ Commit(j *Job) }

// Aborter is a driver that undoes what it has done, after an error of its own job
// or another of the transaction.
type Aborter interface{ Abort(j *Job) }

// Cleaner is a driver that gives back what it holds, after Commit or Abort.
type Cleaner interface{ Clean(j *Job) }

// UserResumer is a driver that is told before a user's pause ends.
type UserResumer interface{ UserResume(j *Job) }

// Hooks are what the kind of a job does at points of its life, on the lane: tell
// clients, mostly. Each may be nil.
type Hooks struct {
	Ready    func(*Job) // after the status is ready
	Pending  func(*Job) // after the status is pending, if finalize is manual
	Finished func(*Job) // after commit or abort of a job that had been started
}

// Options are the settings of a job.
type Options struct {
	ID       string
	Internal bool // has no ID, and clients do not see it
	// ManualFinalize has the job wait for the client when it is done; ManualDismiss
	// has it stay, to be looked at, when it is over.
	ManualFinalize, ManualDismiss bool
	Txn                           *Txn // nil for one of its own
	Hooks                         Hooks
}

// Job is a long operation. Its methods are for the control lane, unless their
// comments say otherwise.
type Job struct {
	manager *Manager
	driver  Driver
	id      string
	options Options
	txn     *Txn

	status    Status
	err       error // how it ended, or is to end
	completed bool  // the worker is done, or never will be

	progress struct{ current, total atomic.Uint64 }

	ctx      context.Context
	forced   context.CancelFunc
	finished chan struct{} // closed when the worker has returned

	mu         sync.Mutex // guards what follows; nothing is called with it held
	cond       *sync.Cond // any of it has changed
	pauses     int        // reasons to pause
	userPaused bool       // one of them is the user's
	cancelled  bool       // to stop, perhaps in a good way
	started    bool
	ready      bool
	idle       bool // the worker is not at work
	ended      bool // Run has returned
	wake       uint64
	steps      []func() // what the worker has for the lane, in order
}

func newJob(m *Manager, d Driver, o Options) *Job {
	j := &Job{
		manager: m, driver: d, id: o.ID, options: o, txn: o.Txn,
		status: Undefined, finished: make(chan struct{}), idle: true,
	}
	j.cond = sync.NewCond(&j.mu)
	j.ctx, j.forced = context.WithCancel(context.Background())
	return j
}

// ID returns the job's name; "" for an internal one. Any goroutine.
func (j *Job) ID() string { return j.id }

// Type returns what kind of job it is. Any goroutine.
func (j *Job) Type() Type { return j.driver.Type() }

// Driver returns what was given to New. Any goroutine.
func (j *Job) Driver() Driver { return j.driver }

// Status returns where the job is in its life.
func (j *Job) Status() Status { return j.status }

// Err returns how the job has ended: nil for well, or for not yet.
func (j *Job) Err() error { return j.err }

// AutoFinalize and AutoDismiss report what the job does without being told.
func (j *Job) AutoFinalize() bool { return !j.options.ManualFinalize }

// AutoDismiss reports whether the job goes away by itself when it is over.
func (j *Job) AutoDismiss() bool { return !j.options.ManualDismiss }

// Started reports whether Start has been called. Any goroutine.
func (j *Job) Started() bool { return j.flag(&j.started) }

// UserPaused reports whether a user, or an error that waits for one, has paused
// the job. Any goroutine.
func (j *Job) UserPaused() bool { return j.flag(&j.userPaused) }

// CancelRequested reports whether the job is to stop, by force or not. Any
// goroutine.
func (j *Job) CancelRequested() bool { return j.flag(&j.cancelled) }

// Cancelled reports whether the job is to stop at once and fail. Any goroutine.
func (j *Job) Cancelled() bool { return j.ctx.Err() != nil }

// IsReady reports whether the worker has said that the job is ready. Any
// goroutine.
func (j *Job) IsReady() bool { return j.flag(&j.ready) }

// PauseCount returns how many reasons there are to pause. Any goroutine.
func (j *Job) PauseCount() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.pauses
}

// Busy reports whether the worker is at work, rather than paused, asleep or not
// there. Any goroutine.
func (j *Job) Busy() bool { return !j.flag(&j.idle) }

func (j *Job) flag(b *bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return *b
}

// Progress returns how much has been done, and how much there is to do in all, in
// units that are the job's own: bytes, mostly. Any goroutine.
func (j *Job) Progress() (current, total uint64) {
	current = j.progress.current.Load() // first: total is never seen to be less
	return current, max(current, j.progress.total.Load())
}

// Advance notes that n more units have been done. Any goroutine.
func (j *Job) Advance(n uint64) { j.progress.current.Add(n) }

// SetRemaining sets how much is still to be done. Any goroutine.
func (j *Job) SetRemaining(n uint64) { j.progress.total.Store(j.progress.current.Load() + n) }

// AddRemaining adds to what is still to be done. Any goroutine.
func (j *Job) AddRemaining(n uint64) { j.progress.total.Add(n) }
