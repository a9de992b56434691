// Package scsi is the SCSI bus and the logical units on it, scsi-hd and scsi-cd:
// their commands (SPC-4, SBC-3; MMC-5 by package mmc), sense data and media. It knows
// nothing of how commands come in: that is the host adapter's, which owns the bus.
//
// A command (Request) is begun by Bus.Start, on the adapter's thread. What needs no
// storage ends there and then; the rest ends on a goroutine of the block layer, or on
// the thread. Lock order: the adapter's, then a unit's mu. Neither is held when a
// request's Done is called, nor when a request is handed to the block layer.
package scsi

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/device"
	"govmd/internal/device/scsi/sense"
)

// BusKind is what logical units plug into.
const BusKind = "SCSI"

func init() { device.RegisterBus(BusKind) }

// Address is where a logical unit is on its bus.
type Address struct{ Channel, Target, LUN uint32 }

func (a Address) String() string { return fmt.Sprintf("%d:%d:%d", a.Channel, a.Target, a.LUN) }

// anyNumber leaves target or LUN to the bus.
const anyNumber = ^uint32(0)

// Host is a host adapter, as its bus sees it.
type Host interface {
	// Exclude calls fn while no command is being started.
	Exclude(fn func())
	// UnitAdded and UnitRemoved are told of units that come and go, on the lane.
	UnitAdded(a Address)
	UnitRemoved(a Address)
	// UnitChanged is told of what guests are told of by a unit attention, too. It may be
	// called from anywhere, with no lock held.
	UnitChanged(a Address, what sense.Code)
}

// Bus is the controller of a SCSI bus.
type Bus struct {
	host   Host
	limits Address // the largest numbers
	owner  *device.Base
	units  atomic.Pointer[map[Address]*Unit] // replaced, never changed: those that take commands
	taken  map[Address]*Unit                 // the lane's

	mu    sync.Mutex
	reply [maxReply]byte // guarded by mu: of what no unit answers
}

// NewBus gives an adapter's device a bus on which the largest numbers are limits.
// The bus's name is that of the device's user ID and ".0" or, without one, "scsi."
// and the number of SCSI buses before it.
func NewBus(b *device.Base, host Host, limits Address) (*Bus, *device.Bus) {
	s := &Bus{host: host, limits: limits, owner: b, taken: map[Address]*Unit{}}
	s.units.Store(&map[Address]*Unit{})
	name := fmt.Sprintf("scsi.%d", b.Env().CountBuses(BusKind))
	if id := b.UserID(); id != "" {
		name = id + ".0"
	}
	return s, b.NewBus(BusKind, name, s)
}

// Attach implements device.Controller.
func (b *Bus) Attach(dev device.Device) error {
	u, ok := dev.(*Unit)
	if !ok {
		return fmt.Errorf("Device '%s' can't go on %s bus", dev.Dev().TypeName(), BusKind)
	}
	if err := b.place(&u.at); err != nil {
		return err
	}
	b.taken[u.at] = u
	u.bus = b
	return nil
}

// place completes an address.
func (b *Bus) place(a *Address) error {
	most := b.limits
	switch {
	case a.Channel > most.Channel:
		return fmt.Errorf("bad scsi channel id: %d", a.Channel)
	case a.Target != anyNumber && a.Target > most.Target:
		return fmt.Errorf("bad scsi device id: %d", a.Target)
	case a.LUN != anyNumber && a.LUN > most.LUN:
		return fmt.Errorf("bad scsi device lun: %d", a.LUN)
	}
	switch {
	case a.Target == anyNumber:
		try := Address{Channel: a.Channel, LUN: a.LUN}
		if a.LUN == anyNumber {
			try.LUN = 0
		}
		for b.taken[try] != nil {
			if try.Target++; try.Target > most.Target {
				return errors.New("no free target")
			}
		}
		*a = try
	case a.LUN == anyNumber:
		try := Address{Channel: a.Channel, Target: a.Target}
		for b.taken[try] != nil {
			if try.LUN++; try.LUN > most.LUN {
				return errors.New("no free lun")
			}
		}
		*a = try
	default:
		if other := b.taken[*a]; other != nil {
			return fmt.Errorf("lun already used by '%s'", other.Describe())
		}
	}
	return nil
}

// Detach implements device.Controller.
func (b *Bus) Detach(dev device.Device) { delete(b.taken, dev.(*Unit).at) }

// DeviceAddress implements device.Addresser.
func (b *Bus) DeviceAddress(dev device.Device) string { return dev.(*Unit).at.String() }

// DevicePlugged implements device.Plugged.
func (b *Bus) DevicePlugged(dev device.Device) {
	u := dev.(*Unit)
	b.publish(u.at, u)
	if !b.owner.Env().Running {
		return
	}
	for a, other := range *b.units.Load() {
		if other != u && a.Channel == u.at.Channel && a.Target == u.at.Target {
			other.attention(sense.LUNsChanged)
		}
	}
	b.host.UnitAdded(u.at)
}

// publish has u take the commands for a, or nobody.
func (b *Bus) publish(a Address, u *Unit) {
	now := map[Address]*Unit{}
	for k, v := range *b.units.Load() {
		now[k] = v
	}
	delete(now, a)
	if u != nil {
		now[a] = u
	}
	b.units.Store(&now)
}

// remove takes a unit from those that take commands: when it returns none is being
// started.
func (b *Bus) remove(u *Unit) {
	if (*b.units.Load())[u.at] != u {
		return
	}
	b.publish(u.at, nil)
	b.host.Exclude(func() {})
	b.host.UnitRemoved(u.at)
}

// Unit returns the unit at a, or nil. target reports whether its target has units.
func (b *Bus) Unit(a Address) (u *Unit, target bool) {
	units := *b.units.Load()
	if u = units[a]; u != nil {
		return u, true
	}
	for other := range units {
		if other.Channel == a.Channel && other.Target == a.Target {
			return nil, true
		}
	}
	return nil, false
}

// Target returns the units of a target, in order of their numbers.
func (b *Bus) Target(channel, target uint32) (list []*Unit) {
	for a, u := range *b.units.Load() {
		if a.Channel == channel && a.Target == target {
			list = append(list, u)
		}
	}
	slices.SortFunc(list, func(x, y *Unit) int { return int(x.at.LUN) - int(y.at.LUN) })
	return list
}

// Reset resets all units: what a reset of the bus does.
func (b *Bus) Reset() {
	for _, u := range *b.units.Load() {
		u.Reset()
	}
}

// Result is what becomes of a request at once.
type Result uint8

// The results.
const (
	Begun    Result = iota // Done will be called
	Ended                  // it has ended: Done is not called
	NoTarget               // nobody is there
	Overrun                // there is less memory for data than the command moves, or in the other direction
)

// Start begins a request to the unit at a. th is the thread that calls, which flushes
// it after its last request; nil when nobody is on such a thread.
func (b *Bus) Start(a Address, r *Request, th *block.Thread) Result {
	r.begin()
	u, target := b.Unit(a)
	c := &commands[r.CDB[0]]
	switch {
	case !target:
		return NoTarget
	case !r.fits(c, u):
		return Overrun
	case u == nil:
		b.absent(a, r)
		return Ended
	}
	return u.start(c, r, th)
}
