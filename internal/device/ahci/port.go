package ahci

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"govmd/internal/device/ata"
	"govmd/internal/device/drive"
)

// port is a port with its registers.
type port struct {
	hba     *Device
	n       int
	cable   *ata.Cable
	pending atomic.Bool // an interrupt that is enabled

	mu    sync.Mutex // shared with the drive; guards what follows
	drive *ata.Drive // nil: nothing is connected

	clb, fb       uint64
	is, ie        uint32
	cmd           uint32
	status, error byte // PxTFD, as FISes have left it
	sig           uint32
	ssts, sctl    uint32
	serr          uint32
	sact, ci      uint32
	halted        bool // an error: nothing more until PxCMD.ST is cleared
	signature     bool // waits for PxCMD.FRE
	softReset     bool // SRST is set
	current       int  // slot of the command that the drive executes, -1 for none
	header        header
	pio           ata.Pos // where data of PIO go
	moved         uint32  // bytes that the command has moved
	asks          bool    // the drive has asked for an interrupt
	moving        bool    // data have been moved by PIO
	queued        [slots]*queued
	outstanding   uint32 // tags of queued commands that are under way
	orphans       int    // requests of queued commands that a reset has ended
	spare         []*queued
	dead          bool
}

// header is that of a command (section 4.2.2).
type header struct {
	Flags uint16 `cbor:"flags"`
	PRDs  uint16 `cbor:"prds"`
	Table uint64 `cbor:"table"`
}

const (
	headerSize = 32
	tableFIS   = 0x00
	tableCDB   = 0x40
	tablePRD   = 0x80
	prdSize    = 16
)

// Lock implements ata.Port.
func (p *port) Lock() *sync.Mutex { return &p.mu }

// DMAReady implements ata.Port.
func (p *port) DMAReady(*ata.Drive) bool { return true }

// Interrupt implements ata.Port: the FIS that follows tells of it.
func (p *port) Interrupt(d *ata.Drive) {
	if d.INTRQ() {
		p.asks = true
	}
}

// changed is told of a drive that comes or goes.
func (p *port) changed(d *ata.Drive, gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if gone {
		p.drive = nil
		p.powerOn()
		return
	}
	p.drive = d
	d.SetSATA()
	p.powerOn()
	p.linkUp()
}

// powerOn gives the registers their values after a reset of the controller.
func (p *port) powerOn() {
	p.abandon()
	p.clb, p.fb, p.is, p.ie, p.sctl, p.serr = 0, 0, 0, 0, 0, 0
	p.cmd = cmdSUD | cmdPOD
	p.linkDown()
	p.pending.Store(false)
}

// abandon forgets the commands that are under way.
func (p *port) abandon() {
	p.ci, p.sact = 0, 0
	p.halted, p.softReset, p.asks, p.moving = false, false, false, false
	p.current = -1
	p.header, p.pio, p.moved = header{}, ata.Pos{}, 0
	p.abandonQueued()
}

func (p *port) linkDown() {
	p.ssts, p.sig, p.signature = 0, sigNone, false
	p.status, p.error = tfdNone, 0
}

// comReset is what a port does to its device to begin with.
func (p *port) comReset() {
	p.abandon()
	if p.drive != nil {
		p.drive.SoftReset()
		p.drive.EndReset()
	}
	p.linkDown()
}

// linkUp establishes the link with the device, which sends its signature.
func (p *port) linkUp() {
	if p.drive == nil {
		return
	}
	p.ssts = sstsUp
	p.serr |= serrX | serrN
	p.signature = true
	p.receiveSignature()
	p.update(true)
}

// receiveSignature takes the signature, if the port receives FISes.
func (p *port) receiveSignature() {
	if !p.signature || p.cmd&cmdFRE == 0 {
		return
	}
	p.signature = false
	p.takeSignature()
}

// takeSignature takes it from the drive's registers.
func (p *port) takeSignature() {
	t := p.drive.Regs()
	p.sig = uint32(t.High)<<24 | uint32(t.Mid)<<16 | uint32(t.Low)<<8 | uint32(t.Count)
	p.registerFIS(false)
}

// update follows a change of the interrupt's registers.
func (p *port) update(again bool) {
	p.is &^= isFollows
	if p.serr&serrX != 0 {
		p.is |= isPCS
	}
	if p.serr&serrN != 0 {
		p.is |= isPRCS
	}
	p.pending.Store(p.is&p.ie != 0)
	p.hba.interrupt(again && p.is&p.ie != 0)
}

func (p *port) read(off uint64) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch off {
	case pxCLB:
		return uint32(p.clb)
	case pxCLBU:
		return uint32(p.clb >> 32)
	case pxFB:
		return uint32(p.fb)
	case pxFBU:
		return uint32(p.fb >> 32)
	case pxIS:
		return p.is
	case pxIE:
		return p.ie
	case pxCMD:
		return p.command()
	case pxTFD:
		return uint32(p.error)<<8 | uint32(p.status)
	case pxSIG:
		return p.sig
	case pxSSTS:
		return p.ssts
	case pxSCTL:
		return p.sctl
	case pxSERR:
		return p.serr
	case pxSACT:
		return p.sact
	case pxCI:
		return p.ci
	}
	return 0
}

// command is PxCMD: the list runs until what is under way has ended.
func (p *port) command() uint32 {
	v := p.cmd
	if v&cmdFRE != 0 {
		v |= cmdFR
	}
	if v&cmdST != 0 || p.busy() {
		v |= cmdCR
	}
	return v
}

// busy reports whether guest memory may still be accessed for commands.
func (p *port) busy() bool {
	return p.current >= 0 || p.outstanding != 0 || p.orphans > 0
}

func (p *port) write(off uint64, v uint32) {
	p.mu.Lock()
	var parked *ata.Drive
	switch off {
	case pxCLB:
		p.clb = p.clb&^0xffffffff | uint64(v&^0x3ff)
	case pxCLBU:
		p.clb = p.clb&0xffffffff | uint64(v)<<32
	case pxFB:
		p.fb = p.fb&^0xffffffff | uint64(v&^0xff)
	case pxFBU:
		p.fb = p.fb&0xffffffff | uint64(v)<<32
	case pxIS:
		p.is &^= v
		p.update(false)
	case pxIE:
		p.ie = v & isWritable
		p.update(true)
	case pxCMD:
		p.setCommand(v)
	case pxSCTL:
		parked = p.setControl(v)
	case pxSERR:
		p.serr &^= v
		p.update(false)
	case pxSACT:
		if p.cmd&cmdST != 0 {
			p.sact |= v
		}
	case pxCI:
		if p.cmd&cmdST != 0 {
			p.ci |= v
			p.process()
		}
	}
	p.mu.Unlock()
	if parked != nil {
		parked.CancelParked()
	}
}

func (p *port) setCommand(v uint32) {
	was := p.cmd
	p.cmd = v&cmdStored | was&cmdCCSMask
	if v&cmdCLO != 0 && p.current < 0 {
		p.status &^= ata.StatusBSY | ata.StatusDRQ
	}
	if was&cmdST != 0 && v&cmdST == 0 {
		// The list is forgotten, also what is still under way of it.
		p.ci, p.sact, p.halted = 0, 0, false
		p.cmd &^= cmdCCSMask
	}
	if v&cmdFRE != 0 {
		p.receiveSignature()
	}
	if v&cmdST != 0 {
		p.process()
	}
}

// setControl is PxSCTL, which resets the device (section 10.4.2). It returns a drive
// whose parked requests are to be cancelled.
func (p *port) setControl(v uint32) (parked *ata.Drive) {
	const detMask, detReset = 15, 1
	was := p.sctl & detMask
	p.sctl = v & 0xfff
	switch det := v & detMask; {
	case det == detReset && was != detReset:
		p.comReset()
		return p.drive
	case det == 0 && was == detReset:
		p.linkUp()
	case det == 4: // off
		p.comReset()
		return p.drive
	case det == 0 && was == 4:
		p.linkUp()
	}
	return nil
}

// gather adds up to want bytes of a command's list of regions (section 4.2.3.3).
func (p *port) gather(h *header, pos *ata.Pos, s *drive.Segs, want int) error {
	had := s.Len()
	err := pos.Gather(s, p.hba.dma, want, uint32(h.PRDs), func(n uint32) (ata.Region, error) {
		var e [prdSize]byte
		err := p.hba.dma.Read(h.Table+tablePRD+uint64(n)*prdSize, e[:])
		return ata.Region{
			Addr: binary.LittleEndian.Uint64(e[:]) &^ 1, Size: binary.LittleEndian.Uint32(e[12:])&0x3fffff + 1,
			Last: n+1 == uint32(h.PRDs),
		}, err
	})
	pos.Moved += uint32(s.Len() - had)
	if err == nil && s.ToGuest() && pos.End && s.Len()-had < want {
		p.is |= isOFS // the drive has more than there is room for
	}
	return err
}

// Gather implements ata.Port.
func (p *port) Gather(_ *ata.Drive, pos *ata.Pos, s *drive.Segs, want int) error {
	return p.gather(&p.header, pos, s, want)
}

// DMAEnd implements ata.Port.
func (p *port) DMAEnd(_ *ata.Drive, pos ata.Pos, failed bool) {
	p.moved = pos.Moved
	if failed {
		p.is |= isHBFS
	}
}
