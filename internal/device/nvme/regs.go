package nvme

import "govmd/internal/block"

// Registers (section 3.1).
const (
	regCAP   = 0x00
	regVS    = 0x08
	regINTMS = 0x0c
	regINTMC = 0x10
	regCC    = 0x14
	regCSTS  = 0x1c
	regAQA   = 0x24
	regASQ   = 0x28
	regACQ   = 0x30

	version = 0x00010400

	ccEnable   = 1
	ccShutdown = 3 << 14
	ccDefined  = 0x00fffff1

	cstsReady        = 1
	cstsFatal        = 2
	cstsShutdown     = 3 << 2
	cstsShuttingDown = 1 << 2
	cstsShutDown     = 2 << 2

	maxPageShift = 4 // pages of 4 KiB to 64 KiB
)

// capabilities is CAP: queues of 2048 contiguous entries, pages of 4 to 64 KiB, the NVM
// command set, and 7.5 s to become ready.
const capabilities = maxEntries - 1 | 1<<16 | 15<<24 | 1<<37 | maxPageShift<<52

type registers struct {
	cc, csts, aqa uint32
	asq, acq      uint64
}

// mmio serves the registers and the doorbells.
type mmio struct{ d *Device }

// ReadIO implements memory.IO.
func (m mmio) ReadIO(off uint64, _ int) uint64 {
	d := m.d
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &d.regs
	half := func(v uint64) uint64 { return v >> (8 * (off & 4)) & 0xffffffff }
	switch off {
	case regCAP, regCAP + 4:
		return half(capabilities)
	case regVS:
		return version
	case regINTMS, regINTMC:
		d.irqMu.Lock()
		defer d.irqMu.Unlock()
		return uint64(d.masked)
	case regCC:
		return uint64(r.cc)
	case regCSTS:
		return uint64(r.csts)
	case regAQA:
		return uint64(r.aqa)
	case regASQ, regASQ + 4:
		return half(r.asq)
	case regACQ, regACQ + 4:
		return half(r.acq)
	}
	return 0
}

// WriteIO implements memory.IO.
func (m mmio) WriteIO(off uint64, _ int, v uint64) {
	d := m.d
	if off >= doorbells {
		d.doorbell(uint32(off-doorbells)/4, uint32(v))
		return
	}
	switch off {
	case regINTMS, regINTMC:
		d.irqMu.Lock()
		if off == regINTMS {
			d.masked |= uint32(v)
		} else {
			d.masked &^= uint32(v)
		}
		d.updateINTx()
		d.irqMu.Unlock()
	case regCC:
		d.configure(uint32(v))
	default:
		d.mu.Lock()
		d.setAdmin(off, v)
		d.mu.Unlock()
	}
}

// setAdmin sets what says where the administrator's queues are, which a controller that
// is enabled has read already. mu is held.
func (d *Device) setAdmin(off, v uint64) {
	r := &d.regs
	low := func(p *uint64) { *p = *p&^0xffffffff | v&0xfffff000 }
	high := func(p *uint64) { *p = *p&0xffffffff | v<<32 }
	switch off {
	case regAQA:
		r.aqa = uint32(v) & 0x0fff0fff
	case regASQ:
		low(&r.asq)
	case regASQ + 4:
		high(&r.asq)
	case regACQ:
		low(&r.acq)
	case regACQ + 4:
		high(&r.acq)
	}
}

// configure is a write to CC: the controller is enabled, reset or shut down.
func (d *Device) configure(v uint32) {
	v &= ccDefined
	flush := false
	d.worker.Exclude(func() {
		d.mu.Lock()
		was := d.regs.cc
		d.mu.Unlock()
		if v&ccEnable == 0 && was&ccEnable != 0 {
			d.disable()
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.regs.cc = v
		if v&ccEnable != 0 && was&ccEnable == 0 {
			d.enable()
		}
		switch {
		case v&ccShutdown != 0 && was&ccShutdown == 0:
			d.regs.csts = d.regs.csts&^cstsShutdown | cstsShuttingDown
			flush = true
		case v&ccShutdown == 0:
			d.regs.csts &^= cstsShutdown
		}
	})
	if flush {
		d.shutDown()
	}
}

// enable puts the administrator's queues to work (section 7.6.1). mu is held.
func (d *Device) enable() {
	r := &d.regs
	cc := r.cc
	pageShift, entries := cc>>7&15, cc>>16&0xff
	sqSize, cqSize := r.aqa&0xfff+1, r.aqa>>16&0xfff+1
	page := d.pageSize()
	ok := cc>>4&7 == 0 && pageShift <= maxPageShift && cc>>11&7 == 0 &&
		(entries == 0x46 || entries == 0) && sqSize >= 2 && cqSize >= 2 &&
		r.asq != 0 && r.acq != 0 && r.asq%page == 0 && r.acq%page == 0
	if !ok {
		r.csts |= cstsFatal
		d.GuestErrorf("the controller cannot be enabled with CC %#x, AQA %#x, ASQ %#x, ACQ %#x", cc, r.aqa, r.asq, r.acq)
		return
	}
	d.cqs[0] = &completion{d: d, base: r.acq, size: cqSize, interrupts: true, phase: true, users: 1}
	d.sqs[0] = &submission{d: d, cq: d.cqs[0], base: r.asq, size: sqSize}
	r.csts |= cstsReady
}

// disable is a reset of the controller (section 7.3.2): what is under way are orphans.
// No queue is being served.
func (d *Device) disable() {
	d.mu.Lock()
	d.epoch++
	for i, cq := range d.cqs {
		if cq != nil {
			cq.end()
		}
		d.cqs[i], d.sqs[i] = nil, nil
	}
	d.events = events{}
	d.regs.cc, d.regs.csts = 0, 0
	d.features = defaults()
	d.mu.Unlock()
	d.irqMu.Lock()
	d.masked = 0
	d.updateINTx()
	d.irqMu.Unlock()
	d.backend.CancelParked()
	d.backend.SetWriteCache(d.cache)
}

// shutDown flushes what the cache holds and then says that this is done.
func (d *Device) shutDown() {
	d.mu.Lock()
	epoch := d.epoch
	d.mu.Unlock()
	d.queue.Submit(&block.Request{Op: block.OpFlush, NoAccounting: true, Done: func(*block.Request, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if epoch == d.epoch && d.regs.csts&cstsShutdown == cstsShuttingDown {
			d.regs.csts = d.regs.csts&^cstsShutdown | cstsShutDown
		}
	}})
}

// pageSize is what CC.MPS says, in bytes. mu is held, or the caller is the thread.
func (d *Device) pageSize() uint64 { return 4096 << min(d.regs.cc>>7&15, maxPageShift) }

// ready reports whether the controller takes commands.
func (d *Device) ready() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.regs.csts&(cstsReady|cstsFatal) == cstsReady
}

// fatal says that the controller has met what it cannot go on from.
func (d *Device) fatal(format string, args ...any) {
	d.mu.Lock()
	d.regs.csts |= cstsFatal
	d.mu.Unlock()
	d.GuestErrorf(format, args...)
}
