package server

import (
	"encoding/binary"
	"net"

	"govmd/internal/block/nbd/wire"
)

// copied is up to how many bytes data are put beside their header rather than sent
// from where they are.
const copied = 4 << 10

// replyBuffer is how much of replies is collected before it is sent.
const replyBuffer = 32 << 10

// heads is the room that is kept in it for the heads of one reply's chunks, in bytes.
const heads = 4 << 10

// replies sends replies; several go in one system call.
type replies struct {
	conn net.Conn
	out  []byte
	pair [2][]byte
	both net.Buffers
}

func (w *replies) init(conn net.Conn) {
	w.conn, w.out = conn, make([]byte, 0, replyBuffer)
}

// flush sends what has been collected.
func (w *replies) flush() error {
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.conn.Write(w.out)
	w.out = w.out[:0]
	return err
}

// data sends p behind what has been collected.
func (w *replies) data(p []byte) error {
	if len(p) <= copied && len(w.out)+len(p) <= replyBuffer-heads {
		w.out = append(w.out, p...)
		return nil
	}
	w.pair[0], w.pair[1] = w.out, p
	w.both = w.pair[:]
	_, err := w.both.WriteTo(w.conn)
	w.pair[1] = nil
	w.out = w.out[:0]
	return err
}

// add sends, or collects, the reply to a request.
func (w *replies) add(r *request) error {
	if len(w.out) > replyBuffer-heads {
		if err := w.flush(); err != nil {
			return err
		}
	}
	structured := r.c.structured
	switch {
	case r.errno != 0 && structured:
		return w.failure(r)
	case r.errno == 0 && structured && r.cmd == wire.CmdRead:
		return w.read(r)
	case r.errno == 0 && r.cmd == wire.CmdBlockStatus:
		return w.status(r)
	}
	be := binary.BigEndian
	w.out = be.AppendUint32(w.out, wire.SimpleMagic)
	w.out = be.AppendUint32(w.out, wire.FromErrno(r.errno))
	w.out = be.AppendUint64(w.out, r.cookie)
	if r.errno == 0 && r.cmd == wire.CmdRead {
		return w.data(r.buffer.B)
	}
	return nil
}

// chunk begins a chunk of a structured reply with n bytes.
func (w *replies) chunk(r *request, kind wire.Chunk, last bool, n int) {
	be := binary.BigEndian
	var flags uint16
	if last {
		flags = wire.ChunkDone
	}
	w.out = be.AppendUint32(w.out, wire.StructuredMagic)
	w.out = be.AppendUint16(w.out, flags)
	w.out = be.AppendUint16(w.out, uint16(kind))
	w.out = be.AppendUint64(w.out, r.cookie)
	w.out = be.AppendUint32(w.out, uint32(n))
}

func (w *replies) failure(r *request) error {
	text := r.text
	if text == "" {
		text = r.errno.Error()
	}
	w.chunk(r, wire.ChunkError, true, 6+len(text))
	w.out = binary.BigEndian.AppendUint32(w.out, wire.FromErrno(r.errno))
	w.out = binary.BigEndian.AppendUint16(w.out, uint16(len(text)))
	w.out = append(w.out, text...)
	return nil
}

// read sends the pieces of a read.
func (w *replies) read(r *request) error {
	be := binary.BigEndian
	if r.n == 0 {
		w.chunk(r, wire.ChunkNone, true, 0)
		return nil
	}
	done := 0
	for i, p := range r.pieces {
		last := i == len(r.pieces)-1
		off := r.off + uint64(done)
		if p.hole {
			w.chunk(r, wire.ChunkOffsetHole, last, 12)
			w.out = be.AppendUint64(w.out, off)
			w.out = be.AppendUint32(w.out, uint32(p.n))
		} else {
			w.chunk(r, wire.ChunkOffsetData, last, 8+p.n)
			w.out = be.AppendUint64(w.out, off)
			if err := w.data(r.buffer.B[done : done+p.n]); err != nil {
				return err
			}
		}
		done += p.n
	}
	return nil
}

func (w *replies) status(r *request) error {
	from := 0
	for i, end := range r.ends {
		w.chunk(r, wire.ChunkBlockStatus, i == len(r.ends)-1, end-from)
		if err := w.data(r.status[from:end]); err != nil {
			return err
		}
		from = end
	}
	return nil
}
