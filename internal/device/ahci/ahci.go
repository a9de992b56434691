// Package ahci is the device "ich9-ahci", a SATA controller with six ports, as the
// Serial ATA AHCI 1.3.1 specification has it; section numbers are that one's. What
// is at the end of a port is package ata's.
//
// Locks: a port's mutex, which it shares with its drive, then the controller's,
// which guards the interrupt.
package ahci

import (
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/ata"
	"govmd/internal/device/pci"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/runstate"
)

// TypeName is the device's type.
const TypeName = "ich9-ahci"

const (
	numPorts = 6
	slots    = 32

	capMSI  = 0x80
	capSATA = 0xa8
	indexIO = 0x10 // of the index register in base address register 4; data follows
)

// Device is the controller.
type Device struct {
	pci.Device
	dma   *memory.DMA
	ports [numPorts]*port

	mu     sync.Mutex // guards what follows
	ghc    uint32
	is     uint32
	index  uint32 // of the register that the I/O ports reach
	raised bool
}

func init() {
	pci.Register(object.Type{
		Name: TypeName, UserCreatable: true, Description: "SATA controller",
		New: func() object.Object { return &Device{} },
	})
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	id := pci.Identity{Vendor: pci.VendorIntel, Device: 0x2922, Revision: 2, Class: 0x010601, InterruptPin: 1}
	if err := d.Setup(id); err != nil {
		return err
	}
	c := d.Config()
	c.SetU8(pci.RegCacheLine, 8)
	c.SetU8(0x90, 1<<6) // the address map: AHCI
	if err := d.EnableMSI(1, capMSI, false); err != nil {
		return err
	}
	off, err := d.AddCapability(pci.CapSATA, capSATA, 8)
	if err != nil {
		return err
	}
	c.SetU16(off+2, 0x0010)
	c.SetU32(off+4, 0x8|indexIO/4<<4) // in base address register 4

	d.dma = d.DMA()
	d.ghc = ghcAE
	for i := range d.ports {
		p := &port{hba: d, n: i}
		p.cable, _ = ata.NewCable(&d.Base, p, i, 1)
		p.cable.Changed = p.changed
		p.powerOn()
		d.ports[i] = p
	}
	d.Defer(d.Env().Run.AddNotifier(resumePriority, func(running bool, _ runstate.State) {
		if running {
			d.resume()
		}
	}))
	m := d.Env().Memory
	err = d.RegisterBAR(4, pci.BARIO, m.NewIO("ahci-idp", 32, idp{d}, memory.Spec{Max: 4}))
	if err != nil {
		return err
	}
	return d.RegisterBAR(5, pci.BARMem32, m.NewIO("ahci", 4096, registers{d}, memory.Spec{Min: 1, Max: 4, ImplMin: 4, ImplMax: 4}))
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {
	d.Device.Unrealize()
	for _, p := range d.ports {
		if p != nil {
			p.end()
		}
	}
}

// ResetEnter implements device.ResetEnterer.
func (d *Device) ResetEnter() {
	d.Device.ResetEnter()
	for _, p := range d.ports {
		p.mu.Lock()
		p.powerOn()
		p.mu.Unlock()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ghc, d.is, d.index, d.raised = ghcAE, 0, 0, false
}

// ResetExit implements device.ResetExiter: the drives, which have been reset, too, send
// their signatures.
func (d *Device) ResetExit() {
	for _, p := range d.ports {
		p.mu.Lock()
		p.linkUp()
		p.mu.Unlock()
	}
}

// interrupt follows a change of a port's or the controller's registers; again says
// that something new has happened, of which a message tells in any case.
func (d *Device) interrupt(again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, p := range d.ports {
		if p != nil && p.pending.Load() {
			d.is |= 1 << i
		}
	}
	high := d.is != 0 && d.ghc&ghcIE != 0
	if d.MSIEnabled() > 0 {
		if high && (again || !d.raised) {
			d.MSI(0).Notify()
		}
		d.SetINTx(false)
	} else {
		d.SetINTx(high)
	}
	d.raised = high
}

var _ device.Stater = (*Device)(nil)
