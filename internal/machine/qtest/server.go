// Package qtest serves QEMU's qtest protocol (docs/devel/qtest): a test at the
// other end of a socket drives the machine's devices register by register.
package qtest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/lane"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// Target is the machine that is driven.
type Target struct {
	Mem, IO *memory.Space
	Clock   *clock.Clock // the virtual clock, manual
	Lane    *lane.Lane
	Root    *object.Node
}

// maxLine bounds a request: the largest transfer of write and b64write, and the
// words before it.
const (
	maxTransfer = 16 << 20
	maxLine     = 2*maxTransfer + 4096
)

// Server speaks the protocol with one peer at a time.
type Server struct {
	t Target

	mu      sync.Mutex // guards out and sinks: interrupts are reported from any goroutine
	out     *bufio.Writer
	set     map[string]*device.Line // by path, name and number: what set_irq_in drives
	unwatch []func()
}

// New returns a server for t.
func New(t Target) *Server { return &Server{t: t, set: map[string]*device.Line{}} }

// Serve answers requests from conn until it ends.
func (s *Server) Serve(conn io.ReadWriter) error {
	s.mu.Lock()
	s.out = bufio.NewWriter(conn)
	s.mu.Unlock()
	defer s.forget()
	in := bufio.NewScanner(conn)
	in.Buffer(make([]byte, 0, 4096), maxLine)
	for in.Scan() {
		line := strings.TrimSuffix(in.Text(), "\r")
		if line == "" {
			continue
		}
		reply := s.handle(strings.Fields(line))
		// What the request has posted to the lane is done before the answer:
		// the peer sees a machine that is at rest.
		_ = s.t.Lane.Do(context.Background(), func() {})
		if err := s.send(reply); err != nil {
			return err
		}
	}
	return in.Err()
}

func (s *Server) send(line string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out == nil {
		return io.ErrClosedPipe
	}
	if _, err := s.out.WriteString(line + "\n"); err != nil {
		return err
	}
	return s.out.Flush()
}

func (s *Server) forget() {
	s.mu.Lock()
	s.out = nil
	undo := s.unwatch
	s.unwatch = nil
	s.mu.Unlock()
	for _, fn := range undo {
		fn()
	}
}

// request is one line, split into words.
type request struct {
	words []string
	err   error
}

func (r *request) number(i int) uint64 {
	if i >= len(r.words) {
		r.fail("'%s' takes more arguments", r.words[0])
		return 0
	}
	v, err := strconv.ParseUint(r.words[i], 0, 64)
	if err != nil {
		r.fail("'%s' is not a number", r.words[i])
	}
	return v
}

func (r *request) text(i int) string {
	if i >= len(r.words) {
		r.fail("'%s' takes more arguments", r.words[0])
		return ""
	}
	return r.words[i]
}

func (r *request) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *request) length(i int) int {
	n := r.number(i)
	if n > maxTransfer {
		r.fail("%d bytes are more than the %d of one transfer", n, maxTransfer)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// widths are the suffixes of in, out, read and write.
var widths = map[byte]int{'b': 1, 'w': 2, 'l': 4, 'q': 8}

func (s *Server) handle(words []string) string {
	r := &request{words: words}
	reply := s.dispatch(r)
	if r.err != nil {
		return "FAIL " + r.err.Error()
	}
	return reply
}

func (s *Server) dispatch(r *request) string {
	name := r.words[0]
	switch name {
	case "read", "b64read":
		return s.readBlock(r, name == "b64read")
	case "write", "b64write", "memset":
		s.writeBlock(r)
		return "OK"
	case "endianness":
		return "OK little"
	case "clock_step":
		return s.clockStep(r)
	case "clock_set":
		to := r.number(1)
		if r.err == nil {
			s.t.Clock.Advance(int64(to))
		}
		return s.clockReply()
	case "irq_intercept_in", "irq_intercept_out":
		s.intercept(r, name == "irq_intercept_in")
		return "OK"
	case "set_irq_in":
		s.setIRQ(r)
		return "OK"
	}
	for stem, do := range map[string]func(*request, int) string{"in": s.in, "out": s.outPort, "read": s.read, "write": s.write} {
		if rest, ok := strings.CutPrefix(name, stem); ok && len(rest) == 1 {
			w := widths[rest[0]]
			if w != 0 && (w < 8 || stem == "read" || stem == "write") {
				return do(r, w)
			}
		}
	}
	return fmt.Sprintf("FAIL Unknown command '%s'", name)
}

func (s *Server) in(r *request, width int) string {
	port := r.number(1)
	if r.err != nil {
		return ""
	}
	var buf [8]byte
	s.t.IO.ReadIO(port&0xffff, buf[:width])
	return fmt.Sprintf("OK 0x%04x", value(buf))
}

func (s *Server) outPort(r *request, width int) string {
	port, v := r.number(1), r.number(2)
	if r.err == nil {
		buf := bytesOf(v)
		s.t.IO.WriteIO(port&0xffff, buf[:width])
	}
	return "OK"
}

func (s *Server) read(r *request, width int) string {
	addr := r.number(1)
	if r.err != nil {
		return ""
	}
	var buf [8]byte
	r.err = s.t.Mem.Read(addr, buf[:width])
	return fmt.Sprintf("OK 0x%016x", value(buf))
}

func (s *Server) write(r *request, width int) string {
	addr, v := r.number(1), r.number(2)
	if r.err == nil {
		buf := bytesOf(v)
		r.err = s.t.Mem.Write(addr, buf[:width])
	}
	return "OK"
}

func value(b [8]byte) (v uint64) {
	for i := 7; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

func bytesOf(v uint64) (b [8]byte) {
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
	return b
}

func (s *Server) readBlock(r *request, b64 bool) string {
	addr, n := r.number(1), r.length(2)
	if r.err != nil {
		return ""
	}
	buf := make([]byte, n)
	if r.err = s.t.Mem.Read(addr, buf); r.err != nil {
		return ""
	}
	if b64 {
		return "OK " + base64.StdEncoding.EncodeToString(buf)
	}
	return "OK 0x" + hex.EncodeToString(buf)
}

func (s *Server) writeBlock(r *request) {
	addr, n := r.number(1), r.length(2)
	if r.err != nil || n == 0 {
		return
	}
	buf := make([]byte, n)
	switch r.words[0] {
	case "memset":
		v := r.number(3)
		for i := range buf {
			buf[i] = byte(v)
		}
	case "b64write":
		data, err := base64.StdEncoding.DecodeString(r.text(3))
		if err != nil {
			r.fail("data is not base64")
		}
		copy(buf, data)
	default:
		digits, ok := strings.CutPrefix(r.text(3), "0x")
		data, err := hex.DecodeString(digits)
		if !ok || err != nil {
			r.fail("data is not hexadecimal")
		}
		copy(buf, data)
	}
	if r.err == nil {
		r.err = s.t.Mem.Write(addr, buf)
	}
}

func (s *Server) clockStep(r *request) string {
	now := s.t.Clock.Now()
	if len(r.words) > 1 {
		step := r.number(1)
		if r.err != nil {
			return ""
		}
		s.t.Clock.Advance(now + int64(step))
	} else if next, armed := s.t.Clock.NextDeadline(); armed {
		s.t.Clock.Advance(max(now, next))
	}
	return s.clockReply()
}

func (s *Server) clockReply() string { return fmt.Sprintf("OK %d", s.t.Clock.Now()) }

// deviceAt finds a device by QOM path, on the lane.
func (s *Server) deviceAt(r *request, path string) (d device.Device) {
	err := s.t.Lane.Do(context.Background(), func() {
		o, _ := s.t.Root.Resolve(path)
		d, _ = o.(device.Device)
	})
	if err != nil || d == nil {
		r.fail("Unknown device '%s'", path)
	}
	return d
}

func (s *Server) intercept(r *request, in bool) {
	d := s.deviceAt(r, r.text(1))
	if r.err != nil {
		return
	}
	report := func(n int) func(bool) {
		return func(high bool) {
			what := "lower"
			if high {
				what = "raise"
			}
			_ = s.send(fmt.Sprintf("IRQ %s %d", what, n)) // a peer that has gone needs no report
		}
	}
	var undo []func()
	if in {
		for i, p := range d.Dev().Inputs("") {
			p.Watch(report(i), false)
			undo = append(undo, func() { p.Watch(nil, false) })
		}
	} else {
		for i, l := range d.Dev().Outputs() {
			l.Watch(report(i))
			undo = append(undo, func() { l.Watch(nil) })
		}
	}
	s.mu.Lock()
	s.unwatch = append(s.unwatch, undo...)
	s.mu.Unlock()
}

func (s *Server) setIRQ(r *request) {
	path, name := r.text(1), r.text(2)
	n, level := r.number(3), r.number(4)
	d := s.deviceAt(r, path)
	if r.err != nil {
		return
	}
	if name == "unnamed-gpio-in" {
		name = ""
	}
	pins := d.Dev().Inputs(name)
	if n >= uint64(len(pins)) {
		r.fail("'%s' has no input %d of that name", path, n)
		return
	}
	key := fmt.Sprint(path, " ", name, " ", n)
	l := s.set[key]
	if l == nil {
		l = pins[n].Connect("qtest")
		s.set[key] = l
	}
	l.SetLevel(level != 0)
}
