package monitor

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceBegin     = trace.New1[uint64]("monitor_session_begin", "session %d")
	traceEnd       = trace.New1[uint64]("monitor_session_end", "session %d")
	traceEnqueue   = trace.New2[uint64, int]("monitor_qmp_enqueue", "session %d length %d")
	traceCommand   = trace.New3[uint64, string, bool]("monitor_qmp_command", "session %d command %s out-of-band %t")
	traceRespond   = trace.New2[uint64, []byte]("monitor_qmp_respond", "session %d %s")
	traceMalformed = trace.New2[uint64, error]("monitor_qmp_error", "session %d error %v")
	traceEmit      = trace.New1[string]("monitor_event_emit", "event %s")
	traceHeld      = trace.New1[string]("monitor_event_held", "event %s")
)

// maxTraced is how many bytes of a response a trace shows.
const maxTraced = 512

// trace reports what a client has sent.
func (r *request) trace() {
	switch {
	case r.err != nil:
		traceMalformed.Emit(r.s.id, r.err)
	case traceCommand.On():
		traceCommand.Emit(r.s.id, r.cmd.Name(), r.oob)
	}
}
