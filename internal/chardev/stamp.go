package chardev

import (
	"bytes"
	"fmt"
	"time"
)

// stamper puts the time before each line of a multiplexer's output, counted from
// when that was asked for.
type stamper struct {
	on    bool
	since time.Time
	line  bool // within a line
}

func (s *stamper) toggle() {
	*s = stamper{on: !s.on, since: time.Now()}
}

// write writes to the shared device and returns how many bytes of b were taken.
func (m *mux) write(b []byte) int {
	m.mu.Lock()
	on := m.stamps.on
	m.mu.Unlock()
	if !on {
		return m.port.Write(b)
	}
	done := 0
	for done < len(b) {
		line := b[done:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		m.mu.Lock()
		if !m.stamps.line {
			t := time.Since(m.stamps.since)
			mark := fmt.Sprintf("[%02d:%02d:%02d.%03d] ", int(t.Hours()), int(t.Minutes())%60, int(t.Seconds())%60, t.Milliseconds()%1000)
			m.stamps.line = m.port.Write([]byte(mark)) > 0
		}
		n := m.port.Write(line)
		m.stamps.line = m.stamps.line && !(n == len(line) && line[n-1] == '\n')
		m.mu.Unlock()
		if done += n; n < len(line) {
			break
		}
	}
	return done
}
