package server

import (
	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/block/nbd/wire"
)

// request is a client's request, from its being read until its reply is sent.
type request struct {
	block.Request
	c      *client
	flags  uint16
	cmd    wire.Command
	cookie uint64
	off    uint64
	n      uint32

	bytes  int // of the client's memory
	buffer *block.Buffer
	errno  unix.Errno
	text   string  // what is wrong, beside errno
	pieces []piece // of a read
	status []byte  // chunks of block status, without their heads
	ends   []int   // where each of them ends in status
}

// piece is a part of what was read: data, or a hole.
type piece struct {
	n    int
	hole bool
}

// fail has the request answered with an error.
func (r *request) fail(e unix.Errno, text string) bool {
	r.errno, r.text = e, text
	return false
}

// known are the flags that a command may have.
func (r *request) known() uint16 {
	x := r.c.offer.flags
	var f uint16
	if x&wire.FlagFUA != 0 {
		f |= wire.CmdFlagFUA // nothing comes of it where nothing is written
	}
	switch r.cmd {
	case wire.CmdRead:
		if r.c.structured {
			f |= wire.CmdFlagDF
		}
	case wire.CmdWriteZeroes:
		f |= wire.CmdFlagNoHole | wire.CmdFlagFastZero
	case wire.CmdBlockStatus:
		f |= wire.CmdFlagReqOne
	}
	return f
}

// check reports whether the request can be done; if not it has an error.
func (r *request) check() bool {
	writes := false
	switch r.cmd {
	case wire.CmdRead:
		if r.n > wire.MaxData {
			return r.fail(unix.EINVAL, "the read is too long")
		}
	case wire.CmdWrite, wire.CmdTrim, wire.CmdWriteZeroes:
		writes = true
	case wire.CmdFlush:
		r.off, r.n = 0, 0 // they are reserved
	case wire.CmdCache:
	case wire.CmdBlockStatus:
		if r.n == 0 {
			return r.fail(unix.EINVAL, "need non-zero length")
		}
		if r.c.contexts.count() == 0 {
			return r.fail(unix.EINVAL, "CMD_BLOCK_STATUS not negotiated")
		}
	default:
		return r.fail(unix.EINVAL, "unknown command")
	}
	if writes && !r.c.offer.export.Writable {
		return r.fail(unix.EPERM, "Export is read-only")
	}
	if size := uint64(r.c.size); r.off > size || uint64(r.n) > size-r.off {
		if r.cmd == wire.CmdWrite || r.cmd == wire.CmdWriteZeroes {
			return r.fail(unix.ENOSPC, "operation past EOF")
		}
		return r.fail(unix.EINVAL, "operation past EOF")
	}
	if r.flags&^r.known() != 0 {
		return r.fail(unix.EINVAL, "unsupported flags")
	}
	return true
}

// sparseRead is how long a read is at least, in bytes, for its holes to be looked for.
const sparseRead = 32 << 10

// submit hands the request to the export's queue.
func (r *request) submit() {
	r.Off, r.Len, r.Vec, r.Flags = int64(r.off), int64(r.n), block.Vec{}, 0
	fua := r.flags&wire.CmdFlagFUA != 0
	switch r.cmd {
	case wire.CmdRead:
		r.Op, r.Vec = block.OpRead, block.VecOf(r.buffer.B)
		r.pieces = append(r.pieces[:0], piece{n: int(r.n)})
		if r.c.structured && r.flags&wire.CmdFlagDF == 0 && r.n >= sparseRead {
			r.Op = block.OpCall
		}
	case wire.CmdWrite:
		r.Op, r.Vec = block.OpWrite, block.VecOf(r.buffer.B)
	case wire.CmdFlush:
		r.Op = block.OpFlush
	case wire.CmdTrim:
		r.Op = block.OpDiscard
	case wire.CmdWriteZeroes:
		r.Op = block.OpZeroes
		if r.flags&wire.CmdFlagNoHole == 0 {
			r.Flags |= block.MayUnmap
		}
		if r.flags&wire.CmdFlagFastZero != 0 {
			r.Flags |= block.NoFallback
		}
	default:
		r.Op = block.OpCall
	}
	if r.Op == block.OpWrite || r.Op == block.OpZeroes {
		if r.Flags |= r.c.offer.export.Flags(); fua {
			r.Flags |= block.FUA
		}
	}
	r.c.offer.export.Queue().Submit(&r.Request)
}

// finished is called by the queue.
func (r *request) finished(_ *block.Request, err error) {
	if err == nil && r.Op == block.OpDiscard && (r.flags&wire.CmdFlagFUA != 0 || r.c.offer.export.Writethrough) {
		r.Op = block.OpFlush
		r.c.offer.export.Queue().Submit(&r.Request)
		return
	}
	if err != nil {
		r.errno = block.Errno(err)
	}
	r.c.done <- r
}

// call does what is no plain request, on a goroutine of the queue.
func (r *request) call(*block.Request) error {
	switch r.cmd {
	case wire.CmdRead:
		return r.readSparse()
	case wire.CmdCache:
		return r.cache()
	}
	return r.blockStatus()
}

// maxPieces bounds the chunks of a read's reply; the rest of the read is one of data.
const maxPieces = 64

// readSparse reads data and notes holes.
func (r *request) readSparse() error {
	child := r.c.offer.export.Child()
	r.pieces = r.pieces[:0]
	for done := 0; done < int(r.n); {
		off, left := int64(r.off)+int64(done), int(r.n)-done
		p := piece{n: left}
		if len(r.pieces) < maxPieces-1 {
			st, _, err := child.Node().BlockStatusAbove(nil, off, int64(left), block.StatusZero)
			if err != nil {
				return err
			}
			if st.N > 0 {
				p = piece{int(st.N), st.Flags&block.StatusZero != 0}
			}
		}
		if !p.hole {
			if err := child.Pread(off, r.buffer.B[done:done+p.n]); err != nil {
				return err
			}
		}
		if last := len(r.pieces) - 1; last >= 0 && r.pieces[last].hole == p.hole {
			r.pieces[last].n += p.n
		} else {
			r.pieces = append(r.pieces, p)
		}
		done += p.n
	}
	return nil
}

// cacheStep is how much is read at once for CACHE, in bytes.
const cacheStep = 1 << 20

// cache reads for the side effects: the host's cache, copy-on-read.
func (r *request) cache() error {
	b := block.GetBuffer(int(min(r.n, cacheStep)))
	defer b.Release()
	for off, end := int64(r.off), int64(r.off)+int64(r.n); off < end; off += cacheStep {
		if err := r.c.offer.export.Child().Pread(off, b.B[:min(end-off, cacheStep)]); err != nil {
			return err
		}
	}
	return nil
}
