package scsi

import (
	"encoding/binary"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/device/scsi/sense"
)

// CDBSize is how many bytes of a command are looked at.
const CDBSize = 16

// Status of a command (SAM-5, section 5.3.1).
const (
	StatusGood           = 0x00
	StatusCheckCondition = 0x02
)

// Request is a command under way. The host adapter keeps it in its own pooled
// structure, calls Init once, and sets what is exported before Bus.Start.
type Request struct {
	CDB     [CDBSize]byte // padded with zeroes
	In, Out block.Vec     // memory for data to the host, and from it; lent until the end
	Tag     uint64        // the host's name for it among those of a unit

	// Results:

	Status    byte
	SenseCode sense.Code
	Moved     int  // bytes of data that were moved
	Aborted   bool // by a task management function: the host gets no status

	Owner any // whatever the adapter wants to find again in Done
	done  func(*Request)

	unit       *Unit
	io         block.Request
	want       int // bytes that the command moves by the block layer
	prev, next *Request
	aborts     []*Abort    // who wait for its end
	aborting   atomic.Bool // there are some

	// Of commands that take several steps: UNMAP and WRITE SAME.
	pos, end int64
	params   []byte   // descriptors
	pattern  [][]byte // a block of data, again and again
}

// Init says what the request's end is told to, on whatever goroutine.
func (r *Request) Init(done func(*Request)) {
	r.done = done
	r.io.Owner = r
	r.io.Done = ioDone
}

// begin forgets what was before.
func (r *Request) begin() {
	r.Status, r.SenseCode, r.Moved, r.Aborted = StatusGood, sense.None, 0, false
	r.want, r.pos, r.end, r.aborts, r.unit = 0, 0, 0, nil, nil
	r.io.Flags, r.io.Off, r.io.Len, r.io.Vec, r.io.NoAccounting = 0, 0, 0, block.Vec{}, false
}

// keepParams is how large a buffer a request that is not in use keeps, in bytes.
const keepParams = 4096

// Drop lets go of the memory that was lent.
func (r *Request) Drop() {
	r.In, r.Out, r.io.Vec, r.unit = block.Vec{}, block.Vec{}, block.Vec{}, nil
	if cap(r.params) > keepParams {
		r.params, r.pattern = nil, nil
	}
}

// fail has the request end with sense data.
func (r *Request) fail(c sense.Code) Result {
	r.Status, r.SenseCode = StatusCheckCondition, c
	return Ended
}

// reply ends the request with data.
func (r *Request) reply(p []byte) Result {
	n := min(len(p), r.In.Len())
	if err := r.In.To(n).Write(p[:n]); err != nil {
		return r.fail(sense.InternalFailure)
	}
	r.Moved = n
	return Ended
}

// fits reports whether there is memory for the data that the command moves.
func (r *Request) fits(c *command, u *Unit) bool {
	if c.length == nil {
		return true
	}
	block := uint64(1)
	if u != nil {
		block = u.block
	}
	n := c.length(r.CDB[:], block)
	switch {
	case n == 0:
		return true
	case c.out:
		return n <= uint64(r.Out.Len())
	}
	return n <= uint64(r.In.Len())
}

func be16(p []byte) uint64 { return uint64(binary.BigEndian.Uint16(p)) }
func be32(p []byte) uint64 { return uint64(binary.BigEndian.Uint32(p)) }
func be64(p []byte) uint64 { return binary.BigEndian.Uint64(p) }

// extent is what a command to the medium is about: blocks from lba on. Its place in
// a command follows from the command's size (SPC-4, section 4.2.5).
func extent(cdb []byte) (lba, blocks uint64) {
	switch cdb[0] >> 5 {
	case 0: // 6 bytes
		lba, blocks = uint64(cdb[1]&0x1f)<<16|be16(cdb[2:]), uint64(cdb[4])
		if blocks == 0 {
			blocks = 256
		}
	case 1, 2:
		lba, blocks = be32(cdb[2:]), be16(cdb[7:])
	case 4:
		lba, blocks = be64(cdb[2:]), be32(cdb[10:])
	case 5:
		lba, blocks = be32(cdb[2:]), be32(cdb[6:])
	}
	return lba, blocks
}
