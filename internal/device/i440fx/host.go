// Package i440fx is the Intel 440FX north bridge: the host bridge of machine
// "pc" with its root PCI bus, and what it makes of the first megabyte (PAM, SMRAM).
// Section numbers are those of the 82441FX data sheet (Intel 290549).
package i440fx

import (
	"errors"

	"govmd/internal/device"
	"govmd/internal/device/pci"
	"govmd/internal/device/sysbus"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/state"
)

// Host is the device "i440FX-pcihost". The board creates it, sets the exported
// fields, and plugs it in without a bus:
//
//	d, _ := device.Create("i440FX-pcihost", "")
//	host := d.(*i440fx.Host)
//	host.RAM, host.RAMSize = lowRAM, size
//	device.Plug(env, nil, host)
//
// Then Bus is the bus "pci.0", with the bridge itself at 00:00.0, and PCIMem
// the container of all that is on PCI. It shows wherever there is no RAM, so the
// board maps the firmware there: at the end of 4 GiB and below 1 MiB.
type Host struct {
	device.Base

	// RAM is a region that holds the guest's RAM from address 0, of at least
	// 1 MiB; the board maps it (or an alias of it) at address 0 with priority 0.
	// It is given a handler for writes while it is read-only.
	RAM *memory.Region
	// RAMSize is how much RAM there is in all, in bytes.
	RAMSize uint64

	hole64 uint64 // property: size of the window above 4 GiB

	bus    *device.Bus
	pci    *pci.Bus
	ports  pci.ConfigPorts
	mem    *memory.Region
	bridge *Bridge

	pciSpace *memory.Space // PCI alone: what accesses see that do not reach RAM
	ramSpace *memory.Space // the first megabyte of RAM alone
}

const firstMiB = 1 << 20

var errNoRAM = errors.New("i440FX-pcihost needs at least 1 MiB of RAM at address 0")

// Bus returns the bus "pci.0", once the host is realized.
func (h *Host) Bus() *device.Bus { return h.bus }

// PCI returns the controller of Bus.
func (h *Host) PCI() *pci.Bus { return h.pci }

// PCIMem returns the container of PCI's memory space, which begins at
// guest-physical address 0.
func (h *Host) PCIMem() *memory.Region { return h.mem }

// Hole64Size returns how large a window for PCI there is to be above RAM.
func (h *Host) Hole64Size() uint64 { return h.hole64 }

// Realize implements device.Device.
func (h *Host) Realize() error {
	if h.RAM == nil || h.RAM.Size() != 0 && h.RAM.Size() < firstMiB {
		return errNoRAM
	}
	env := h.Env()
	h.mem = env.Memory.NewContainer("pci", 0)
	root := env.Mem.Root()
	if err := root.AddOverlap(0, h.mem, pciPriority); err != nil {
		return err
	}
	h.Defer(func() {
		root.Remove(h.mem)
		h.mem.Quiesce()
	})
	if err := h.makeSpaces(); err != nil {
		return err
	}
	h.pci = pci.NewRoot(pci.RootConfig{
		Name: "pci.0", Mem: h.mem, IO: env.IO.Root(), Ports: &h.ports, MapINTx: mapINTx,
	})
	h.bus = h.NewBus(pci.BusKind, "pci.0", h.pci)
	if err := sysbus.MapIO(h, pci.PortConfigAddress, h.ports.AddressRegion(env.Memory)); err != nil {
		return err
	}
	if err := sysbus.MapIO(h, pci.PortConfigData, h.ports.DataRegion(env.Memory)); err != nil {
		return err
	}
	return h.plugBridge()
}

func (h *Host) makeSpaces() error {
	sys := h.Env().Memory
	h.pciSpace = sys.NewSpace("pci", 0)
	h.Defer(h.pciSpace.Close)
	if err := h.pciSpace.Root().Add(0, sys.NewAlias("pci", h.mem, 0, 0)); err != nil {
		return err
	}
	h.ramSpace = sys.NewSpace("ram below 1 MiB", firstMiB)
	h.Defer(h.ramSpace.Close)
	return h.ramSpace.Root().Add(0, sys.NewAlias("ram", h.RAM, 0, firstMiB))
}

// pciPriority puts PCI below RAM.
const pciPriority = -1

// mapINTx is how the slots of such boards are wired.
func mapINTx(slot, pin int) int { return (slot + pin - 1) & 3 }

func (h *Host) plugBridge() error {
	d, err := device.Create("i440FX", "")
	if err != nil {
		return err
	}
	h.bridge = d.(*Bridge)
	h.bridge.host = h
	h.bridge.SetAddr(0, 0)
	if err := object.Add(h, d, "bridge"); err != nil {
		return err
	}
	if err := device.Plug(h.Env(), h.bus, d); err != nil {
		object.Remove(d)
		return err
	}
	return nil
}

// Unrealize implements device.Device: its parts have gone before it.
func (h *Host) Unrealize() {}

// ResetEnter implements device.ResetEnterer.
func (h *Host) ResetEnter() { h.ports.SetAddress(0) }

type savedHost struct {
	Address uint32 `cbor:"config-address"`
}

// States implements device.Stater.
func (h *Host) States() []state.Entry {
	e := state.Of("", 1,
		func() savedHost { return savedHost{h.ports.Address()} },
		func(s *savedHost) error { h.ports.SetAddress(s.Address); return nil })
	e.Priority = state.PriorityBus
	return []state.Entry{e}
}

const defaultHole64 = 2 << 30

func init() {
	device.Register(object.Type{
		Name: "i440FX-pcihost", Description: "440FX host bridge and root PCI bus",
		Props: []object.Property{
			object.Size("pci-hole64-size", func(h *Host) *uint64 { return &h.hole64 }, defaultHole64,
				"size of the window for PCI above 4 GiB"),
		},
		New: func() object.Object { return &Host{} },
	})
	pci.Register(object.Type{
		Name: "i440FX", Description: "Host bridge",
		New: func() object.Object { return &Bridge{} },
	})
}
