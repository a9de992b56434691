package human

import (
	"errors"
	"io"
)

var errTooLong = errors.New("the output is too long")

// terminalWriter is where a command writes to: lines end as terminals need it.
// What comes from the control lane, which must not wait, is kept up to a bound.
type terminalWriter struct {
	s      *Session
	stream bool // the command may wait for the client
	buf    []byte
	err    error
	over   bool // something was left out
	room   int  // beyond maxOutput, to say so
}

// streamAt is how much is kept of what can be sent at once.
const streamAt = 16 << 10

// Write implements io.Writer.
func (w *terminalWriter) Write(p []byte) (int, error) {
	if w.err == nil && !w.stream && (w.over && w.room == 0 || len(w.buf)+len(p) > maxOutput+w.room) {
		w.over = true
		return 0, errTooLong
	}
	for _, c := range p {
		if c == '\n' {
			w.buf = append(w.buf, '\r')
		}
		w.buf = append(w.buf, c)
	}
	if w.stream && len(w.buf) >= streamAt {
		w.flush()
	}
	return len(p), w.err
}

// flush sends what is kept.
func (w *terminalWriter) flush() {
	if w.err == nil {
		w.err = w.s.writeWhile(w.buf, w.stream)
	}
	w.buf = w.buf[:0]
}

// cut implements bounded.
func (w *terminalWriter) cut() bool {
	w.room = 256
	return w.over
}

// bounded is an output that has a bound, beyond which commands need not notice that
// what they say is lost. cut reports whether that has happened, and gives room to say so.
type bounded interface{ cut() bool }

// streamer is an output that the writer may wait for.
type streamer interface{ setStream(on bool) }

func (w *terminalWriter) setStream(on bool) { w.stream = on }

// boundedBuffer keeps what a command says, up to a bound.
type boundedBuffer struct {
	buf  []byte
	over bool
}

// Write implements io.Writer.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.over || len(b.buf)+len(p) > maxOutput {
		b.over = true
		return 0, errTooLong
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// streaming has what a command writes go out at once, while it runs.
func streaming(out io.Writer, on bool) {
	if s, ok := out.(streamer); ok {
		s.setStream(on)
	}
}
