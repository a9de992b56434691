package ata

import (
	"encoding/binary"

	"govmd/internal/device/scsi/mmc"
	"govmd/internal/device/scsi/sense"
)

const packetSize = 12

// changed says how much of a medium's change the guest still has to be told: first
// that there is none, then that there may be another.
type changed uint8

const (
	changedNot changed = iota
	changedGone
	changedNew
)

// packetDevice is what a CD-ROM drive has beyond a disk. It is guarded by the
// drive's mutex.
type packetDevice struct {
	d    *Drive
	code [packetSize]byte

	sense   sense.Code // of the last command
	changed changed
	open    bool // the tray
	locked  bool

	// What GET EVENT STATUS NOTIFICATION has to tell.
	newMedium    bool
	ejectRequest bool
}

func (c *packetDevice) powerOn() {
	c.sense, c.changed, c.locked = sense.None, changedNot, false
	c.newMedium, c.ejectRequest = false, false
}

// startPacketDevice executes a command of the register file.
func (d *Drive) startPacketDevice(v byte) {
	switch v {
	case cmdPacket:
		d.cd.start()
	case cmdIdentifyPacket:
		d.identifyPacketDevice(d.buffer()[:SectorSize])
		d.sendSector()
	case cmdDeviceReset:
		d.abandon()
		d.EndReset()
		d.port.Done(d)
	case cmdIdentify, cmdRead: // they show that this is no disk
		d.signature()
		d.abort()
	case cmdDiagnose:
		d.diagnose()
	case cmdSetFeatures, cmdCheckPower, cmdOldCheckPower, cmdIdle, cmdIdleNow, cmdOldIdle, cmdOldIdleNow,
		cmdStandby, cmdStandbyNow, cmdOldStandby, cmdOldStandbyNow, cmdSleep, cmdOldSleep:
		d.startControl(v)
	default:
		d.abort()
	}
}

// start waits for a packet.
func (c *packetDevice) start() {
	d, t := c.d, &c.d.task
	if d.regs.Feature&2 != 0 { // overlapped
		d.abort()
		return
	}
	t.dma = d.regs.Feature&1 != 0
	if t.limit = int(d.regs.High)<<8 | int(d.regs.Mid); t.limit == 0xffff {
		t.limit--
	}
	t.step = stepPacket
	d.receiveBlock(packetSize)
	d.regs.Count = reasonCommand
	d.port.Data(d)
}

// packet carries out what has arrived in the buffer.
func (c *packetDevice) packet() {
	copy(c.code[:], c.d.buf[:packetSize])
	c.d.setBusy()
	p := &packetCommands[c.code[0]]
	if p.run == nil {
		c.fail(sense.InvalidOpcode)
		return
	}
	if !p.anyTime && c.attention() {
		return
	}
	if p.medium && !c.ready() {
		c.fail(sense.NoMedium)
		return
	}
	p.run(c, c.code[:])
}

// attention fails a command because the guest has to be told of a change.
func (c *packetDevice) attention() bool {
	if c.open || !c.inserted() {
		return false
	}
	switch c.changed {
	case changedGone:
		c.changed = changedNew
		c.fail(sense.NoMedium)
	case changedNew:
		c.changed = changedNot
		c.fail(sense.MediumChanged)
	default:
		return false
	}
	return true
}

func (c *packetDevice) inserted() bool { return c.d.drive.Inserted() }

// ready reports whether there is a medium to read.
func (c *packetDevice) ready() bool { return !c.open && c.inserted() && c.blocks() > 0 }

// blocks is the size of the medium.
func (c *packetDevice) blocks() int64 {
	if c.open {
		return 0
	}
	return c.d.drive.Length() / mmc.SectorSize
}

// ok ends a command well.
func (c *packetDevice) ok() {
	c.sense = sense.None
	c.d.regs.Count = reasonCommand | reasonIn
	c.d.finish()
}

// fail ends a command with sense data.
func (c *packetDevice) fail(code sense.Code) {
	c.sense = code
	c.d.regs.Count = reasonCommand | reasonIn
	bits := code.Key << 4
	if code.Key == sense.KeyIllegalRequest {
		bits |= ErrorABRT
	}
	c.d.fail(bits)
}

// reply sends the first n bytes of the buffer.
func (c *packetDevice) reply(n int) {
	d, t := c.d, &c.d.task
	if n <= 0 {
		c.ok()
		return
	}
	c.sense = sense.None
	t.step, t.pos, t.end = stepReply, 0, n
	if t.dma {
		d.startDMA()
		return
	}
	t.total = n
	c.nextChunk()
}

// nextChunk sends a block of the t.total bytes that remain from t.pos on.
func (c *packetDevice) nextChunk() {
	d, t := c.d, &c.d.task
	n := min(t.total, t.limit)
	if t.limit == 0 || d.sata {
		n = t.total
	} else if n < t.total {
		if n &^= 1; n == 0 {
			n = min(2, t.total)
		}
	}
	t.phase, t.end = phaseIn, t.pos+n
	t.total -= n
	d.regs.Mid, d.regs.High = byte(n), byte(n>>8)
	d.regs.Count = reasonIn
	d.regs.Status = statusIdle | StatusDRQ
	d.interrupt()
	d.port.Data(d)
}

// replyMoved goes on after a block.
func (c *packetDevice) replyMoved() {
	t := &c.d.task
	switch {
	case t.total > 0:
		t.pos = t.end
		c.nextChunk()
	case t.step == stepCDRead && t.left > 0:
		c.d.start()
	default:
		c.ok()
	}
}

// replyDMA moves a reply.
func (c *packetDevice) replyDMA() {
	d, t := c.d, &c.d.task
	n, err := d.copyDMA(d.buf[:t.end], true)
	switch {
	case err != nil:
		d.dmaFault()
		return
	case n < t.end:
		d.short()
		return
	}
	d.port.DMAEnd(d, t.from, false)
	c.ok()
}

// read reads sectors. raw are the parts of the frame that are wanted beside or in
// place of the data, 0 for the data alone.
func (c *packetDevice) read(lba, n int64, raw byte) {
	d, t := c.d, &c.d.task
	switch {
	case n == 0:
		c.ok()
		return
	case lba < 0 || lba+n > c.blocks():
		c.fail(sense.LBAOutOfRange)
		return
	}
	t.lba, t.left, t.raw = lba, int(n), raw
	switch {
	case t.dma && raw == 0:
		t.step = stepCDDMA
		d.startDMA()
	default:
		t.step = stepCDRead
		d.start()
	}
}

// cdBatch is how many sectors are read at once where they go through the buffer.
const cdBatch = 16

func (t *task) cdSectors() int { return min(t.left, cdBatch) }

// cdData is where n sectors are read to: the end of the buffer, when frames are to
// be made of them.
func (d *Drive) cdData(n int) []byte {
	p := d.buffer()
	if d.task.raw != 0 {
		return p[len(p)-n*mmc.SectorSize:]
	}
	return p[:n*mmc.SectorSize]
}

// sectorsRead sends what has been read, or the frames of it.
func (c *packetDevice) sectorsRead() {
	d, t := c.d, &c.d.task
	n := t.cdSectors()
	size := n * mmc.SectorSize
	if t.raw != 0 {
		size = c.frames(n)
	}
	t.lba += int64(n)
	t.left -= n
	t.pos, t.end = 0, size
	if !t.dma {
		t.total = size
		c.nextChunk()
		return
	}
	moved, err := d.copyDMA(d.buf[:size], true)
	switch {
	case err != nil:
		d.dmaFault()
	case moved < size:
		d.short()
	case t.left > 0:
		d.start()
	default:
		d.endDMA()
	}
}

// MoveTray implements block.TrayDevice.
func (c *CD) MoveTray(open bool) {
	c.mu.Lock()
	moved := c.open != open
	c.open = open
	c.changed, c.ejectRequest = changedGone, false
	if !open {
		c.newMedium = c.inserted()
	}
	c.mu.Unlock()
	if moved {
		c.Drive.drive.PublishTray(open)
	}
}

// TrayOpen implements block.TrayDevice.
func (c *CD) TrayOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// MediumLocked implements block.TrayDevice.
func (c *CD) MediumLocked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.locked
}

// EjectRequest implements block.TrayDevice.
func (c *CD) EjectRequest(force bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ejectRequest = true
	if force {
		c.locked = false
	}
}

// MediumChanged implements block.Device. What is in a tray that is open the guest
// learns when that closes.
func (c *CD) MediumChanged(present bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = changedGone
	if !c.open {
		c.newMedium = present
	}
}

// MediumResized implements block.Device.
func (c *CD) MediumResized() {}

func be16(p []byte) int   { return int(binary.BigEndian.Uint16(p)) }
func be32(p []byte) int64 { return int64(binary.BigEndian.Uint32(p)) }
