package fdc

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/device/i8257"
)

// trackSize is the most that a track can have.
const trackSize = 48 * sectorSize

// step is what a command with data waits for.
type step uint8

const (
	stepNone  step = iota
	stepImage      // a request to the image
	stepMove       // the guest, or its DMA controller
	steps
)

// transfer is a command with data. It is plain data: resume goes on from there.
type transfer struct {
	Step     step  `cbor:"step"`
	Command  uint8 `cbor:"command"`
	Drive    uint8 `cbor:"drive"`
	Write    bool  `cbor:"write"` // from the guest
	Verify   bool  `cbor:"verify"`
	Format   bool  `cbor:"format"`
	Multi    bool  `cbor:"multi-track"`
	Terminal bool  `cbor:"terminal"` // the DMA controller has said that this is all
	Track    uint8 `cbor:"track"`
	Head     uint8 `cbor:"head"`
	Side     uint8 `cbor:"side"`   // that is, or was last, under way
	Sector   uint8 `cbor:"sector"` // the first in buf, from 1
	Last     uint8 `cbor:"last"`   // of the track
	Fill     uint8 `cbor:"fill"`   // of FORMAT TRACK
	Size     int   `cbor:"size"`   // of buf
	Pos      int   `cbor:"pos"`
}

// request is a request to an image.
type request struct {
	block.Request
	c      *Controller
	orphan bool
	buf    []byte
}

func (f *Floppy) wait() { _ = f.queue.Wait(context.Background()) } // it cannot end early

// submit makes the request that the transfer wants.
func (c *Controller) submit() {
	x := &c.x
	x.Step = stepImage
	c.r.Phase = phaseExecute
	if c.orphans > 0 {
		return // when the last has ended
	}
	f := c.drive(x.Drive)
	if f == nil {
		c.fail(st1DataError, st2DataError)
		return
	}
	n := x.Size
	r := &request{c: c, buf: c.buf}
	r.Request = block.Request{
		Op: block.OpRead, Off: c.offset(f), Vec: block.VecOf(c.buf[:n]), Owner: r, Done: imageDone,
	}
	if x.Write {
		r.Op = block.OpWrite
	}
	c.req = r
	f.queue.Submit(&r.Request)
}

// offset is where in the image the first sector in buf is.
func (c *Controller) offset(f *Floppy) int64 {
	x := &c.x
	track := int64(x.Track)*int64(f.format.heads) + int64(x.Head)
	return (track*int64(f.format.spt) + int64(x.Sector) - 1) * sectorSize
}

func imageDone(br *block.Request, err error) {
	r := br.Owner.(*request)
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.orphan {
		if c.orphans--; c.orphans == 0 && c.x.Step == stepImage {
			c.submit()
		}
		return
	}
	c.req = nil
	switch {
	case err != nil:
		c.fail(st1DataError, st2DataError)
	case c.x.Write:
		c.written()
	case c.x.Verify:
		c.moved()
	default:
		c.move()
	}
}

// abandon leaves a request that is under way to end by itself, with the buffer.
func (c *Controller) abandon() {
	c.resumes = false
	if c.req == nil {
		return
	}
	c.req.orphan = true
	c.req = nil
	c.orphans++
	c.buf = make([]byte, trackSize)
}

// begin begins a command on sectors: unit and head, C, H, R, N, EOT, GPL, DTL.
func (c *Controller) begin(op uint8, p []uint8) {
	kind := op & 0x1f
	c.x = transfer{
		Command: op, Drive: p[0] & 3, Write: kind == cmdWrite || kind == cmdWriteDeleted, Verify: kind == cmdVerify,
		Multi: op&bitMT != 0 && kind != cmdReadTrack, Track: p[1], Head: p[2] & 1, Side: p[0] >> 2 & 1, Sector: p[3], Last: p[5],
	}
	x := &c.x
	c.r.EOT = p[5]
	if kind == cmdReadTrack {
		x.Sector = 1
	}
	f := c.drive(x.Drive)
	switch {
	case f == nil || !f.present || c.r.Rate != f.format.rate:
		c.fail(st1MissingMark, 0)
		return
	case p[2]&1 != p[0]>>2&1 || p[2] > 1 || x.Head >= f.format.heads || p[4] != 2:
		c.fail(st1NoData, 0)
		return
	case x.Track >= f.format.cylinders:
		c.fail(st1NoData, st2WrongTrack)
		return
	case x.Sector == 0 || x.Sector > f.format.spt:
		c.fail(st1NoData, 0)
		return
	case x.Write && f.readOnly:
		c.fail(st1NotWritable, 0)
		return
	}
	f.seek(x.Track)
	c.nextTrack()
}

// nextTrack goes on with the sectors from Sector on.
func (c *Controller) nextTrack() {
	x := &c.x
	f := c.drive(x.Drive)
	if f == nil {
		c.fail(st1DataError, st2DataError)
		return
	}
	last := max(min(x.Last, f.format.spt), x.Sector)
	x.Side = x.Head
	x.Size, x.Pos = (int(last)-int(x.Sector)+1)*sectorSize, 0
	if x.Write {
		c.move()
		return
	}
	c.submit()
}

// move lets the guest have what is in buf, or give what is to go there.
func (c *Controller) move() {
	c.x.Step = stepMove
	c.r.Phase = phaseExecute
	if c.pio() {
		c.setIRQ(true)
		return
	}
	if c.channel.SetRequest(true) {
		c.transfer()
	}
}

// dmaReady is called when the DMA controller lets a request through.
func (c *Controller) dmaReady() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transfer()
}

// transfer moves data by DMA.
func (c *Controller) transfer() {
	x := &c.x
	if x.Step != stepMove || c.pio() {
		return
	}
	switch dir := c.channel.Direction(); {
	case dir == i8257.Off:
		return
	case dir == i8257.Verify:
	case x.Write != (dir == i8257.FromMemory):
		return // the guest has set up the wrong direction: nothing moves
	}
	n, terminal := c.channel.Transfer(c.buf[x.Pos:x.Size])
	x.Pos += n
	x.Terminal = terminal
	if terminal || x.Pos >= x.Size {
		c.channel.SetRequest(false)
		c.filled()
	}
}

// readData is a read of the FIFO in the execution phase.
func (c *Controller) readData() (v uint8) {
	x := &c.x
	if x.Step != stepMove || x.Write || !c.pio() {
		return 0
	}
	v = c.buf[x.Pos]
	if x.Pos++; x.Pos >= x.Size {
		c.setIRQ(false)
		c.filled()
	}
	return v
}

// writeData is a write.
func (c *Controller) writeData(v uint8) {
	x := &c.x
	if x.Step != stepMove || !x.Write || !c.pio() {
		return
	}
	c.buf[x.Pos] = v
	if x.Pos++; x.Pos >= x.Size {
		c.setIRQ(false)
		c.filled()
	}
}

// filled goes on when the guest has moved a track's part, or all that it wants.
func (c *Controller) filled() {
	x := &c.x
	switch {
	case x.Format:
		c.formatFilled()
	case !x.Write:
		c.moved()
	case x.Pos == 0:
		c.moved()
	default:
		// A sector that the guest has not filled ends with zeroes.
		whole := (x.Pos + sectorSize - 1) / sectorSize * sectorSize
		clear(c.buf[x.Pos:whole])
		x.Size = whole
		c.submit()
	}
}

// written goes on when buf has been written.
func (c *Controller) written() {
	if c.x.Format {
		c.end(0, 0, 0)
		return
	}
	c.moved()
}

// moved goes on after the sectors in buf, or ends.
func (c *Controller) moved() {
	x := &c.x
	n := (x.Pos + sectorSize - 1) / sectorSize
	if x.Verify {
		n = x.Size / sectorSize
	}
	f := c.drive(x.Drive)
	next := int(x.Sector) + n
	ended := next > int(x.Last) || f == nil || next > int(f.format.spt)
	switch {
	case x.Terminal && !ended:
		x.Sector = uint8(next)
		c.end(0, 0, 0)
	case x.Terminal || !x.Multi && c.pio() || x.Verify && !x.Multi:
		c.nextPlace(f)
		c.end(0, 0, 0)
	case f != nil && x.Multi && x.Head == 0 && f.format.heads > 1:
		x.Head, x.Sector = 1, 1
		c.nextTrack()
	default:
		c.nextPlace(f)
		if c.pio() || x.Verify {
			c.end(0, 0, 0)
			return
		}
		c.fail(st1EndOfTrack, 0) // the DMA controller wants more than there is
	}
}

// nextPlace is what the result says of the place after the last sector of a track
// (section 5.1.1).
func (c *Controller) nextPlace(f *Floppy) {
	x := &c.x
	x.Sector = 1
	if x.Multi && x.Head == 0 && f != nil && f.format.heads > 1 {
		x.Head = 1
		return
	}
	x.Track++
	if x.Multi {
		x.Head = 0
	}
}

// fail ends a command with an error.
func (c *Controller) fail(st1, st2 uint8) { c.end(st0Abnormal, st1, st2) }

// end ends a command with data, and interrupts.
func (c *Controller) end(st0, st1, st2 uint8) {
	x := c.x
	c.channel.SetRequest(false)
	c.x = transfer{}
	c.result(st0|x.Drive|x.Side<<2, st1, st2, x.Track, x.Head, x.Sector, 2)
	c.setIRQ(true)
}

// readID is READ ID: the place that is under the head.
func (c *Controller) readID(unit uint8) {
	c.x = transfer{Drive: unit & 3, Head: unit >> 2 & 1, Side: unit >> 2 & 1, Sector: 1}
	f := c.drive(c.x.Drive)
	if f == nil || !f.present || c.x.Head >= f.format.heads || f.track >= f.format.cylinders || c.r.Rate != f.format.rate {
		c.fail(st1MissingMark, 0)
		return
	}
	c.x.Track = f.track
	c.end(0, 0, 0)
}

// beginFormat is FORMAT TRACK: unit and head, N, sectors, GPL, filler. The guest gives
// four bytes for each sector, of which all that matters is that the track is filled.
func (c *Controller) beginFormat(p []uint8) {
	c.x = transfer{Command: cmdFormat, Drive: p[0] & 3, Head: p[0] >> 2 & 1, Side: p[0] >> 2 & 1, Sector: 1, Write: true, Format: true, Last: p[2], Fill: p[4]}
	x := &c.x
	f := c.drive(x.Drive)
	switch {
	case f == nil || !f.present:
		c.fail(st1MissingMark, 0)
		return
	case f.readOnly:
		c.fail(st1NotWritable, 0)
		return
	case p[1] != 2 || p[2] == 0 || p[2] > f.format.spt || x.Head >= f.format.heads || f.track >= f.format.cylinders:
		c.fail(st1NoData, 0)
		return
	}
	x.Track = f.track
	x.Size = 4 * int(p[2])
	c.move()
}

// formatFilled fills the track.
func (c *Controller) formatFilled() {
	x := &c.x
	x.Size = int(x.Last) * sectorSize
	for i := range c.buf[:x.Size] {
		c.buf[i] = x.Fill
	}
	c.submit()
}
