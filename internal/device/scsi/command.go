package scsi

import (
	"govmd/internal/block"
	"govmd/internal/device/scsi/mmc"
	"govmd/internal/device/scsi/sense"
)

// command is a command of SPC-4, SBC-3 or MMC-5.
type command struct {
	run func(u *Unit, r *Request) Result
	// length is how many bytes of data the command moves at most; nil for none.
	length  func(cdb []byte, block uint64) uint64
	out     bool // data go from the host
	anyTime bool // is not failed by a unit attention
	medium  bool // needs a medium
	write   bool // needs one that can be written
	disk    bool // is for disks alone
	cd      bool // is for CD-ROM drives alone
}

func byte4(p []byte, _ uint64) uint64  { return uint64(p[4]) }
func word3(p []byte, _ uint64) uint64  { return be16(p[3:]) }
func word7(p []byte, _ uint64) uint64  { return be16(p[7:]) }
func word8(p []byte, _ uint64) uint64  { return be16(p[8:]) }
func long6(p []byte, _ uint64) uint64  { return be32(p[6:]) }
func long10(p []byte, _ uint64) uint64 { return be32(p[10:]) }
func eight([]byte, uint64) uint64      { return 8 }
func blocks(p []byte, b uint64) uint64 { _, n := extent(p); return n * b }
func oneBlock(p []byte, b uint64) uint64 {
	if p[0] == 0x93 && p[1]&1 != 0 { // WRITE SAME (16) without data: zeroes
		return 0
	}
	return b
}

// compared is what VERIFY compares with, if it is asked to.
func compared(p []byte, b uint64) uint64 {
	if p[1]&verifyCompare == 0 {
		return 0
	}
	return blocks(p, b)
}

var commands = [256]command{
	0x00: {run: (*Unit).testUnitReady},
	0x03: {run: (*Unit).requestSense, length: byte4},
	0x04: {run: (*Unit).good, disk: true, medium: true, write: true}, // FORMAT UNIT: it is formatted
	0x08: {run: (*Unit).read, length: blocks, medium: true},
	0x0a: {run: (*Unit).write, length: blocks, medium: true, out: true, write: true},
	0x12: {run: (*Unit).inquiry, length: word3, anyTime: true},
	0x15: {run: (*Unit).modeSelect, length: byte4, out: true},
	0x16: {run: (*Unit).reserve},
	0x17: {run: (*Unit).reserve},
	0x1a: {run: (*Unit).modeSense, length: byte4},
	0x1b: {run: (*Unit).startStop},
	0x1e: {run: (*Unit).preventRemoval},
	0x25: {run: (*Unit).readCapacity10, length: eight, medium: true},
	0x28: {run: (*Unit).read, length: blocks, medium: true},
	0x2a: {run: (*Unit).write, length: blocks, medium: true, out: true, write: true},
	0x2b: {run: (*Unit).seek, medium: true},
	0x2e: {run: (*Unit).write, length: blocks, medium: true, out: true, write: true},
	0x2f: {run: (*Unit).verify, length: compared, medium: true, out: true},
	0x35: {run: (*Unit).synchronize, medium: true},
	0x41: {run: (*Unit).writeSame, length: oneBlock, disk: true, medium: true, out: true, write: true},
	0x42: {run: (*Unit).unmap, length: word7, disk: true, medium: true, out: true, write: true},
	0x43: {run: answer(mmc.ReadTOC), length: word7, cd: true, medium: true},
	0x46: {run: answer(mmc.GetConfiguration), length: word7, cd: true, anyTime: true},
	0x4a: {run: answer(mmc.GetEvent), length: word7, cd: true, anyTime: true},
	0x51: {run: answer(mmc.DiscInformation), length: word7, cd: true, medium: true},
	0x52: {run: answer(mmc.TrackInformation), length: word7, cd: true, medium: true},
	0x55: {run: (*Unit).modeSelect, length: word7, out: true},
	0x56: {run: (*Unit).reserve},
	0x57: {run: (*Unit).reserve},
	0x5a: {run: (*Unit).modeSense, length: word7},
	0x88: {run: (*Unit).read, length: blocks, medium: true},
	0x8a: {run: (*Unit).write, length: blocks, medium: true, out: true, write: true},
	0x8e: {run: (*Unit).write, length: blocks, medium: true, out: true, write: true},
	0x8f: {run: (*Unit).verify, length: compared, medium: true, out: true},
	0x91: {run: (*Unit).synchronize, medium: true},
	0x93: {run: (*Unit).writeSame, length: oneBlock, disk: true, medium: true, out: true, write: true},
	0x9e: {run: (*Unit).readCapacity16, length: long10, medium: true},
	0xa0: {run: (*Unit).reportLUNs, length: long6, anyTime: true},
	0xa8: {run: (*Unit).read, length: blocks, medium: true},
	0xaa: {run: (*Unit).write, length: blocks, medium: true, out: true, write: true},
	0xad: {run: answer(mmc.DiscStructure), length: word8, cd: true},
	0xae: {run: (*Unit).write, length: blocks, medium: true, out: true, write: true},
	0xaf: {run: (*Unit).verify, length: compared, medium: true, out: true},
	0xbb: {run: (*Unit).good, cd: true}, // SET CD SPEED
	0xbd: {run: answer(mmc.MechanismStatus), length: word8, cd: true},
}

// start begins a request.
func (u *Unit) start(c *command, r *Request, th *block.Thread) Result {
	u.mu.Lock()
	res := u.execute(c, r)
	if res == Ended {
		u.ended(r)
		u.mu.Unlock()
		return Ended
	}
	u.track(r)
	u.mu.Unlock()
	if th == nil {
		u.queue.Submit(&r.io)
	} else {
		u.queue.SubmitOn(th, &r.io)
	}
	return Begun
}

// execute carries a command out, or fills in r.io for what does. mu is held.
func (u *Unit) execute(c *command, r *Request) Result {
	if !c.anyTime && u.pending != sense.None {
		code := u.pending
		u.pending = sense.None
		if u.newMedium { // first that there is none, then that there may be another
			u.newMedium, u.pending = false, sense.MediumChanged
		}
		return r.fail(code)
	}
	switch {
	case c.run == nil || c.disk && u.cd || c.cd && !u.cd:
		return r.fail(sense.InvalidOpcode)
	case c.medium && !u.ready():
		return r.fail(sense.NoMedium)
	case c.write && u.readOnly():
		return r.fail(sense.WriteProtected)
	}
	return c.run(u, r)
}

// ended keeps what REQUEST SENSE is to say of a command. mu is held.
func (u *Unit) ended(r *Request) { u.sense = r.SenseCode }

func (u *Unit) good(*Request) Result { return Ended }

func (u *Unit) testUnitReady(r *Request) Result {
	if !u.ready() {
		return r.fail(sense.NoMedium)
	}
	return Ended
}

func (u *Unit) requestSense(r *Request) Result {
	code := u.sense
	var b [sense.FixedSize]byte
	n := 0
	if r.CDB[1]&1 != 0 {
		n = code.PutDescriptor(b[:])
	} else {
		n = code.PutFixed(b[:])
	}
	return r.reply(b[:min(n, int(r.CDB[4]))])
}

// reserve is RESERVE and RELEASE: there is one initiator. Third parties and extents
// are not for us.
func (u *Unit) reserve(r *Request) Result {
	if r.CDB[1]&1 != 0 {
		return r.fail(sense.InvalidField)
	}
	return Ended
}

// answer is a command of which mmc makes the reply.
func answer(reply mmc.Reply) func(*Unit, *Request) Result {
	return func(u *Unit, r *Request) Result {
		s := u.discDrive()
		n, refused := reply(&s, u.buffer[:], r.CDB[:])
		u.news, u.ejectRequest = s.NewMedium, s.EjectRequest
		if refused != sense.None {
			return r.fail(refused)
		}
		return r.reply(u.buffer[:n])
	}
}

// maxReply is how long a reply can be that is made in a unit's buffer.
const maxReply = mmc.BufferSize
