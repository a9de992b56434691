package trace

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// Sink takes the messages of trace points, each a line with its end. It is called
// from any goroutine, at once from many, and must not keep the line.
type Sink func(line []byte)

var sink atomic.Pointer[Sink]

// SetSink says where messages go; nil for nowhere.
func SetSink(s Sink) {
	if s == nil {
		sink.Store(nil)
		return
	}
	sink.Store(&s)
}

// maxLine bounds a message: what a guest or client says can be part of it.
const maxLine = 1024

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2*maxLine); return &b }}

// write sends a message: the point's name and what it reports, on one line.
func (p *Point) write(args ...any) {
	s := sink.Load()
	if s == nil {
		return
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	line := append((*buf)[:0], p.name...)
	line = append(line, ' ')
	start := len(line)
	line = fmt.Appendf(line, p.format, args...)
	if len(line) > maxLine {
		line = append(line[:maxLine], "..."...)
	}
	for i, c := range line[start:] {
		if c < ' ' || c == 0x7f {
			line[start+i] = '.'
		}
	}
	line = append(line, '\n')
	(*s)(line)
	if cap(line) <= 2*maxLine {
		*buf = line[:0]
	}
}

// Enable enables the points that a pattern matches. It reports whether there are
// any; a name that begins with "-" disables instead.
func Enable(pattern string) bool {
	name, off := strings.CutPrefix(pattern, "-")
	list := Matching(name)
	for _, p := range list {
		p.Set(!off)
	}
	return len(list) > 0
}

// Patterns returns the patterns in the text of a file of them: one a line, with
// "#" before what is a remark.
func Patterns(text string) []string {
	var list []string
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list
}
