package i8257

import "sync/atomic"

// Channel is a device's end of a DMA channel. Its methods may be called with
// the device's mutex held.
type Channel struct {
	d     *Device
	n     int
	ready atomic.Pointer[func()]
}

// Direction says what the guest has set a channel up for.
type Direction int

// The directions.
const (
	Off        Direction = iota // masked, disabled, or not for a device: nothing is transferred
	Verify                      // addresses and counts advance, no data moves
	ToMemory                    // the device gives
	FromMemory                  // the device takes
)

// at returns the channel's place in its controller. d.mu is held.
func (c *Channel) at() (k *chip, i int) { return &c.d.chips[c.n/perChip], c.n % perChip }

// OnReady has fn called when the guest lets a request through that has been
// waiting. It is called with no lock held, perhaps when that is over already. A
// nil fn ends it; a call may be under way then.
func (c *Channel) OnReady(fn func()) {
	if fn == nil {
		c.ready.Store(nil)
		return
	}
	c.ready.Store(&fn)
}

func (c *Channel) tell() {
	if fn := c.ready.Load(); fn != nil {
		(*fn)()
	}
}

// SetRequest drives the request line (DREQ), and reports whether a transfer is
// possible at once; otherwise OnReady's function is called when it is.
func (c *Channel) SetRequest(on bool) (ready bool) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	k, i := c.at()
	k.lines = choose(k.lines, 1<<i, on)
	return on && k.able(i)
}

// Direction returns what the guest has set the channel up for.
func (c *Channel) Direction() Direction {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	k, i := c.at()
	return k.direction(i)
}

func (k *chip) direction(i int) Direction {
	if !k.able(i) {
		return Off
	}
	switch k.registers[i].mode & modeTransfer {
	case modeVerify:
		return Verify
	case modeWrite:
		return ToMemory
	case modeRead:
		return FromMemory
	}
	return Off
}

// Transfer moves up to len(p) bytes between p and guest memory, in the
// direction that the guest has set up, and returns how many it were: fewer at the
// terminal count, none while Direction is Off. Channels 5 to 7 transfer whole
// words only. When verifying, p stays as it is. The terminal count masks the
// channel, or with auto-initialization has the next transfer begin anew.
// Addresses without RAM read as ones; what is written there is lost.
func (c *Channel) Transfer(p []byte) (n int, terminal bool) {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	k, i := c.at()
	dir := k.direction(i)
	if dir == Off {
		return 0, false
	}
	r := &k.registers[i]
	shift := c.shift()
	for units := len(p) >> shift; units > 0 && !terminal; {
		run := min(units, int(r.count)+1, r.untilWrap())
		d.copy(dir, d.address(c.n), p[n:n+run<<shift])
		if r.mode&modeDecrement != 0 {
			r.addr -= uint16(run)
		} else {
			r.addr += uint16(run)
		}
		terminal = int(r.count)+1 == run
		r.count -= uint16(run)
		n += run << shift
		units -= run
	}
	if terminal {
		k.terminal(i)
	}
	return n, terminal
}

// shift is the logarithm of the channel's width in bytes.
func (c *Channel) shift() int {
	if c.n >= perChip {
		return 1
	}
	return 0
}

// untilWrap returns how many units lie one behind the other in memory, upwards.
func (r *registers) untilWrap() int {
	if r.mode&modeDecrement != 0 {
		return 1
	}
	return 1<<16 - int(r.addr)
}

// address returns where channel n is in guest memory. Addresses wrap around in
// the page: of 64 KiB, or of 128 KiB where they count words.
func (d *Device) address(n int) uint64 {
	page := uint64(d.pages[pageOf[n]]) << 16
	addr := uint64(d.chips[n/perChip].registers[n%perChip].addr)
	if n >= perChip {
		return page&^(1<<17-1) | addr<<1
	}
	return page | addr
}

func (d *Device) copy(dir Direction, addr uint64, p []byte) {
	move := d.dma.Read
	switch dir {
	case Verify:
		return
	case ToMemory:
		move = d.dma.Write
	}
	if move(addr, p) == nil {
		return
	}
	// A part of it is not RAM.
	for i := range p {
		if move(addr+uint64(i), p[i:i+1]) != nil && dir == FromMemory {
			p[i] = 0xff
		}
	}
}

// terminal is the end of a transfer.
func (k *chip) terminal(i int) {
	bit := uint8(1) << i
	k.done |= bit
	k.soft &^= bit
	r := &k.registers[i]
	if r.mode&modeAutoInit == 0 {
		k.mask |= bit
		return
	}
	r.addr, r.count = r.baseAddr, r.baseCount
}
