package job

import (
	"slices"

	"govmd/internal/qmp"
)

// Status is where a job is in its life.
type Status string

// The statuses, as clients know them.
const (
	Undefined Status = "undefined" // not announced yet
	Created   Status = "created"
	Running   Status = "running"
	Paused    Status = "paused"
	Ready     Status = "ready"
	Standby   Status = "standby" // ready and paused
	Waiting   Status = "waiting"
	Pending   Status = "pending"
	Aborting  Status = "aborting"
	Concluded Status = "concluded"
	Null      Status = "null"
)

// EnumValues implements qmp.Enum.
func (Status) EnumValues() []string {
	return []string{
		string(Undefined), string(Created), string(Running), string(Paused), string(Ready), string(Standby),
		string(Waiting), string(Pending), string(Aborting), string(Concluded), string(Null),
	}
}

// next lists what may follow each status.
var next = map[Status][]Status{
	Undefined: {Created},
	Created:   {Running, Aborting, Null},
	Running:   {Paused, Ready, Waiting, Aborting},
	Paused:    {Running},
	Ready:     {Standby, Waiting, Aborting},
	Standby:   {Ready},
	Waiting:   {Pending, Aborting},
	Pending:   {Aborting, Concluded},
	Aborting:  {Aborting, Concluded},
	Concluded: {Null},
}

// Verb is what a client asks of a job.
type Verb string

// The verbs, as they appear in errors.
const (
	VerbCancel   Verb = "cancel"
	VerbPause    Verb = "pause"
	VerbResume   Verb = "resume"
	VerbSetSpeed Verb = "set-speed"
	VerbComplete Verb = "complete"
	VerbFinalize Verb = "finalize"
	VerbDismiss  Verb = "dismiss"
)

// accepted lists the statuses in which each verb makes sense.
var accepted = map[Verb][]Status{
	VerbCancel:   {Created, Running, Paused, Ready, Standby, Waiting, Pending},
	VerbPause:    {Created, Running, Paused, Ready, Standby},
	VerbResume:   {Created, Running, Paused, Ready, Standby},
	VerbSetSpeed: {Created, Running, Paused, Ready, Standby},
	VerbComplete: {Ready, Standby},
	VerbFinalize: {Pending},
	VerbDismiss:  {Concluded},
}

// Accept returns nil when v makes sense in the job's status, or the error for the
// client. On the lane.
func (j *Job) Accept(v Verb) error {
	if slices.Contains(accepted[v], j.status) {
		return nil
	}
	return qmp.Errorf("Job '%s' in state '%s' cannot accept command verb '%s'", j.id, j.status, v)
}

// setStatus moves the job on and tells clients. On the lane.
func (j *Job) setStatus(s Status) {
	if !slices.Contains(next[j.status], s) {
		panic("job: '" + j.id + "' cannot go from " + string(j.status) + " to " + string(s))
	}
	changed := j.status != s
	traceStatus.Emit(j.id, j.status, s)
	j.status = s
	if changed && j.id != "" {
		j.manager.publish(StatusChange{ID: j.id, Status: s})
	}
}
