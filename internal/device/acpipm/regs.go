package acpipm

import "govmd/internal/memory"

// Registers returns what serves the Size bytes of PM1 event, PM1 control and
// timer registers, for accesses of 1, 2 and 4 bytes. Offsets beyond read as 0.
func (b *Block) Registers() memory.Handler { return (*pm1)(b) }

type pm1 Block

func (p *pm1) ReadIO(off uint64, size int) uint64 {
	b := (*Block)(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	tick := b.ticks() // once: both halves of the timer are of the same moment
	var v uint64
	for i := 0; i < size; i += 2 {
		at := off + uint64(i)
		v |= uint64(b.word(at&^1, tick)>>(8*(at&1))) << (8 * i)
	}
	if size < 8 {
		v &= 1<<(8*size) - 1
	}
	return v
}

// word reads the 16-bit register, or half of the timer, at an even offset, as it
// is at a tick.
func (b *Block) word(off, tick uint64) uint16 {
	switch off {
	case RegStatus:
		return b.statusAt(tick)
	case RegEnable:
		return b.enable
	case RegControl:
		return b.control
	case RegTimer:
		return uint16(tick)
	case RegTimer + 2:
		return uint16(tick >> 16 & (1<<(timerBits-16) - 1))
	}
	return 0
}

func (p *pm1) WriteIO(off uint64, size int, v uint64) {
	traceWrite.Emit(off, size, v)
	b := (*Block)(p)
	b.mu.Lock()
	typ, sleep := uint8(0), false
	for i := 0; i < size; i += 2 {
		at := off + uint64(i)
		mask, w := uint16(0xffff), uint16(v>>(8*i))
		if size == 1 {
			shift := 8 * (at & 1)
			mask, w = 0xff<<shift, w&0xff<<shift
		}
		switch at &^ 1 {
		case RegStatus:
			b.clearStatus(w)
		case RegEnable:
			b.enable = (b.enable&^mask | w&mask) & enableBits
		case RegControl:
			b.control = b.control&^mask | w&mask&^controlSleepEnable
			if b.cfg.ACPIOnly {
				b.control |= ControlSCI
			}
			sleep = w&controlSleepEnable != 0
			typ = uint8(b.control >> controlSleepShift & controlSleepType)
		}
	}
	b.update()
	b.mu.Unlock()
	if sleep && b.cfg.Sleep != nil {
		b.cfg.Sleep(typ)
	}
}

// clearStatus clears the bits that are ones in v.
func (b *Block) clearStatus(v uint16) {
	if b.statusNow()&v&StatusTimer != 0 {
		b.overflow = nextOverflow(b.ticks())
	}
	b.status &^= v
}

// GPE returns what serves the block of general-purpose events: the status
// registers, then as many enable registers.
func (b *Block) GPE() memory.Handler { return (*gpe)(b) }

// GPESize returns the size of that block in bytes.
func (b *Block) GPESize() uint64 { return uint64(2 * len(b.gpeSts)) }

type gpe Block

func (g *gpe) ReadIO(off uint64, size int) uint64 {
	b := (*Block)(g)
	b.mu.Lock()
	defer b.mu.Unlock()
	var v uint64
	for i := size - 1; i >= 0; i-- {
		v <<= 8
		if p := b.gpeByte(off + uint64(i)); p != nil {
			v |= uint64(*p)
		}
	}
	return v
}

func (g *gpe) WriteIO(off uint64, size int, v uint64) {
	b := (*Block)(g)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := 0; i < size; i++ {
		at, w := off+uint64(i), byte(v>>(8*i))
		if p := b.gpeByte(at); p == nil {
			continue
		} else if at < uint64(len(b.gpeSts)) {
			*p &^= w
		} else {
			*p = w
		}
	}
	b.update()
}

func (b *Block) gpeByte(off uint64) *byte {
	n := uint64(len(b.gpeSts))
	switch {
	case off < n:
		return &b.gpeSts[off]
	case off < 2*n:
		return &b.gpeEn[off-n]
	}
	return nil
}
