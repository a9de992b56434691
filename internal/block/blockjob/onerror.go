package blockjob

import (
	"govmd/internal/block"
)

// OnError is what a job does about an I/O error: the type BlockdevOnError of the protocol.
type OnError string

// What a job does about errors.
const (
	Report OnError = "report" // it ends
	Ignore OnError = "ignore" // it goes on, and ends with the error
	Enospc OnError = "enospc" // it pauses when the host's storage is full, and else ends
	Stop   OnError = "stop"   // it pauses, and tries again when it is resumed
	Auto   OnError = "auto"   // Enospc
)

// EnumValues implements qmp.Enum.
func (OnError) EnumValues() []string { return []string{"report", "ignore", "enospc", "stop", "auto"} }

var ioStatuses = [...]block.IOStatus{block.IOStatusOK, block.IOStatusFailed, block.IOStatusNoSpace}

// OnError deals with the failure of a read or write as policy has it, and tells
// clients. Report returns err. Ignore keeps it for Outcome and returns nil with
// again false. A job that stops is paused, so that the next Yield waits for a user:
// again says that the request is to be tried then. Worker only.
func (b *Base) OnError(policy OnError, read bool, err error) (again bool, _ error) {
	no := block.Errno(err)
	if policy == Enospc || policy == Auto {
		policy = Report
		if no == block.ErrNoSpace {
			policy = Stop
		}
	}
	if b.job.ID() != "" {
		ev := ErrorEvent{Device: b.job.ID(), Operation: "write", Action: OnErrorTaken(policy)}
		if read {
			ev.Operation = "read"
		}
		b.manager.graph.Publish(ev)
	}
	switch policy {
	case Stop:
		b.job.PauseForError()
		status := int32(1)
		if no == block.ErrNoSpace {
			status = 2
		}
		b.ioStatus.CompareAndSwap(0, status)
		return true, nil
	case Ignore:
		if b.ignored == nil {
			b.ignored = err
		}
		return false, nil
	}
	return false, err
}

// Outcome returns the first error that was ignored: with it a job ends that came
// to its end. Worker only.
func (b *Base) Outcome() error { return b.ignored }

// IOStatus returns what went wrong last while nobody has resumed the job. Any goroutine.
func (b *Base) IOStatus() block.IOStatus { return ioStatuses[b.ioStatus.Load()] }
