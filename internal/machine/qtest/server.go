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
	"math"
	"strconv"
	"strings"

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
	t       Target
	out     *outbox
	driven  map[*device.Pin]*device.Line // what set_irq_in drives, for good
	watched *device.Base                 // whose interrupts are reported
	watchIn bool
	unwatch []func()
}

// New returns a server for t.
func New(t Target) *Server { return &Server{t: t, driven: map[*device.Pin]*device.Line{}} }

// Serve answers requests from conn until it ends.
func (s *Server) Serve(conn io.ReadWriter) error {
	s.out = newOutbox(conn)
	defer s.forget()
	in := bufio.NewScanner(conn)
	in.Buffer(make([]byte, 0, 4096), maxLine)
	for in.Scan() {
		words := strings.Fields(in.Text())
		if len(words) == 0 {
			continue
		}
		reply := s.handle(words)
		// What the request has posted to the lane is done before the answer:
		// the peer sees a machine that is at rest.
		_ = s.t.Lane.Do(context.Background(), func() {})
		if err := s.out.reply(reply); err != nil {
			return err
		}
	}
	return in.Err()
}

func (s *Server) forget() {
	for _, fn := range s.unwatch {
		fn()
	}
	s.unwatch, s.watched = nil, nil
	s.out.close()
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
		r.fail("'%s' is not a number", shorten(r.words[i]))
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
		return s.clockTo(r, 0, r.number(1))
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
	return fmt.Sprintf("FAIL Unknown command '%s'", shorten(name))
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
		return s.clockTo(r, now, r.number(1))
	}
	if next, armed := s.t.Clock.NextDeadline(); armed {
		s.t.Clock.Advance(max(now, next))
	}
	return s.clockReply()
}

// clockTo moves the clock to a time after from. It cannot go back.
func (s *Server) clockTo(r *request, from int64, after uint64) string {
	if after > uint64(math.MaxInt64-from) {
		r.fail("the clock cannot go beyond 2^63 ns")
	}
	if r.err != nil {
		return ""
	}
	s.t.Clock.Advance(from + int64(after))
	return s.clockReply()
}

func (s *Server) clockReply() string { return fmt.Sprintf("OK %d", s.t.Clock.Now()) }

// withDevice finds a device by QOM path and calls fn with it, on the lane.
func (s *Server) withDevice(r *request, path string, fn func(*device.Base)) {
	if r.err != nil {
		return
	}
	err := s.t.Lane.Do(context.Background(), func() {
		o, _ := s.t.Root.Resolve(path)
		if d, ok := o.(device.Device); ok {
			fn(d.Dev())
		} else {
			r.fail("Unknown device '%s'", shorten(path))
		}
	})
	if err != nil {
		r.fail("%v", err)
	}
}

// intercept reports the changes of a device's inputs or outputs; nothing stops them.
func (s *Server) intercept(r *request, in bool) {
	s.withDevice(r, r.text(1), func(d *device.Base) {
		switch {
		case s.watched == nil:
		case s.watched == d && s.watchIn == in:
			return
		default:
			r.fail("IRQ intercept already enabled")
			return
		}
		s.watched, s.watchIn = d, in
		if in {
			for i, p := range d.Inputs("") {
				p.Watch(s.reporter(i), false)
				s.unwatch = append(s.unwatch, func() { p.Watch(nil, false) })
			}
			return
		}
		for i, l := range d.Outputs() {
			l.Watch(s.reporter(i))
			s.unwatch = append(s.unwatch, func() { l.Watch(nil) })
		}
	})
}

func (s *Server) reporter(n int) func(high bool) {
	out, raise, lower := s.out, fmt.Sprintf("IRQ raise %d", n), fmt.Sprintf("IRQ lower %d", n)
	return func(high bool) {
		if high {
			out.report(raise)
		} else {
			out.report(lower)
		}
	}
}

func (s *Server) setIRQ(r *request) {
	path, name := r.text(1), r.text(2)
	n, level := r.number(3), r.number(4)
	if name == "unnamed-gpio-in" {
		name = ""
	}
	s.withDevice(r, path, func(d *device.Base) {
		pins := d.Inputs(name)
		if n >= uint64(len(pins)) {
			r.fail("'%s' has no input %d of that name", shorten(path), n)
			return
		}
		l := s.driven[pins[n]]
		if l == nil {
			l = pins[n].Connect("qtest")
			s.driven[pins[n]] = l
		}
		l.SetLevel(level != 0)
	})
}

// shorten keeps a peer's word from coming back in full length.
func shorten(word string) string {
	const most = 80
	if len(word) <= most {
		return word
	}
	return word[:most] + "..."
}
