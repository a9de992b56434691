package scsi

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/device/scsi/sense"
)

// Bits of a command's second byte.
const (
	bitFUA        = 0x08
	bitUnmap      = 0x08
	bitNoData     = 0x01 // of WRITE SAME (16)
	verifyCompare = 0x06
	protectMask   = 0xe0
)

// inside reports whether blocks are on the medium. mu is held.
func (u *Unit) inside(lba, n uint64) bool {
	size := u.blocks()
	return lba <= size && n <= size-lba
}

// transfer begins a read or write.
func (u *Unit) transfer(r *Request, op block.Op, v block.Vec) Result {
	lba, n := extent(r.CDB[:])
	long := r.CDB[0]>>5 != 0
	switch {
	case long && r.CDB[1]&protectMask != 0:
		return r.fail(sense.InvalidField)
	case !u.inside(lba, n):
		u.backend.Stats().Invalid(op)
		return r.fail(sense.LBAOutOfRange)
	case n == 0:
		return Ended
	}
	r.want = int(n * u.block)
	r.io.Op, r.io.Off, r.io.Vec = op, int64(lba*u.block), v.To(r.want)
	if op == block.OpWrite && (long && r.CDB[1]&bitFUA != 0 || verified(r.CDB[0])) {
		r.io.Flags = block.FUA
	}
	return Begun
}

// verified reports whether a command is one of WRITE AND VERIFY.
func verified(op byte) bool { return op == 0x2e || op == 0x8e || op == 0xae }

func (u *Unit) read(r *Request) Result  { return u.transfer(r, block.OpRead, r.In) }
func (u *Unit) write(r *Request) Result { return u.transfer(r, block.OpWrite, r.Out) }

// seek is SEEK (10).
func (u *Unit) seek(r *Request) Result {
	if be32(r.CDB[2:]) >= u.blocks() {
		return r.fail(sense.LBAOutOfRange)
	}
	return Ended
}

// verify reads nothing: an image has no blocks that cannot be read until one tries.
// It does not compare.
func (u *Unit) verify(r *Request) Result {
	lba, n := extent(r.CDB[:])
	switch {
	case r.CDB[1]&(protectMask|verifyCompare) != 0:
		return r.fail(sense.InvalidField)
	case !u.inside(lba, n):
		return r.fail(sense.LBAOutOfRange)
	}
	return Ended
}

// synchronize is SYNCHRONIZE CACHE, which writes all that there is.
func (u *Unit) synchronize(r *Request) Result {
	if !u.inside(extent(r.CDB[:])) {
		return r.fail(sense.LBAOutOfRange)
	}
	r.io.Op = block.OpFlush
	return Begun
}

func (u *Unit) readCapacity10(r *Request) Result {
	if r.CDB[8]&1 == 0 && be32(r.CDB[2:]) != 0 {
		return r.fail(sense.InvalidField)
	}
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], uint32(min(max(u.blocks(), 1)-1, 1<<32-1)))
	binary.BigEndian.PutUint32(b[4:], uint32(u.block))
	return r.reply(b[:])
}

func (u *Unit) readCapacity16(r *Request) Result {
	if r.CDB[1]&0x1f != 0x10 || r.CDB[14]&1 == 0 && be64(r.CDB[2:]) != 0 {
		return r.fail(sense.InvalidField)
	}
	var b [32]byte
	binary.BigEndian.PutUint64(b[:], max(u.blocks(), 1)-1)
	binary.BigEndian.PutUint32(b[8:], uint32(u.block))
	for n := u.block; n < u.conf.PhysicalBlock; n <<= 1 {
		b[13]++
	}
	if !u.cd && u.discard() > 0 {
		b[14] = 0x80
	}
	return r.reply(b[:min(len(b), int(be32(r.CDB[10:])))])
}

// patternSize is how many bytes WRITE SAME writes at once.
const patternSize = 512 << 10

// writeSame is WRITE SAME (10) and (16) (SBC-3, section 5.45).
func (u *Unit) writeSame(r *Request) Result {
	lba, n := extent(r.CDB[:])
	noData := r.CDB[0] == 0x93 && r.CDB[1]&bitNoData != 0
	switch {
	case r.CDB[1]&^(bitUnmap|bitNoData) != 0 || n == 0:
		return r.fail(sense.InvalidField)
	case !u.inside(lba, n):
		u.backend.Stats().Invalid(block.OpZeroes)
		return r.fail(sense.LBAOutOfRange)
	}
	data := r.Out.To(min(int(u.block), r.Out.Len()))
	if !noData {
		r.want = int(u.block)
	}
	if noData || data.IsZero() {
		r.io.Op, r.io.Off, r.io.Len = block.OpZeroes, int64(lba*u.block), int64(n*u.block)
		if r.CDB[1]&bitUnmap != 0 {
			r.io.Flags = block.MayUnmap
		}
		return Begun
	}
	r.params = slices.Grow(r.params[:0], int(u.block))[:u.block]
	if err := data.Read(r.params); err != nil {
		return r.fail(sense.InternalFailure)
	}
	r.pattern = r.pattern[:0]
	for range max(1, min(n, patternSize/u.block)) {
		r.pattern = append(r.pattern, r.params)
	}
	r.pos, r.end = int64(lba*u.block), int64((lba+n)*u.block)
	r.nextPattern()
	return Begun
}

// nextPattern writes the next blocks of a WRITE SAME.
func (r *Request) nextPattern() {
	v := block.VecFrom(r.pattern)
	n := min(int64(v.Len()), r.end-r.pos)
	r.io.Op, r.io.Off, r.io.Vec = block.OpWrite, r.pos, v.To(int(n))
	r.pos += n
}

const (
	unmapHeader     = 8
	unmapDescriptor = 16
)

// unmap is UNMAP (SBC-3, section 5.28). Nothing is unmapped when a range is wrong.
func (u *Unit) unmap(r *Request) Result {
	n := int(be16(r.CDB[7:]))
	switch {
	case r.CDB[1]&1 != 0: // to be kept allocated, but for others
		return r.fail(sense.InvalidField)
	case n == 0:
		return Ended
	case n < unmapHeader:
		return r.fail(sense.ParameterListLength)
	}
	have := min(n, unmapHeader+maxDescriptors*unmapDescriptor)
	r.params = slices.Grow(r.params[:0], have)[:have]
	if err := r.Out.To(have).Read(r.params); err != nil {
		return r.fail(sense.InternalFailure)
	}
	r.want = n
	list := be16(r.params[2:])
	if be16(r.params)+2 > uint64(n) || list+unmapHeader > uint64(n) || list%unmapDescriptor != 0 {
		return r.fail(sense.ParameterListLength)
	}
	if list/unmapDescriptor > maxDescriptors {
		return r.fail(sense.InvalidParameter)
	}
	r.pos, r.end = unmapHeader, int64(unmapHeader+list)
	for p := r.params[unmapHeader:r.end]; len(p) > 0; p = p[unmapDescriptor:] {
		if !u.inside(be64(p), be32(p[8:])) {
			u.backend.Stats().Invalid(block.OpDiscard)
			return r.fail(sense.LBAOutOfRange)
		}
	}
	if !r.nextUnmap(u.block) {
		return Ended
	}
	return Begun
}

// nextUnmap discards the next range of an UNMAP; false when there is none.
func (r *Request) nextUnmap(size uint64) bool {
	for r.pos < r.end {
		p := r.params[r.pos:]
		r.pos += unmapDescriptor
		if n := be32(p[8:]); n > 0 {
			r.io.Op, r.io.Off, r.io.Len = block.OpDiscard, int64(be64(p)*size), int64(n*size)
			return true
		}
	}
	return false
}

// more has the block layer do the next step of a command; false: that was all.
func (r *Request) more() bool {
	if r.pos >= r.end {
		return false
	}
	if r.io.Op == block.OpDiscard {
		return r.nextUnmap(r.unit.block)
	}
	r.nextPattern()
	return true
}

// senseOf is what the guest is told of an error of the host's.
func senseOf(err error) sense.Code {
	switch block.Errno(err) {
	case unix.ENOMEDIUM:
		return sense.NoMedium
	case unix.ENOSPC:
		return sense.SpaceAllocation
	case unix.EROFS, unix.EPERM:
		return sense.WriteProtected
	case unix.ENOMEM:
		return sense.InternalFailure
	case unix.EINVAL, unix.ENOTSUP:
		return sense.InvalidField
	}
	return sense.IOFailure
}
