package i8257

// Registers of a controller. The first eight are address and count of each channel.
const (
	regCount      = 1 // odd ones
	regStatus     = 8 // read
	regCommand    = 8 // write
	regRequest    = 9
	regSingleMask = 10
	regMode       = 11
	regFlipFlop   = 12
	regTemporary  = 13 // read
	regMaster     = 13 // write
	regClearMask  = 14
	regAllMask    = 15

	numbers = 8 // registers below are of 16 bits
)

// Command register.
const commandDisable = 1 << 2

// Mode register.
const (
	modeChannel   = 3
	modeTransfer  = 3 << 2
	modeVerify    = 0 << 2
	modeWrite     = 1 << 2 // to memory
	modeRead      = 2 << 2
	modeAutoInit  = 1 << 4
	modeDecrement = 1 << 5
	modePace      = 3 << 6
	modeCascade   = 3 << 6
)

// Request and single mask registers.
const (
	selectChannel = 3
	selectSet     = 1 << 2
)

const allChannels = 1<<perChip - 1

// controller is the ports of one controller.
type controller struct {
	d     *Device
	chip  int
	shift uint // ports to registers
}

// ReadIO implements memory.Handler.
func (c controller) ReadIO(off uint64, _ int) uint64 {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	return uint64(c.d.chips[c.chip].read(int(off >> c.shift)))
}

// WriteIO implements memory.Handler.
func (c controller) WriteIO(off uint64, _ int, v uint64) {
	c.d.mu.Lock()
	k := &c.d.chips[c.chip]
	before := k.ready()
	k.write(int(off>>c.shift), uint8(v))
	now := k.ready() &^ before
	c.d.mu.Unlock()
	if now == 0 {
		return
	}
	for i := range perChip {
		if now>>i&1 != 0 {
			c.d.ch[c.chip*perChip+i].tell()
		}
	}
}

// number returns the register that a port below numbers stands for.
func (k *chip) number(reg int) (current, base *uint16) {
	r := &k.registers[reg>>1]
	if reg&regCount != 0 {
		return &r.count, &r.baseCount
	}
	return &r.addr, &r.baseAddr
}

func (k *chip) read(reg int) uint8 {
	switch {
	case reg < numbers:
		v, _ := k.number(reg)
		upper := k.high
		k.high = !k.high
		if upper {
			return uint8(*v >> 8)
		}
		return uint8(*v)
	case reg == regStatus:
		v := k.done | k.requests()<<4
		k.done = 0
		return v
	case reg == regAllMask: // as the PIIX3 has it
		return k.mask
	}
	return 0 // regTemporary too: nothing is transferred from memory to memory
}

func (k *chip) write(reg int, v uint8) {
	if reg < numbers {
		current, base := k.number(reg)
		if k.high {
			*base = *base&0x00ff | uint16(v)<<8
			*current = *current&0x00ff | uint16(v)<<8
		} else {
			*base = *base&0xff00 | uint16(v)
			*current = *current&0xff00 | uint16(v)
		}
		k.high = !k.high
		return
	}
	bit := uint8(1) << (v & selectChannel)
	switch reg {
	case regCommand:
		k.command = v
	case regRequest:
		k.soft = choose(k.soft, bit, v&selectSet != 0)
	case regSingleMask:
		k.mask = choose(k.mask, bit, v&selectSet != 0)
	case regMode:
		k.registers[v&modeChannel].mode = v &^ modeChannel
	case regFlipFlop:
		k.high = false
	case regMaster:
		k.masterClear()
	case regClearMask:
		k.mask = 0
	case regAllMask:
		k.mask = v & allChannels
	}
}

func choose(v, bit uint8, on bool) uint8 {
	if on {
		return v | bit
	}
	return v &^ bit
}

// masterClear does what the reset pin does. Modes, addresses and counts stay.
func (k *chip) masterClear() {
	k.command, k.done, k.soft = 0, 0, 0
	k.high = false
	k.mask = allChannels
}

func (k *chip) requests() uint8 { return k.soft | k.lines }

// able reports whether a device's request on channel i is served. The cascade
// need not be set up: a kernel that is started without firmware does not do it.
func (k *chip) able(i int) bool {
	return k.command&commandDisable == 0 && k.mask>>i&1 == 0 && k.registers[i].mode&modePace != modeCascade
}

// ready returns the channels on which a device's request is being served.
func (k *chip) ready() (bits uint8) {
	for i := range perChip {
		if k.lines>>i&1 != 0 && k.able(i) {
			bits |= 1 << i
		}
	}
	return bits
}

// pageRegisters are address bits 16 to 23 of each channel. Port 0x80 takes the
// POST codes of firmware.
type pageRegisters struct{ d *Device }

// pageOf is the page register of each channel, as an offset from pagePort.
var pageOf = [channels]uint8{0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa}

// ReadIO implements memory.Handler.
func (p pageRegisters) ReadIO(off uint64, _ int) uint64 {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	return uint64(p.d.pages[off%pages])
}

// WriteIO implements memory.Handler.
func (p pageRegisters) WriteIO(off uint64, _ int, v uint64) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.d.pages[off%pages] = uint8(v)
}
