package i8259

import "govmd/internal/state"

type savedPair struct {
	Master savedChip `cbor:"master"`
	Slave  savedChip `cbor:"slave"`
}

type savedChip struct {
	Level      uint8 `cbor:"level"`
	Edge       uint8 `cbor:"edge"`
	ISR        uint8 `cbor:"isr"`
	IMR        uint8 `cbor:"imr"`
	ELCR       uint8 `cbor:"elcr"`
	Base       uint8 `cbor:"base"`
	Lowest     uint8 `cbor:"lowest"`
	Init       uint8 `cbor:"init"`
	NeedICW4   bool  `cbor:"need-icw4"`
	Single     bool  `cbor:"single"`
	AutoEOI    bool  `cbor:"auto-eoi"`
	RotateAEOI bool  `cbor:"rotate-aeoi"`
	FullyNest  bool  `cbor:"fully-nested"`
	Special    bool  `cbor:"special-mask"`
	Poll       bool  `cbor:"poll"`
	ReadISR    bool  `cbor:"read-isr"`
}

// States implements device.Stater. Input levels are state: devices that are
// loaded later drive their lines to what they were, which must not be an edge.
func (d *Device) States() []state.Entry {
	e := state.Of("", 1,
		func() savedPair {
			d.mu.Lock()
			defer d.mu.Unlock()
			return savedPair{d.chips[0].save(), d.chips[1].save()}
		},
		func(s *savedPair) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.chips[0].load(&s.Master)
			d.chips[1].load(&s.Slave)
			d.update()
			return nil
		})
	e.Priority = state.PriorityIRQ
	return []state.Entry{e}
}

func (c *chip) save() savedChip {
	return savedChip{
		Level: c.level, Edge: c.edge, ISR: c.isr, IMR: c.imr, ELCR: c.elcr, Base: c.base,
		Lowest: c.lowest, Init: c.init, NeedICW4: c.needICW4, Single: c.single, AutoEOI: c.autoEOI,
		RotateAEOI: c.rotateAEOI, FullyNest: c.fullyNest, Special: c.special, Poll: c.poll, ReadISR: c.readISR,
	}
}

func (c *chip) load(s *savedChip) {
	*c = chip{
		level: s.Level, isr: s.ISR, imr: s.IMR, base: s.Base &^ 7,
		lowest: s.Lowest & 7, needICW4: s.NeedICW4, single: s.Single, autoEOI: s.AutoEOI,
		rotateAEOI: s.RotateAEOI, fullyNest: s.FullyNest, special: s.Special, poll: s.Poll, readISR: s.ReadISR,
		wired: c.wired, elcrMay: c.elcrMay,
	}
	if s.Init >= 2 && s.Init <= 4 {
		c.init = s.Init
	}
	c.edge = s.Edge &^ c.wired
	c.setELCR(s.ELCR)
}
