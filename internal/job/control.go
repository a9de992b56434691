package job

import (
	"slices"

	"govmd/internal/qmp"
)

// UserPause pauses the job as a client asks for.
func (j *Job) UserPause() error {
	if err := j.Accept(VerbPause); err != nil {
		return err
	}
	if !j.userPause() {
		return qmp.Errorf("Job is already paused")
	}
	return nil
}

// UserResume takes back UserPause or PauseForError.
func (j *Job) UserResume() error {
	if !j.UserPaused() {
		return qmp.Errorf("Can't resume a job that was not paused")
	}
	if err := j.Accept(VerbResume); err != nil {
		return err
	}
	j.userResume()
	return nil
}

func (j *Job) userResume() {
	if u, ok := j.driver.(UserResumer); ok {
		u.UserResume(j)
	}
	j.mu.Lock()
	j.userPaused = false
	j.pauses--
	j.cond.Broadcast()
	j.mu.Unlock()
}

// Complete tells a job that is ready to come to its end.
func (j *Job) Complete() error {
	if err := j.Accept(VerbComplete); err != nil {
		return err
	}
	c, ok := j.driver.(Completer)
	if !ok || j.CancelRequested() {
		return qmp.Errorf("The active block job '%s' cannot be completed", j.id)
	}
	return c.Complete(j)
}

// UserCancel cancels the job as a client asks for. With force it stops at once;
// without, a driver may choose another good end. Either way it ends later, unless
// its worker is done already.
func (j *Job) UserCancel(force bool) error {
	if err := j.Accept(VerbCancel); err != nil {
		return err
	}
	j.Cancel(force)
	return nil
}

// Cancel is UserCancel in any status: a job that is over is dismissed.
func (j *Job) Cancel(force bool) {
	if j.status == Concluded {
		j.dismiss()
		return
	}
	hard := j.cancelAsync(force)
	switch {
	case j.completed:
		if hard {
			j.txn.abort(j)
		}
	case !j.Started():
		j.complete(ErrCancelled)
	}
}

// cancelAsync tells the worker to stop. It returns whether it is by force.
func (j *Job) cancelAsync(force bool) (hard bool) {
	hard = true
	if c, ok := j.driver.(Canceller); ok {
		hard = c.Cancel(j, force)
	}
	if j.UserPaused() {
		j.userResume()
	}
	j.mu.Lock()
	if hard || !j.ended {
		j.cancelled = true
	}
	j.cond.Broadcast()
	j.mu.Unlock()
	if hard {
		j.forced()
		j.Wake()
	}
	return hard
}

// CancelSync cancels the job by force and returns when it is over, and with it its
// transaction. It waits for their workers.
func (j *Job) CancelSync() {
	others := slices.Clone(j.txn.jobs)
	j.Cancel(true)
	for _, x := range others {
		x.FinishSync()
	}
}

// FinishSync waits for the worker to return and does what follows. Afterwards the
// job may still be waiting for its transaction or for a client.
func (j *Job) FinishSync() {
	if j.Started() {
		<-j.finished
	}
	j.catchUp()
}

// Finalize ends the wait of a job that is pending, and of all of its transaction.
func (j *Job) Finalize() error {
	if err := j.Accept(VerbFinalize); err != nil {
		return err
	}
	j.txn.finalize(j)
	return nil
}

// Dismiss forgets a job that is over.
func (j *Job) Dismiss() error {
	if err := j.Accept(VerbDismiss); err != nil {
		return err
	}
	j.dismiss()
	return nil
}

// dismiss forgets the job.
func (j *Job) dismiss() {
	j.forced() // gives the context's resources back
	j.txn.remove(j)
	j.setStatus(Null)
	j.manager.forget(j)
}

// Abandon forgets a job that was made and will not be started after all: nothing
// is undone or told, beside its going away.
func (j *Job) Abandon() {
	if j.Started() {
		panic("job: Abandon of a job that was started")
	}
	j.dismiss()
}
