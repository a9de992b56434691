package ahci

import (
	"fmt"

	"govmd/internal/device/ata"
	"govmd/internal/state"
)

type saved struct {
	GHC   uint32      `cbor:"ghc"`
	IS    uint32      `cbor:"is"`
	Index uint32      `cbor:"index"`
	Ports []savedPort `cbor:"ports"`
}

type savedPort struct {
	CLB       uint64        `cbor:"clb"`
	FB        uint64        `cbor:"fb"`
	IS        uint32        `cbor:"is"`
	IE        uint32        `cbor:"ie"`
	CMD       uint32        `cbor:"cmd"`
	Status    byte          `cbor:"status"`
	Error     byte          `cbor:"error"`
	Sig       uint32        `cbor:"sig"`
	SSTS      uint32        `cbor:"ssts"`
	SCTL      uint32        `cbor:"sctl"`
	SERR      uint32        `cbor:"serr"`
	SACT      uint32        `cbor:"sact"`
	CI        uint32        `cbor:"ci"`
	Halted    bool          `cbor:"halted"`
	Signature bool          `cbor:"signature"`
	SoftReset bool          `cbor:"soft-reset"`
	Current   int           `cbor:"current"`
	Header    header        `cbor:"header"`
	PIO       ata.Pos       `cbor:"pio"`
	Moved     uint32        `cbor:"moved"`
	Asks      bool          `cbor:"asks"`
	Moving    bool          `cbor:"moving"`
	Queued    []savedQueued `cbor:"queued"`
}

type savedQueued struct {
	Tag    int     `cbor:"tag"`
	Write  bool    `cbor:"write"`
	FUA    bool    `cbor:"fua"`
	LBA    int64   `cbor:"lba"`
	Left   int     `cbor:"left"`
	Total  int     `cbor:"total"`
	Header header  `cbor:"header"`
	Pos    ata.Pos `cbor:"pos"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	e := state.Of("", 1, d.save, d.load)
	e.PostLoad = d.loaded
	return []state.Entry{e}
}

func (d *Device) save() saved {
	d.mu.Lock()
	s := saved{GHC: d.ghc, IS: d.is, Index: d.index}
	d.mu.Unlock()
	for _, p := range d.ports {
		s.Ports = append(s.Ports, p.save())
	}
	return s
}

func (p *port) save() savedPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := savedPort{
		p.clb, p.fb, p.is, p.ie, p.cmd, p.status, p.error, p.sig, p.ssts, p.sctl, p.serr, p.sact, p.ci,
		p.halted, p.signature, p.softReset, p.current, p.header, p.pio, p.moved, p.asks, p.moving, []savedQueued{},
	}
	for _, q := range p.queued {
		if q != nil {
			s.Queued = append(s.Queued, savedQueued{q.tag, q.write, q.fua, q.lba, q.left, q.total, q.header, q.mark})
		}
	}
	return s
}

func (d *Device) load(s *saved) error {
	if len(s.Ports) != numPorts {
		return fmt.Errorf("%d ports, not %d", len(s.Ports), numPorts)
	}
	for i, p := range d.ports {
		if err := p.load(&s.Ports[i]); err != nil {
			return fmt.Errorf("port %d: %w", i, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ghc, d.is, d.index = s.GHC&ghcIE|ghcAE, s.IS&(1<<numPorts-1), s.Index&0xffc
	return nil
}

func (p *port) load(s *savedPort) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.abandon()
	switch {
	case s.Current < -1 || s.Current >= slots:
		return fmt.Errorf("command in slot %d", s.Current)
	case p.drive == nil && (s.Current >= 0 || s.Signature || len(s.Queued) > 0 || s.SSTS != 0):
		return fmt.Errorf("nothing is connected here")
	case len(s.Queued) > 0 && !p.drive.Queues():
		return fmt.Errorf("the drive has no queue")
	}
	p.clb, p.fb, p.is, p.ie = s.CLB&^0x3ff, s.FB&^0xff, s.IS, s.IE&isWritable
	p.cmd = s.CMD & (cmdStored | cmdCCSMask)
	p.status, p.error, p.sig, p.ssts, p.sctl, p.serr = s.Status, s.Error, s.Sig, s.SSTS, s.SCTL&0xfff, s.SERR
	p.sact, p.ci, p.halted, p.signature, p.softReset = s.SACT, s.CI, s.Halted, s.Signature, s.SoftReset
	p.current, p.header, p.pio, p.moved, p.asks, p.moving = s.Current, s.Header, s.PIO, s.Moved, s.Asks, s.Moving
	for _, v := range s.Queued {
		if v.Tag < 0 || v.Tag >= slots || p.queued[v.Tag] != nil || v.LBA < 0 || v.LBA > 1<<48 || v.Left < 1 || v.Left > 65536 {
			return fmt.Errorf("queued command %d of %d sectors at %d", v.Tag, v.Left, v.LBA)
		}
		q := p.takeQueued()
		q.tag, q.write, q.fua, q.lba, q.left, q.total = v.Tag, v.Write, v.FUA, v.LBA, v.Left, v.Total
		q.header, q.pos, q.mark, q.resume = v.Header, v.Pos, v.Pos, true
		p.queued[v.Tag] = q
		p.outstanding |= 1 << v.Tag
	}
	p.pending.Store(p.is&p.ie != 0)
	return nil
}

// resumePriority has queued commands go on after their drive.
const resumePriority = 61

// loaded drives the interrupt, which a message has told of before, and goes on if the
// machine runs.
func (d *Device) loaded() error {
	d.mu.Lock()
	d.raised = d.is != 0 && d.ghc&ghcIE != 0
	d.mu.Unlock()
	d.interrupt(false)
	if d.Env().Run.Running() {
		d.resume()
	}
	return nil
}

// resume makes the requests of a loaded state.
func (d *Device) resume() {
	for _, p := range d.ports {
		p.mu.Lock()
		for _, q := range p.queued {
			if q != nil && q.resume {
				q.resume = false
				p.submit(q)
			}
		}
		p.process()
		p.mu.Unlock()
	}
}
