package console

import (
	"fmt"

	"govmd/internal/state"
)

// savedSerial is the saved state of the device, and savedPort that of a port.
type savedSerial struct {
	Cols    uint16      `cbor:"cols"`
	Rows    uint16      `cbor:"rows"`
	Pending []savedTell `cbor:"pending"`
}

type savedTell struct {
	Port   uint32 `cbor:"port"`
	Events uint16 `cbor:"events"`
}

type savedPort struct {
	Number    uint32 `cbor:"number"`
	GuestOpen bool   `cbor:"guest_open"`
	Announced bool   `cbor:"announced"`
	Told      bool   `cbor:"told"`
	Cols      uint16 `cbor:"cols"`
	Rows      uint16 `cbor:"rows"`
	Input     []byte `cbor:"input"`
	TxDone    uint64 `cbor:"tx_done"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	return append(d.Core.States(), state.Of("", 1, d.save, d.load))
}

func (d *Device) save() savedSerial {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := savedSerial{Cols: d.cols, Rows: d.rows, Pending: []savedTell{}}
	for n, events := range d.pending {
		if events != 0 {
			s.Pending = append(s.Pending, savedTell{uint32(n), uint16(events)})
		}
	}
	return s
}

func (d *Device) load(s *savedSerial) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.pending)
	known := pending(0)
	for _, e := range order {
		known |= 1 << e
	}
	known &^= 1 << ctlPortOpen
	for _, t := range s.Pending {
		if t.Port >= d.maxPorts || pending(t.Events)&^known != 0 {
			return fmt.Errorf("messages %#x for port %d", t.Events, t.Port)
		}
		d.pending[t.Port] = pending(t.Events)
	}
	d.cols, d.rows = s.Cols, s.Rows
	return nil
}

// States implements device.Stater.
func (p *Port) States() []state.Entry {
	e := state.Of("", 1, p.save, p.load)
	e.PostLoad = p.loaded
	return []state.Entry{e}
}

func (p *Port) save() savedPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return savedPort{
		Number: p.nr, GuestOpen: p.guestOpen, Announced: p.announced, Told: p.told, Cols: p.cols, Rows: p.rows,
		Input: append([]byte{}, p.stash...), TxDone: p.txDone,
	}
}

func (p *Port) load(s *savedPort) error {
	if s.Number != p.nr {
		return fmt.Errorf("it is port %d, here it is port %d", s.Number, p.nr)
	}
	if len(s.Input) > maxInput {
		return fmt.Errorf("%d bytes of input are on their way, at most %d can be", len(s.Input), maxInput)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guestOpen, p.cols, p.rows = s.GuestOpen, s.Cols, s.Rows
	p.stash, p.txDone = append([]byte(nil), s.Input...), s.TxDone
	p.announced, p.told = s.Announced, s.Told
	return nil
}

// loaded tells the character device what the guest has done. The guest is told
// what has changed at the host's end when the machine starts.
func (p *Port) loaded() error {
	p.mu.Lock()
	open := p.guestOpen
	p.mu.Unlock()
	if p.chr != nil && !p.console {
		p.chr.SetOpen(open)
	}
	return nil
}
