package pci

import (
	"sync"

	"govmd/internal/device"
)

// intx is a function's interrupt pin.
type intx struct {
	mu    sync.Mutex // guards level, and keeps changes of the line in order
	level bool       // what the function wants
	line  *device.Line
}

// Swizzle returns the pin (0 to 3) of a bridge's primary side that a pin of the
// device in a slot behind it becomes (PCI-to-PCI Bridge 1.2, section 9.1).
func Swizzle(slot, pin int) int { return (slot + pin) & 3 }

// connectINTx finds the root bus's pin that pin (1 to 4) of the function drives.
func (d *Device) connectINTx(pin uint8) {
	d.intx.line = nil
	if pin == 0 || pin > 4 {
		return
	}
	root := d.bus.intxPin(d.Slot(), int(pin-1))
	if root == nil {
		return
	}
	l := root.Connect(d.Describe() + " INT" + string(rune('A'+pin-1)))
	d.intx.line = l
	d.Defer(l.Disconnect)
}

// SetINTx drives the function's interrupt pin, which it shares with others: the
// level holds until the guest has served the device. It shows in the status
// register, and on the pin unless the guest has disabled it.
func (d *Device) SetINTx(high bool) {
	d.intx.mu.Lock()
	defer d.intx.mu.Unlock()
	if d.intx.level != high {
		d.intx.level = high
		d.intx.drive(d)
	}
}

// INTx reports the level that the function has set.
func (d *Device) INTx() bool {
	d.intx.mu.Lock()
	defer d.intx.mu.Unlock()
	return d.intx.level
}

func (x *intx) drive(d *Device) {
	if x.level {
		d.config.Update(RegStatus, 0, StatusInterrupt)
	} else {
		d.config.Update(RegStatus, StatusInterrupt, 0)
	}
	x.line.SetLevel(x.level && d.config.U16(RegCommand)&CommandINTxDisable == 0)
}

func (d *Device) driveINTx() {
	d.intx.mu.Lock()
	defer d.intx.mu.Unlock()
	d.intx.drive(d)
}

// resetINTx forgets the level; the line falls when the pin is next driven.
func (d *Device) resetINTx() {
	d.intx.mu.Lock()
	defer d.intx.mu.Unlock()
	d.intx.level = false
}
