package blockjob

import (
	"govmd/internal/block"
	"govmd/internal/event"
	"govmd/internal/job"
)

// ReadyEvent is the event BLOCK_JOB_READY.
type ReadyEvent struct{ about }

// CancelledEvent is the event BLOCK_JOB_CANCELLED.
type CancelledEvent struct{ about }

// CompletedEvent is the event BLOCK_JOB_COMPLETED.
type CompletedEvent struct {
	about
	Error *string `qmp:"error"`
}

// about is what events say of a job's progress.
type about struct {
	Type   job.Type `qmp:"type"`
	Device string   `qmp:"device"`
	Len    int64    `qmp:"len"`
	Offset int64    `qmp:"offset"`
	Speed  int64    `qmp:"speed"`
}

// PendingEvent is the event BLOCK_JOB_PENDING.
type PendingEvent struct {
	Type job.Type `qmp:"type"`
	ID   string   `qmp:"id"`
}

// ErrorEvent is the event BLOCK_JOB_ERROR.
type ErrorEvent struct {
	Device    string       `qmp:"device"`
	Operation block.OpType `qmp:"operation"`
	Action    OnErrorTaken `qmp:"action"`
}

// OnErrorTaken is what was done about an error: report, ignore or stop.
type OnErrorTaken string

// EnumValues implements qmp.Enum.
func (OnErrorTaken) EnumValues() []string { return []string{"ignore", "report", "stop"} }

// EventName implements event.Event.
func (ReadyEvent) EventName() string { return "BLOCK_JOB_READY" }

// EventName implements event.Event.
func (CancelledEvent) EventName() string { return "BLOCK_JOB_CANCELLED" }

// EventName implements event.Event.
func (CompletedEvent) EventName() string { return "BLOCK_JOB_COMPLETED" }

// EventName implements event.Event.
func (PendingEvent) EventName() string { return "BLOCK_JOB_PENDING" }

// EventName implements event.Event.
func (ErrorEvent) EventName() string { return "BLOCK_JOB_ERROR" }

// Events are the events that this package publishes.
func Events() []event.Event {
	return []event.Event{ReadyEvent{}, CancelledEvent{}, CompletedEvent{}, PendingEvent{}, ErrorEvent{}}
}

func (b *Base) about() about {
	current, total := b.job.Progress()
	return about{
		Type: b.job.Type(), Device: b.job.ID(), Len: int64(total), Offset: int64(current), Speed: int64(b.limit.Speed()),
	}
}

func (b *Base) tellReady(*job.Job) { b.manager.graph.Publish(ReadyEvent{b.about()}) }

func (b *Base) tellPending(j *job.Job) {
	b.manager.graph.Publish(PendingEvent{Type: j.Type(), ID: j.ID()})
}

// tellFinished says how the job has ended.
func (b *Base) tellFinished(j *job.Job) {
	if j.Cancelled() {
		b.manager.graph.Publish(CancelledEvent{b.about()})
		return
	}
	b.manager.graph.Publish(CompletedEvent{about: b.about(), Error: j.ErrorText()})
}
