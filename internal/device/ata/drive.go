// Package ata is the drives on an ATA cable, ide-hd and ide-cd: their registers,
// commands and data phases, whatever the controller is (internal/device/ide,
// internal/device/ahci). It follows ATA8-ACS (T13 1699-D) and, for CD-ROM and DVD
// drives, SFF-8020i, MMC-5 and SPC-3.
//
// A controller implements Port and holds the mutex that it shares with its drives
// while it calls them and while they call it. A request to the medium ends on
// another goroutine, which takes the mutex: no vCPU waits for storage. A reset
// leaves requests that are under way to end by themselves (orphans); what the guest
// asks for next waits for these, so that an old write never follows a new one.
package ata

import (
	"sync"

	"govmd/internal/block"
	"govmd/internal/device"
	"govmd/internal/device/drive"
)

// SectorSize is that of disks, in bytes; mmc.SectorSize that of CD-ROMs.
const SectorSize = 512

// MaxChunk is how many bytes a single request moves.
const MaxChunk = 1 << 20

const (
	maxMultiple = 16       // sectors of a block, in READ and WRITE MULTIPLE
	bufferSize  = 80 << 10 // 16 raw frames of a CD and the data they are made of, or 64 KiB
)

// Port is a controller, as its drives see it. Its methods are called with the
// shared mutex held.
type Port interface {
	// Lock returns the mutex.
	Lock() *sync.Mutex
	// Interrupt says that the drive's interrupt request has changed (Drive.INTRQ).
	Interrupt(d *Drive)
	// Data says that a block of data is to be moved through Drive.Block. A controller
	// that does so by itself moves it and calls BlockMoved, here or later.
	Data(d *Drive)
	// DMAReady says that the drive wants to move data by DMA, and asks whether the
	// controller is ready; when it becomes so later it calls DMAGo.
	DMAReady(d *Drive) bool
	// Gather adds up to want bytes of guest memory from pos on to s, and advances
	// pos. Fewer are added when the guest has described no more.
	Gather(d *Drive, pos *Pos, s *drive.Segs, want int) error
	// DMAEnd says that a transfer is over. When failed guest memory was not there.
	DMAEnd(d *Drive, pos Pos, failed bool)
	// Done says that a command has ended, with or without an error.
	Done(d *Drive)
}

// Drive is a drive on a cable. ide-hd and ide-cd embed one.
type Drive struct {
	port  Port
	mu    *sync.Mutex // the port's
	base  *device.Base
	conf  *drive.Conf
	drive *block.Backend
	queue *block.Queue
	unit  int
	cd    *packetDevice // nil for disks
	id    identity
	geo   drive.Geometry
	trans drive.Translation
	ncq   bool
	sata  bool

	// Guarded by mu:

	dead  bool // the device goes
	regs  TaskFile
	intrq bool
	task  task
	buf   []byte

	heads, secs int  // geometry in use, which INITIALIZE DEVICE PARAMETERS sets
	multiple    int  // sectors of a block; 0: not set
	xfer        byte // transfer mode, as SET FEATURES has it
	smart       smart
	standby     bool // CHECK POWER MODE says so
	queueError  QueueError

	req     *request // under way, or nil
	spare   *request
	orphans int  // requests of commands that a reset has ended
	waiting bool // the task's request waits for orphans
	resume  bool // the task's request is to be made again when the machine runs
}

// identity is what a drive says of itself.
type identity struct {
	model, serial, version string
	wwn                    uint64
	rotation               uint16
}

// phase is where a command is.
type phase uint8

const (
	phaseIdle   phase = iota
	phaseIn           // the host reads a block from the buffer
	phaseOut          // the host writes a block to the buffer
	phaseDMA          // waits for the controller
	phaseMedium       // a request is under way
)

// step is what a request is for, or what follows a block of data.
type step uint8

const (
	stepEnd      step = iota // nothing follows
	stepRead                 // sectors are read into the buffer, then moved
	stepWrite                // sectors are moved, then written
	stepReadDMA              // sectors are read into guest memory
	stepWriteDMA             // sectors are written from guest memory
	stepFlush                // the cache is flushed
	stepDSM                  // ranges are moved, then discarded
	stepDiscard              // a range is discarded
	stepPacket               // a packet is moved, then carried out
	stepReply                // the reply to a packet is moved
	stepCDRead               // sectors of a CD are read into the buffer, then moved
	stepCDDMA                // sectors of a CD are read into guest memory
	numSteps
)

// task is the command that is under way.
type task struct {
	cmd   byte
	phase phase
	step  step
	ext   bool  // registers hold 48 bits
	lba   int64 // of the next sector
	left  int   // sectors to go, or blocks of ranges
	block int   // sectors of a block of data
	fua   bool

	pos, end int // what of the buffer is still to be moved, or read

	dma  bool // a packet's data moves by DMA
	from Pos  // guest memory of what comes next
	mark Pos  // and of the request under way

	limit int  // bytes of a block, of packets
	total int  // bytes of a reply that are still to be moved, after end
	raw   byte // parts of a frame that READ CD asks for; 0: the data alone
}

// attach makes d a drive of port. It runs in Realize.
func (d *Drive) attach(base *device.Base, port Port, conf *drive.Conf, b *block.Backend, unit int) {
	d.base, d.port, d.mu, d.conf, d.drive, d.unit = base, port, port.Lock(), conf, b, unit
	d.queue = b.NewQueue(base.Describe(), 0)
	d.spare = nil
	d.dead = false
}

// detach ends the drive: when it returns no request of its is under way.
func (d *Drive) detach() {
	d.mu.Lock()
	d.dead = true
	d.abandon()
	d.mu.Unlock()
	d.drive.CancelParked()
	d.drive.CloseQueue(d.queue)
}

// Packet reports whether the drive takes packets: a CD-ROM drive.
func (d *Drive) Packet() bool { return d.cd != nil }

// Geometry returns a disk's geometry, and how firmware is to translate it.
func (d *Drive) Geometry() (drive.Geometry, drive.Translation) { return d.geo, d.trans }

// SetSATA says that the controller is a SATA one, which moves data in any amount and
// queues a disk's commands. The mutex is held.
func (d *Drive) SetSATA() { d.sata, d.ncq = true, d.cd == nil }

// Queues reports whether the drive takes queued commands.
func (d *Drive) Queues() bool { return d.ncq }

// Queue returns where the controller makes requests for queued commands.
func (d *Drive) Queue() *block.Queue { return d.queue }

// Sectors returns the size of a disk in sectors. It may be called from anywhere.
func (d *Drive) Sectors() int64 { return d.drive.Length() / SectorSize }

// WantsPacket reports whether the block of data is a packet. The mutex is held.
func (d *Drive) WantsPacket() bool { return d.task.phase == phaseOut && d.task.step == stepPacket }

// Acknowledge ends the request for an interrupt, as reading the status does. The
// mutex is held.
func (d *Drive) Acknowledge() { d.intrq = false }

// Regs returns the registers. The mutex is held.
func (d *Drive) Regs() *TaskFile { return &d.regs }

// INTRQ reports whether the drive asks for an interrupt. The mutex is held.
func (d *Drive) INTRQ() bool { return d.intrq }

// Busy reports whether a command is under way. The mutex is held.
func (d *Drive) Busy() bool { return d.regs.Status&(StatusBSY|StatusDRQ) != 0 }

// ReadReg reads register reg (1 to 7) of the command block; a read of the status
// (7) acknowledges the interrupt. The mutex is held.
func (d *Drive) ReadReg(reg int, control byte) byte {
	if reg == regCommand {
		d.setINTRQ(false)
	}
	return d.regs.read(reg, control&ControlHOB != 0)
}

// WriteReg writes register reg (1 to 6). The mutex is held.
func (d *Drive) WriteReg(reg int, v byte) { d.regs.write(reg, v) }

func (d *Drive) setINTRQ(on bool) {
	if d.intrq != on {
		d.intrq = on
		d.port.Interrupt(d)
	}
}

// interrupt asks for attention, again if it has before.
func (d *Drive) interrupt() {
	d.intrq = true
	d.port.Interrupt(d)
}

// finish ends a command.
func (d *Drive) finish() {
	d.regs.Status, d.regs.Error = statusIdle, 0
	d.idle()
}

// abort ends a command that the drive does not take.
func (d *Drive) abort() { d.fail(ErrorABRT) }

// fail ends a command with bits of the error register.
func (d *Drive) fail(bits byte) {
	d.regs.Status, d.regs.Error = StatusDRDY|StatusDSC|StatusERR, bits
	d.idle()
}

func (d *Drive) idle() {
	d.task = task{cmd: d.task.cmd}
	d.interrupt()
	d.port.Done(d)
}

// signature puts what tells the kind of drive into the registers (section 9.12).
func (d *Drive) signature() {
	t := &d.regs
	t.Device = t.Device&deviceDEV | deviceOnes
	t.Count, t.Low, t.Mid, t.High = 1, 1, 0, 0
	if d.cd != nil {
		t.Mid, t.High = 0x14, 0xeb
	}
	t.Prev.Count, t.Prev.Low, t.Prev.Mid, t.Prev.High = 0, 0, 0, 0
}

// SoftReset begins what SRST or COMRESET asks for; EndReset completes it. The
// mutex is held.
func (d *Drive) SoftReset() {
	d.abandon()
	d.setINTRQ(false)
	d.regs.Status = StatusBSY | StatusDSC
}

// EndReset completes a reset: the drive shows its signature. The mutex is held.
func (d *Drive) EndReset() {
	d.signature()
	d.regs.Error = diagnosticsPassed
	d.regs.Status = statusIdle
	if d.cd != nil {
		d.regs.Status = 0
	}
}

// CancelParked ends requests that wait for the machine to go on, which belong to
// commands that a reset has ended. The mutex is not held.
func (d *Drive) CancelParked() { d.drive.CancelParked() }

// powerOn is the state after a reset of the machine.
func (d *Drive) powerOn() {
	d.abandon()
	d.regs = TaskFile{Device: deviceOnes | byte(d.unit)*deviceDEV}
	d.intrq = false
	d.heads, d.secs = int(max(d.geo.Heads, 1)), int(max(d.geo.Sectors, 1))
	d.multiple = maxMultiple
	d.xfer = defaultTransfer
	d.smart = newSMART()
	d.standby = false
	if d.cd != nil {
		d.cd.powerOn()
	}
	dev := d.regs.Device
	d.EndReset()
	d.regs.Device = dev
}

// resetEnter and its like are the device's phases of a reset.
func (d *Drive) resetEnter() {
	d.mu.Lock()
	d.powerOn()
	d.mu.Unlock()
	d.drive.CancelParked()
	d.drive.ResetIOStatus()
}

func (d *Drive) buffer() []byte {
	if d.buf == nil {
		d.buf = make([]byte, bufferSize)
	}
	return d.buf
}
