// Package mux carries several byte streams and small messages over one
// connection, with flow control for each stream: a reader that stops reading
// stops its own stream only. The nested host talks to its outside through it.
//
// A frame is a header of eight bytes (kind, three bytes of length, four bytes of
// stream number, little-endian) and a payload. Both ends trust each other; a
// frame that breaks the rules ends the connection with an error.
package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	headerLen = 8
	// maxPayload is the longest payload of a frame.
	maxPayload = 1 << 20
	// chunk is the longest payload of a data frame, small so that streams
	// share the connection fairly.
	chunk = 32 << 10
	// window is how many bytes of a stream may be on their way unread.
	window = 256 << 10
)

const (
	kindData = iota + 1
	kindCredit
	kindEOF
	kindMessage
)

// A Conn is one end of the connection.
type Conn struct {
	rw io.ReadWriteCloser

	// Neither lock is taken under the other.
	writeMu sync.Mutex
	frame   []byte // guarded by writeMu

	mu      sync.Mutex
	streams map[uint32]*Stream
	err     error // why the connection ended

	messages chan []byte
}

// New returns a Conn on rw, and reads from it until it ends.
func New(rw io.ReadWriteCloser) *Conn {
	c := &Conn{rw: rw, streams: make(map[uint32]*Stream), messages: make(chan []byte, 64)}
	go c.readLoop()
	return c
}

// Close closes the connection below; streams and messages end.
func (c *Conn) Close() error { return c.rw.Close() }

// Messages delivers what the other end gave to Send, in order. It is closed when
// the connection has ended. Somebody must receive from it: streams wait behind a
// message that nobody takes.
func (c *Conn) Messages() <-chan []byte { return c.messages }

// Send sends one message, of at most 1 MiB.
func (c *Conn) Send(message []byte) error {
	if len(message) > maxPayload {
		return fmt.Errorf("mux: a message of %d bytes is too long", len(message))
	}
	return c.write(kindMessage, 0, message)
}

func (c *Conn) write(kind byte, id uint32, payload []byte) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.frame = append(c.frame[:0], kind, byte(len(payload)), byte(len(payload)>>8), byte(len(payload)>>16))
	c.frame = binary.LittleEndian.AppendUint32(c.frame, id)
	c.frame = append(c.frame, payload...)
	_, err := c.rw.Write(c.frame)
	return err
}

func (c *Conn) readLoop() {
	err := c.readFrames()
	c.mu.Lock()
	c.err = err
	for _, s := range c.streams {
		s.cond.Broadcast()
	}
	c.mu.Unlock()
	close(c.messages)
}

func (c *Conn) readFrames() error {
	var header [headerLen]byte
	for {
		if _, err := io.ReadFull(c.rw, header[:]); err != nil {
			return err
		}
		kind := header[0]
		id := binary.LittleEndian.Uint32(header[4:])
		length := int(header[1]) | int(header[2])<<8 | int(header[3])<<16
		if length > maxPayload {
			return fmt.Errorf("mux: a frame of %d bytes is too long", length)
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(c.rw, payload); err != nil {
			return err
		}
		switch kind {
		case kindMessage:
			c.messages <- payload
		case kindCredit:
			// Credit for a stream that both ends have closed is of no use.
			c.mu.Lock()
			s := c.streams[id]
			c.mu.Unlock()
			if s == nil {
				continue
			}
			if err := s.receive(kind, payload); err != nil {
				return err
			}
		case kindData, kindEOF:
			if err := c.Stream(id).receive(kind, payload); err != nil {
				return err
			}
		default:
			return fmt.Errorf("mux: unknown frame kind %d", kind)
		}
	}
}

// Stream returns the stream with that number; it exists on both ends from its
// first use on either, until both ends have closed it.
func (c *Conn) Stream(id uint32) *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	if s == nil {
		s = &Stream{conn: c, id: id, credit: window}
		s.cond.L = &c.mu
		c.streams[id] = s
	}
	return s
}

// A Stream is a byte stream in both directions. It may be read by one goroutine
// and written by another.
type Stream struct {
	conn *Conn
	id   uint32

	// All below is guarded by conn.mu.
	cond    sync.Cond
	unread  []byte
	credit  int  // bytes that may still be sent
	ended   bool // the other end has closed its side
	closed  bool // this end has closed its side
	removed bool
}

func (s *Stream) receive(kind byte, payload []byte) error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	switch kind {
	case kindData:
		if len(s.unread)+len(payload) > window || s.ended {
			return errors.New("mux: more data than the window allows")
		}
		s.unread = append(s.unread, payload...)
	case kindCredit:
		if len(payload) != 4 {
			return errors.New("mux: a credit frame of the wrong size")
		}
		s.credit += int(binary.LittleEndian.Uint32(payload))
	case kindEOF:
		s.ended = true
		s.remove()
	}
	s.cond.Broadcast()
	return nil
}

// remove forgets a stream that both ends have closed. Needs conn.mu.
func (s *Stream) remove() {
	if s.ended && s.closed && !s.removed {
		s.removed = true
		delete(s.conn.streams, s.id)
	}
}

// Read implements io.Reader; it returns io.EOF after the other end's CloseWrite.
func (s *Stream) Read(p []byte) (int, error) {
	c := s.conn
	c.mu.Lock()
	for len(s.unread) == 0 && !s.ended && c.err == nil {
		s.cond.Wait()
	}
	if len(s.unread) == 0 {
		defer c.mu.Unlock()
		if s.ended {
			return 0, io.EOF
		}
		return 0, c.err
	}
	n := copy(p, s.unread)
	s.unread = s.unread[n:]
	ended := s.ended
	c.mu.Unlock()
	if ended || n == 0 {
		return n, nil
	}
	// A lost connection shows at the next read.
	_ = c.write(kindCredit, s.id, binary.LittleEndian.AppendUint32(nil, uint32(n)))
	return n, nil
}

// Write implements io.Writer; it waits while the other end does not read.
func (s *Stream) Write(p []byte) (int, error) {
	c := s.conn
	written := 0
	for written < len(p) {
		c.mu.Lock()
		for s.credit == 0 && !s.closed && c.err == nil {
			s.cond.Wait()
		}
		if s.closed || c.err != nil {
			defer c.mu.Unlock()
			if s.closed {
				return written, io.ErrClosedPipe
			}
			return written, c.err
		}
		n := min(len(p)-written, s.credit, chunk)
		s.credit -= n
		c.mu.Unlock()
		if err := c.write(kindData, s.id, p[written:written+n]); err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

// CloseWrite tells the other end that nothing more comes.
func (s *Stream) CloseWrite() error {
	c := s.conn
	c.mu.Lock()
	if s.closed {
		c.mu.Unlock()
		return nil
	}
	s.closed = true
	s.remove()
	s.cond.Broadcast()
	c.mu.Unlock()
	return c.write(kindEOF, s.id, nil)
}
