// Package pci is the PCI bus and what its functions have in common:
// configuration space, base address registers, capabilities, interrupts by pin
// and by message, option ROMs.
//
// A function embeds Device. In its Realize it calls Setup, then registers its
// BARs and capabilities; everything a guest does to the standard registers is
// handled here. How a guest reaches configuration space is the host bridge's
// business (see ConfigPorts for mechanism 1).
//
// Locks, in the order in which they are taken:
//
//	Device.access  one configuration access to the function at a time; held
//	               while the optional hooks below run and BARs are mapped
//	the function's own mutex
//	Device.intx.mu, Vector.mu
//	Config.mu
//	those of the memory system, pins and interrupt controllers
//
// So a function may call SetINTx and Vector.Notify with its mutex held, and its
// hooks may take its mutex; it must not access its own configuration space as
// a guest does (ConfigRead, ConfigWrite) with its mutex held.
package pci

import (
	"errors"
	"fmt"
	"sync"

	"govmd/internal/device"
	"govmd/internal/memory"
)

// BusKind is what PCI functions plug into.
const BusKind = "PCI"

func init() { device.RegisterBus(BusKind) }

// Vendor IDs that many functions use.
const (
	VendorIntel  = 0x8086
	VendorRedHat = 0x1af4
	vendorNone   = 0xffff
)

// SubsystemDefault is the subsystem ID, of VendorRedHat, of functions without one of their own.
const SubsystemDefault = 0x1100

// Function is a PCI function. Implementations embed Device.
type Function interface {
	device.Device
	PCI() *Device
}

// What a function may implement beside, to take part in accesses to its
// configuration space.
type (
	// ConfigReader is told before the guest reads, and may bring the bytes up to date.
	ConfigReader interface{ ConfigReading(off, size int) }
	// ConfigWriter is told after the guest has written.
	ConfigWriter interface{ ConfigWritten(off, size int) }
	// ConfigReloader is told when all of configuration space may have changed:
	// after a reset and after a saved state was loaded.
	ConfigReloader interface{ ConfigReloaded() }
)

// Device is the common part of a PCI function.
type Device struct {
	device.Base

	// properties
	devfn         int32 // -1: any free slot
	multifunction bool
	romFile       string
	romSize       uint32
	romBAR        uint32
	acpiIndex     uint32

	bus    *Bus
	self   Function
	reader ConfigReader
	writer ConfigWriter
	reload ConfigReloader
	dma    *memory.DMA

	access    sync.Mutex // one configuration access at a time
	alive     bool       // guarded by access: the guest reaches the function
	config    Config
	size      int
	bridge    bool
	secondary *Bus // of bridges
	bars      [numBARs]bar
	caps      capSpace
	intx      intx
	msi       *msi
	msix      *msix
	initial   initial
}

// initial is configuration space at the end of Realize, and what a guest may
// write of it: what a reset brings back, registers that lock themselves included.
type initial struct{ data, writable []byte }

// Identity is what a function says it is.
type Identity struct {
	Vendor, Device uint16
	Revision       uint8
	Class          uint32 // 24 bits: class, sub-class, programming interface
	// SubsystemVendor and Subsystem default to VendorRedHat and
	// SubsystemDefault when both are 0. Bridges have none.
	SubsystemVendor, Subsystem uint16
	InterruptPin               uint8 // 0: none; 1 to 4: INTA to INTD
	Express                    bool  // has extended configuration space
	Bridge                     bool  // has a type 1 header
}

// PCI returns d, which makes what embeds it a Function.
func (d *Device) PCI() *Device { return d }

// PCIBus returns the bus that the function is plugged into, or nil.
func (d *Device) PCIBus() *Bus { return d.bus }

// Devfn returns the function's place on its bus: slot<<3 | function.
func (d *Device) Devfn() uint8 { return uint8(d.devfn) }

// Slot returns the number of the slot, 0 to 31.
func (d *Device) Slot() int { return int(d.devfn) >> 3 }

// Fn returns the number of the function in its slot, 0 to 7.
func (d *Device) Fn() int { return int(d.devfn) & 7 }

// Address returns the place as it is usually written: "0000:00:03.0".
func (d *Device) Address() string {
	n := 0
	if d.bus != nil {
		n = d.bus.Number()
	}
	return fmt.Sprintf("0000:%02x:%02x.%x", n, d.Slot(), d.Fn())
}

// Config returns the configuration space, for the function's own use.
func (d *Device) Config() *Config { return &d.config }

// BusMaster reports whether the guest lets the function access memory.
func (d *Device) BusMaster() bool { return d.config.U16(RegCommand)&CommandMaster != 0 }

var errNotPlugged = errors.New("the function is not plugged into a PCI bus")

// Setup writes the standard header, loads the option ROM if there is one and
// registers the saved state of all that this package handles. Functions call it
// first in Realize. What they do not undo themselves is undone by Unrealize.
func (d *Device) Setup(id Identity) error {
	if d.bus == nil {
		return errNotPlugged
	}
	d.size = ConventionalSize
	if id.Express {
		d.size = ConfigSize
	}
	d.bridge = id.Bridge
	c := &d.config
	c.mu.Lock()
	c.data, c.writable, c.w1c = [ConfigSize]byte{}, [ConfigSize]byte{}, [ConfigSize]byte{}
	c.mu.Unlock()
	d.caps = capSpace{}
	d.bars = [numBARs]bar{}
	d.msi, d.msix = nil, nil

	c.SetU16(RegVendor, id.Vendor)
	c.SetU16(RegDevice, id.Device)
	c.SetU8(RegRevision, id.Revision)
	c.SetU8(RegClass, uint8(id.Class))
	c.SetU16(RegClass+1, uint16(id.Class>>8))
	header := uint8(0)
	if id.Bridge {
		header = 1
		c.Writable(RegPrimaryBus, 4, 0x00ffffff) // primary, secondary and subordinate bus number
	} else {
		if id.SubsystemVendor == 0 && id.Subsystem == 0 {
			id.SubsystemVendor, id.Subsystem = VendorRedHat, SubsystemDefault
		}
		c.SetU16(RegSubsystemVendor, id.SubsystemVendor)
		c.SetU16(RegSubsystem, id.Subsystem)
	}
	if d.multifunction {
		header |= headerMultifunction
	}
	c.SetU8(RegHeaderType, header)
	c.SetU8(RegInterruptPin, id.InterruptPin)
	c.Writable(RegCommand, 2, CommandIO|CommandMemory|CommandMaster|CommandSERR|CommandINTxDisable)
	c.WriteOneToClear(RegStatus, 2, statusErrors)
	c.Writable(RegCacheLine, 1, 0xff)
	c.Writable(RegInterruptLine, 1, 0xff)
	d.connectINTx(id.InterruptPin)
	if err := d.loadROM(); err != nil {
		return err
	}
	d.Defer(d.vanish) // for functions that fail, or forget to in Unrealize
	return d.registerState()
}

// Unrealize takes the function off the bus: when it returns the guest reaches
// neither its configuration space nor its BARs, and its interrupts are silent.
// A function with an Unrealize of its own calls this one first.
func (d *Device) Unrealize() { d.vanish() }

func (d *Device) vanish() {
	if d.bus == nil {
		return
	}
	d.bus.hide(d)
	d.access.Lock() // an access that is under way finishes first
	d.alive = false
	mapped := d.unmapBARs()
	d.access.Unlock()
	for _, r := range mapped {
		r.Quiesce()
	}
	if d.dma != nil {
		d.dma.SetEnabled(false)
	}
	d.SetINTx(false)
	d.closeVectors()
}

// ConfigRead reads size bytes (1, 2 or 4) at off as the guest does. Beyond the
// function's space it reads as all ones.
func (d *Device) ConfigRead(off, size int) uint32 {
	if off < 0 || off+size > d.size {
		return ones(size)
	}
	d.access.Lock()
	defer d.access.Unlock()
	if !d.alive {
		return ones(size)
	}
	if d.reader != nil {
		d.reader.ConfigReading(off, size)
	}
	v := d.config.get(off, size)
	if d.msi != nil {
		v = d.msi.overlayPending(off, size, v)
	}
	if traceRead.On() {
		traceRead.Emit(d.Address(), off, size, v)
	}
	return v
}

// ConfigWrite writes size bytes (1, 2 or 4) at off as the guest does.
func (d *Device) ConfigWrite(off, size int, v uint32) {
	if off < 0 || off+size > d.size {
		return
	}
	d.access.Lock()
	defer d.access.Unlock()
	if !d.alive {
		return
	}
	if traceWrite.On() {
		traceWrite.Emit(d.Address(), off, size, v)
	}
	d.config.guestWrite(off, size, v)
	command := overlaps(off, size, RegCommand, 2)
	if command {
		d.commandChanged()
	}
	if command || overlaps(off, size, RegBAR0, 24) || overlaps(off, size, d.romReg(), 4) {
		d.updateMappings()
	}
	if d.msi != nil && (command || overlaps(off, size, d.msi.cap, d.msi.size)) {
		d.msi.update()
	}
	if d.msix != nil && (command || overlaps(off, size, d.msix.cap+2, 2)) {
		d.msix.update()
	}
	if d.writer != nil {
		d.writer.ConfigWritten(off, size)
	}
}

// commandChanged acts on the command register, but for BARs and messages.
func (d *Device) commandChanged() {
	if d.dma != nil {
		d.dma.SetEnabled(d.BusMaster())
	}
	d.driveINTx()
}

// reloaded brings everything in line with configuration space after all of it
// may have changed. d.access is held.
func (d *Device) reloaded() {
	d.commandChanged()
	d.updateMappings()
	if d.msi != nil {
		d.msi.update()
	}
	if d.msix != nil {
		d.msix.update()
	}
	if d.reload != nil {
		d.reload.ConfigReloaded()
	}
}

// ResetEnter brings configuration space back to what it was at the end of
// Realize: BARs and bus mastering are off, the interrupts are silent. A function
// with a ResetEnter of its own calls this one.
func (d *Device) ResetEnter() {
	d.access.Lock()
	defer d.access.Unlock()
	d.resetINTx()
	if d.msi != nil {
		d.msi.reset()
	}
	if d.msix != nil {
		d.msix.reset()
	}
	d.config.mu.Lock()
	copy(d.config.data[:], d.initial.data)
	copy(d.config.writable[:], d.initial.writable)
	d.config.mu.Unlock()
	d.reloaded()
}

// ResetHold lowers the interrupt pin. A function with a ResetHold of its own calls this one.
func (d *Device) ResetHold() { d.SetINTx(false) }

// plugged notes what a reset brings back and lets the guest in.
func (d *Device) plugged() {
	d.access.Lock()
	defer d.access.Unlock()
	d.alive = true
	d.config.mu.Lock()
	defer d.config.mu.Unlock()
	d.initial = initial{
		data:     append([]byte(nil), d.config.data[:d.size]...),
		writable: append([]byte(nil), d.config.writable[:d.size]...),
	}
}

func overlaps(off, size, at, length int) bool { return off < at+length && at < off+size }

func ones(size int) uint32 { return uint32(1<<(8*size) - 1) }
