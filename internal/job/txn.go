package job

import "slices"

// Txn is a transaction: its jobs succeed all or none. Each waits, when its work
// is done, until all are; the failure or cancellation of one cancels the others.
type Txn struct {
	jobs     []*Job
	aborting bool
}

// NewTxn returns a transaction without jobs.
func NewTxn() *Txn { return &Txn{} }

func (t *Txn) add(j *Job) { t.jobs = append(t.jobs, j) }

func (t *Txn) remove(j *Job) {
	t.jobs = slices.DeleteFunc(t.jobs, func(x *Job) bool { return x == j })
}

// complete is the end of the worker's part, on the lane.
func (j *Job) complete(err error) {
	if j.completed {
		return
	}
	j.completed = true
	j.settle(err)
	switch {
	case j.err != nil || j.txn.aborting:
		j.txn.abort(j)
	default:
		j.txn.succeeded(j)
	}
}

// settle fixes how the job ends; what has failed is shown to be aborting.
func (j *Job) settle(err error) {
	if j.Cancelled() {
		err = ErrCancelled // whatever became of the work
	}
	if j.err == nil {
		j.err = err
	}
	if j.err != nil {
		j.setStatus(Aborting)
	}
}

// succeeded is what follows the end of one job's work.
func (t *Txn) succeeded(j *Job) {
	j.setStatus(Waiting)
	for _, x := range t.jobs {
		if !x.completed {
			return
		}
	}
	manual := false
	for _, x := range slices.Clone(t.jobs) {
		x.setStatus(Pending)
		if x.options.ManualFinalize {
			manual = true
			if h := x.options.Hooks.Pending; h != nil {
				h(x)
			}
		}
	}
	if !manual {
		t.finalize(j)
	}
}

// finalize makes the outcome of all jobs the machine's, or of none.
func (t *Txn) finalize(j *Job) {
	for _, x := range slices.Clone(t.jobs) {
		if p, ok := x.driver.(Preparer); ok && x.err == nil {
			x.settle(p.Prepare(x))
		}
		if x.err != nil {
			t.abort(x)
			return
		}
	}
	for _, x := range slices.Clone(t.jobs) {
		x.conclude()
	}
}

// abort ends all jobs because one has failed or was cancelled: now, as far as
// their workers are done, and else when the last one is.
func (t *Txn) abort(failed *Job) {
	all := slices.Clone(t.jobs)
	if !t.aborting {
		t.aborting = true
		for _, x := range all {
			if x != failed {
				x.cancelAsync(true)
			}
			x.completed = x.completed || !x.Started()
		}
	}
	for _, x := range all {
		if !x.completed {
			return
		}
	}
	for _, x := range all {
		if x.err == nil {
			x.settle(ErrCancelled)
		}
		x.conclude()
	}
}

// conclude is the end of a job.
func (j *Job) conclude() {
	if j.err == nil {
		if d, ok := j.driver.(Committer); ok {
			d.Commit(j)
		}
	} else if d, ok := j.driver.(Aborter); ok {
		d.Abort(j)
	}
	if d, ok := j.driver.(Cleaner); ok {
		d.Clean(j)
	}
	started := j.Started()
	if h := j.options.Hooks.Finished; h != nil && started {
		h(j)
	}
	j.txn.remove(j)
	j.setStatus(Concluded)
	if j.AutoDismiss() || !started {
		j.dismiss()
	}
}
