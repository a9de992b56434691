package ahci

import (
	"encoding/binary"
	"math/bits"

	"govmd/internal/device/ata"
	"govmd/internal/device/drive"
)

// Types of FISes (Serial ATA 3.0, section 10.5).
const (
	fisRegisterH2D = 0x27
	fisRegisterD2H = 0x34
	fisSetBits     = 0xa1
	fisPIOSetup    = 0x5f

	fisCommand   = 1 << 7 // in byte 1: the command register is written
	fisInterrupt = 1 << 6
	fisToGuest   = 1 << 5
)

// Where FISes are received (section 4.2.1).
const (
	rxPIOSetup = 0x20
	rxRegister = 0x40
	rxSetBits  = 0x58
)

// process begins the commands that can begin. The mutex is held.
func (p *port) process() {
	for p.ci != 0 && p.cmd&cmdST != 0 && !p.halted && p.drive != nil && !p.dead && p.current < 0 && p.orphans == 0 && !p.signature {
		if p.status&(ata.StatusBSY|ata.StatusDRQ) != 0 {
			return
		}
		slot := bits.TrailingZeros32(p.ci)
		if !p.begin(slot) {
			return
		}
	}
}

// begin takes the command of a slot. It returns false when that has to wait.
func (p *port) begin(slot int) bool {
	var h [headerSize]byte
	if err := p.hba.dma.Read(p.clb+uint64(slot)*headerSize, h[:]); err != nil {
		p.fatal(isHBFS)
		return false
	}
	hd := header{
		Flags: binary.LittleEndian.Uint16(h[:]), PRDs: binary.LittleEndian.Uint16(h[2:]),
		Table: binary.LittleEndian.Uint64(h[8:]) &^ 0x7f,
	}
	var fis [20]byte
	if err := p.hba.dma.Read(hd.Table+tableFIS, fis[:]); err != nil {
		p.fatal(isHBFS)
		return false
	}
	queue := fis[2] == ata.CmdReadFPDMA || fis[2] == ata.CmdWriteFPDMA
	isCommand := fis[1]&fisCommand != 0
	if p.outstanding != 0 && !(isCommand && queue) {
		return false // they end first
	}
	p.cmd = p.cmd&^cmdCCSMask | uint32(slot)<<8
	switch {
	case fis[0] != fisRegisterH2D:
		p.hba.GuestErrorf("port %d: a FIS of type %#02x is no command", p.n, fis[0])
		p.ci &^= 1 << slot
	case !isCommand:
		p.ci &^= 1 << slot
		p.control(fis[15])
	case p.softReset:
		p.hba.GuestErrorf("port %d: command %#02x while the drive is being reset is lost", p.n, fis[2])
		p.ci &^= 1 << slot
	case queue && p.drive.Queues():
		p.ci &^= 1 << slot
		p.startQueued(&hd, &fis)
	default:
		p.start(slot, &hd, &fis)
	}
	return true
}

// control writes the device control register: SRST is a reset.
func (p *port) control(v byte) {
	on := v&ata.ControlSRST != 0
	switch {
	case on && !p.softReset:
		p.drive.SoftReset()
	case !on && p.softReset:
		p.drive.EndReset()
		p.takeSignature()
	}
	p.softReset = on
}

// start has the drive execute a command.
func (p *port) start(slot int, h *header, fis *[20]byte) {
	p.current, p.header = slot, *h
	p.pio, p.moved, p.asks, p.moving = ata.Pos{}, 0, false, false
	p.status |= ata.StatusBSY
	t := p.drive.Regs()
	t.Feature, t.Prev.Feature = fis[3], fis[11]
	t.Low, t.Mid, t.High, t.Device = fis[4], fis[5], fis[6], fis[7]
	t.Prev.Low, t.Prev.Mid, t.Prev.High = fis[8], fis[9], fis[10]
	t.Count, t.Prev.Count = fis[12], fis[13]
	p.drive.Start(fis[2])
}

// Data implements ata.Port: data of PIO are moved at once.
func (p *port) Data(d *ata.Drive) {
	b, in := d.Block()
	if d.WantsPacket() {
		_ = p.hba.dma.Read(p.header.Table+tableCDB, b) // what is not there was zero
		p.asks = false
		d.BlockMoved()
		return
	}
	p.pioFIS(len(b), in, p.asks)
	p.asks, p.moving = false, true
	if err := p.movePIO(b, in); err != nil {
		p.fatal(isHBFS)
	}
	d.BlockMoved()
}

func (p *port) movePIO(b []byte, in bool) error {
	var s drive.Segs
	s.Begin(in)
	defer s.Release()
	if err := p.gather(&p.header, &p.pio, &s, len(b)); err != nil {
		return err
	}
	p.moved = p.pio.Moved
	n := s.Len()
	if in {
		return s.Vec().Write(b[:n])
	}
	return s.Vec().Read(b[:n])
}

// Done implements ata.Port.
func (p *port) Done(*ata.Drive) {
	slot := p.current
	if slot < 0 {
		return
	}
	p.current = -1
	// How much has been moved is told in the command's header.
	_ = p.hba.dma.WriteU32(p.clb+uint64(slot)*headerSize+4, p.moved)
	failed := p.drive.Regs().Status&ata.StatusERR != 0
	if !failed {
		p.ci &^= 1 << slot
	}
	if p.asks || !p.moving {
		p.registerFIS(true)
	} else {
		p.status, p.error = p.drive.Regs().Status, p.drive.Regs().Error
		p.update(true)
	}
	p.asks = false
	p.drive.Acknowledge()
	p.process()
}

// fatal stops the list for an error of the host's side.
func (p *port) fatal(bits uint32) {
	p.is |= bits
	p.halted = true
	p.update(true)
}

// post writes a FIS to where the guest receives them.
func (p *port) post(at uint64, fis []byte) {
	if p.cmd&cmdFRE == 0 {
		return
	}
	if err := p.hba.dma.Write(p.fb+at, fis); err != nil {
		p.is |= isHBFS
	}
}

// shadow fills in what FISes have of the registers.
func shadow(fis []byte, t *ata.TaskFile) {
	fis[2], fis[3] = t.Status, t.Error
	fis[4], fis[5], fis[6], fis[7] = t.Low, t.Mid, t.High, t.Device
	fis[8], fis[9], fis[10] = t.Prev.Low, t.Prev.Mid, t.Prev.High
	fis[12], fis[13] = t.Count, t.Prev.Count
}

// registerFIS is the register FIS from the device.
func (p *port) registerFIS(interrupt bool) {
	var fis [20]byte
	t := p.drive.Regs()
	fis[0] = fisRegisterD2H
	if interrupt {
		fis[1] = fisInterrupt
		p.is |= isDHRS
	}
	shadow(fis[:], t)
	p.post(rxRegister, fis[:])
	p.status, p.error = t.Status, t.Error
	if t.Status&ata.StatusERR != 0 {
		p.is |= isTFES
		p.halted = true
	}
	p.update(interrupt)
}

// pioFIS is the PIO set-up FIS, before n bytes.
func (p *port) pioFIS(n int, in, interrupt bool) {
	var fis [20]byte
	t := p.drive.Regs()
	fis[0] = fisPIOSetup
	if in {
		fis[1] |= fisToGuest
	}
	shadow(fis[:], t)
	fis[15] = ata.StatusDRDY | ata.StatusDSC
	binary.LittleEndian.PutUint16(fis[16:], uint16(n))
	if interrupt {
		fis[1] |= fisInterrupt
		p.is |= isPSS
	}
	p.post(rxPIOSetup, fis[:])
	p.update(interrupt)
}

// setBitsFIS is the set device bits FIS: queued commands have ended.
func (p *port) setBitsFIS(done uint32, status, errorBits byte) {
	var fis [8]byte
	fis[0], fis[1] = fisSetBits, fisInterrupt
	fis[2], fis[3] = status&0x77, errorBits
	binary.LittleEndian.PutUint32(fis[4:], done)
	p.post(rxSetBits, fis[:])
	p.sact &^= done
	p.status = p.status&^0x77 | status&0x77
	p.error = errorBits
	p.is |= isSDBS
	if status&ata.StatusERR != 0 {
		p.is |= isTFES
		p.halted = true
	}
	p.update(true)
}
