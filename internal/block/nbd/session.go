package nbd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/block/nbd/wire"
)

// maxInFlight is how many requests share a connection at once.
const maxInFlight = 64

// readBuffer is how much is read from a connection at once, unless it goes
// straight into the memory of a request.
const readBuffer = 32 << 10

// errLost is how requests end whose connection went away.
var errLost = errors.New("connection lost")

// call is a request as a caller makes it.
type call struct {
	cmd   wire.Command
	flags uint16
	off   uint64
	n     uint32
	vec   block.Vec // what is written, or where what is read goes
}

// extent is the answer to a block status request: n bytes, all alike.
type extent struct {
	n     int64
	flags uint32
}

// slot is a request in flight. Between its being sent and its end it belongs to
// the reader.
type slot struct {
	call
	busy  bool // guarded by session.mu
	turn  uint32
	err   error
	got   uint64 // bytes of a read that have come
	first extent
	done  chan struct{} // capacity 1
}

// session is one connection to a server, past the negotiation.
type session struct {
	conn    net.Conn
	export  *wire.Export
	context uint32 // number of the meta context whose status is asked for

	in  *bufio.Reader
	raw syscall.RawConn // nil where data does not come as it is on the wire (TLS)
	// What the raw connection is to read into, and what came of it.
	rvec block.Vec
	rn   int
	rerr error
	iov  []unix.Iovec
	rfn  func(fd uintptr) bool
	head [wire.StructuredSize]byte
	body [12]byte // of the beginning of a chunk

	sendMu sync.Mutex // held while a request is sent; guards what follows
	header [wire.RequestSize]byte
	segs   [][]byte
	out    net.Buffers
	bounce []byte // data on its way into TLS

	free  chan int      // slots
	ended chan struct{} // closed when the reader has returned

	mu    sync.Mutex // guards dead, and who a slot belongs to
	dead  bool
	slots [maxInFlight]slot
}

// maxIovecs is how many segments one system call takes (UIO_MAXIOV).
const maxIovecs = 1024

func newSession(conn net.Conn, e *wire.Export, context string) *session {
	s := &session{conn: conn, export: e, free: make(chan int, maxInFlight), ended: make(chan struct{})}
	s.context = e.Contexts[context]
	s.in = bufio.NewReaderSize(conn, readBuffer)
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.rfn = s.readv
	for i := range s.slots {
		s.slots[i].done = make(chan struct{}, 1)
		s.free <- i
	}
	go s.read()
	return s
}

// do sends a request and waits for its end. It returns errLost when the
// connection goes away, and an error number of the server's otherwise.
func (s *session) do(c call) (extent, error) {
	var i int
	select {
	case i = <-s.free:
	case <-s.ended:
		return extent{}, errLost
	}
	sl := &s.slots[i]
	s.mu.Lock()
	if s.dead {
		s.mu.Unlock()
		return extent{}, errLost
	}
	sl.call, sl.busy, sl.err, sl.got, sl.first = c, true, nil, 0, extent{}
	sl.turn++
	cookie := uint64(sl.turn)<<16 | uint64(i)
	s.mu.Unlock()
	if err := s.send(c, cookie); err != nil {
		_ = s.conn.Close() // the reader ends, and with it all requests
	}
	<-sl.done
	ext, err := sl.first, sl.err
	sl.vec = block.Vec{}
	s.free <- i
	return ext, err
}

// send sends a request's header, and the data of a write.
func (s *session) send(c call, cookie uint64) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	wire.PutRequest(&s.header, c.flags, c.cmd, cookie, c.off, c.n)
	if c.cmd != wire.CmdWrite {
		_, err := s.conn.Write(s.header[:])
		return err
	}
	if s.raw == nil {
		return s.sendCopy(c.vec)
	}
	s.segs = c.vec.Segments(append(s.segs[:0], s.header[:]))
	s.out = s.segs
	_, err := s.out.WriteTo(s.conn)
	clear(s.segs) // the memory may go away once the request has ended
	return err
}

// sendCopy sends header and data over a connection whose code would touch the
// memory of the request itself.
func (s *session) sendCopy(v block.Vec) error {
	if s.bounce == nil {
		s.bounce = make([]byte, 64<<10)
	}
	n := copy(s.bounce, s.header[:])
	for {
		k := min(v.Len(), len(s.bounce)-n)
		if err := v.To(k).Read(s.bounce[n:]); err != nil {
			return err
		}
		if _, err := s.conn.Write(s.bounce[:n+k]); err != nil {
			return err
		}
		if v, n = v.From(k), 0; v.Len() == 0 {
			return nil
		}
	}
}

// read is the reader: it takes replies until the connection ends, and then ends
// all requests.
func (s *session) read() {
	for s.readReply() == nil {
	}
	_ = s.conn.Close()
	s.mu.Lock()
	s.dead = true
	for i := range s.slots {
		if sl := &s.slots[i]; sl.busy {
			sl.busy, sl.err = false, errLost
			sl.done <- struct{}{}
		}
	}
	s.mu.Unlock()
	close(s.ended)
}

// readReply takes one reply, or one chunk of a structured one. An error ends the
// connection.
func (s *session) readReply() error {
	be := binary.BigEndian
	if _, err := io.ReadFull(s.in, s.head[:wire.SimpleSize]); err != nil {
		return err
	}
	switch magic := be.Uint32(s.head[:]); magic {
	case wire.SimpleMagic:
		sl, err := s.slot(be.Uint64(s.head[8:]))
		if err != nil {
			return err
		}
		return s.simple(sl, be.Uint32(s.head[4:]))
	case wire.StructuredMagic:
		if !s.export.Structured {
			return errors.New("Protocol error: structured reply was not negotiated")
		}
		if _, err := io.ReadFull(s.in, s.head[wire.SimpleSize:]); err != nil {
			return err
		}
		sl, err := s.slot(be.Uint64(s.head[8:]))
		if err != nil {
			return err
		}
		if err := s.chunk(sl, wire.Chunk(be.Uint16(s.head[6:])), be.Uint32(s.head[16:])); err != nil {
			return err
		}
		if be.Uint16(s.head[4:])&wire.ChunkDone != 0 {
			s.end(sl)
		}
		return nil
	default:
		return fmt.Errorf("Protocol error: invalid magic 0x%08x of a reply", magic)
	}
}

// slot returns the request that a reply is for.
func (s *session) slot(cookie uint64) (*slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := cookie & 0xffff; i < maxInFlight {
		if sl := &s.slots[i]; sl.busy && uint64(sl.turn) == cookie>>16 {
			return sl, nil
		}
	}
	return nil, errors.New("Protocol error: reply to a request that was not made")
}

// end ends a request.
func (s *session) end(sl *slot) {
	if sl.err == nil && sl.cmd == wire.CmdRead && sl.got != uint64(sl.n) {
		sl.err = block.ErrIO // the server said nothing of some of it
	}
	if sl.err == nil && sl.cmd == wire.CmdBlockStatus && sl.first.n == 0 {
		sl.err = block.ErrIO
	}
	s.mu.Lock()
	sl.busy = false
	s.mu.Unlock()
	sl.done <- struct{}{}
}

func (s *session) simple(sl *slot, code uint32) error {
	if s.export.Structured && (sl.cmd == wire.CmdRead || sl.cmd == wire.CmdBlockStatus) {
		return errors.New("Protocol error: simple reply when structured reply chunk was expected")
	}
	if code != 0 {
		sl.err = wire.ToErrno(code)
	} else if sl.cmd == wire.CmdRead {
		if err := s.data(sl, sl.off, sl.n); err != nil {
			return err
		}
	}
	s.end(sl)
	return nil
}

// chunk takes the n bytes of a chunk.
func (s *session) chunk(sl *slot, kind wire.Chunk, n uint32) error {
	be := binary.BigEndian
	take := func(k uint32) ([]byte, error) {
		if n < k {
			return nil, fmt.Errorf("Protocol error: a chunk of type %d has only %d bytes", kind, n)
		}
		n -= k
		_, err := io.ReadFull(s.in, s.body[:k])
		return s.body[:k], err
	}
	switch {
	case kind == wire.ChunkNone && n == 0:
		return nil
	case kind == wire.ChunkOffsetData && sl.cmd == wire.CmdRead:
		h, err := take(8)
		if err != nil {
			return err
		}
		return s.data(sl, be.Uint64(h), n)
	case kind == wire.ChunkOffsetHole && sl.cmd == wire.CmdRead && n == 12:
		h, err := take(8)
		if err != nil {
			return err
		}
		off := be.Uint64(h)
		if h, err = take(4); err != nil {
			return err
		}
		return s.hole(sl, off, be.Uint32(h))
	case kind == wire.ChunkBlockStatus && sl.cmd == wire.CmdBlockStatus:
		return s.extents(sl, n)
	case kind == wire.ChunkError, kind == wire.ChunkErrorOffset:
		h, err := take(6)
		if err != nil {
			return err
		}
		if code := wire.ToErrno(be.Uint32(h)); sl.err == nil {
			sl.err = unix.EINVAL
			if code != 0 {
				sl.err = code
			}
		}
		return s.skip(n, wire.MaxString+8)
	case kind.IsError():
		sl.err = block.ErrIO
		return s.skip(n, wire.MaxString+8)
	}
	return fmt.Errorf("Protocol error: unexpected chunk of type %d and %d bytes", kind, n)
}

func (s *session) skip(n, limit uint32) error {
	if n > limit {
		return fmt.Errorf("Protocol error: a chunk has %d bytes more than it may", n)
	}
	_, err := s.in.Discard(int(n))
	return err
}

// part returns the part of a read's memory that is for n bytes at off.
func (sl *slot) part(off uint64, n uint32) (block.Vec, error) {
	if off < sl.off || n == 0 || n > sl.n || off-sl.off > uint64(sl.n-n) {
		return block.Vec{}, fmt.Errorf("Protocol error: server sent chunk exceeding requested region: %d bytes at %d", n, off)
	}
	sl.got += uint64(n)
	return sl.vec.Slice(int(off-sl.off), int(off-sl.off)+int(n)), nil
}

func (s *session) hole(sl *slot, off uint64, n uint32) error {
	v, err := sl.part(off, n)
	if err != nil {
		return err
	}
	if err := v.Zero(); err != nil {
		sl.err = err
	}
	return nil
}

// data takes n bytes of a read. A request whose memory is gone does not take the
// others' connection with it.
func (s *session) data(sl *slot, off uint64, n uint32) error {
	v, err := sl.part(off, n)
	if err != nil {
		return err
	}
	for v.Len() > 0 {
		var k int
		if s.in.Buffered() > 0 || s.raw == nil {
			k, err = s.copyIn(v)
		} else {
			k, err = s.readIn(v)
		}
		if errors.Is(err, block.ErrFault) {
			sl.err = block.ErrFault
			_, err = s.in.Discard(v.Len())
			return err
		}
		if err != nil {
			return err
		}
		v = v.From(k)
	}
	return nil
}

// copyIn moves what has been read already, or what one read brings.
func (s *session) copyIn(v block.Vec) (int, error) {
	if s.in.Buffered() == 0 {
		if _, err := s.in.Peek(1); err != nil {
			return 0, err
		}
	}
	k := min(v.Len(), s.in.Buffered())
	p, err := s.in.Peek(k)
	if err == nil {
		err = v.To(k).Write(p)
	}
	if err == nil {
		_, err = s.in.Discard(k)
	}
	return k, err
}

// readIn has the kernel write to the request's memory.
func (s *session) readIn(v block.Vec) (int, error) {
	s.rvec, s.rn, s.rerr = v, 0, nil
	err := s.raw.Read(s.rfn)
	s.rvec = block.Vec{}
	switch {
	case err != nil:
		return 0, err
	case s.rerr != nil:
		return 0, s.rerr
	case s.rn == 0:
		return 0, io.ErrUnexpectedEOF
	}
	return s.rn, nil
}

// extents takes a list of extents, of which the first is of interest.
func (s *session) extents(sl *slot, n uint32) error {
	p := s.body[:4+8]
	if n < uint32(len(p)) || (n-4)%8 != 0 {
		return fmt.Errorf("Protocol error: invalid payload of %d bytes for block status", n)
	}
	if _, err := io.ReadFull(s.in, p); err != nil {
		return err
	}
	be := binary.BigEndian
	if id := be.Uint32(p); id != s.context {
		return fmt.Errorf("Protocol error: unexpected context id %d for block status", id)
	}
	e := extent{int64(be.Uint32(p[4:])), be.Uint32(p[8:])}
	if e.n == 0 || sl.first.n != 0 {
		return errors.New("Protocol error: server sent a status chunk of no length, or twice")
	}
	sl.first = e
	return s.skip(n-uint32(len(p)), 1<<20) // servers need not honour "only one"
}
