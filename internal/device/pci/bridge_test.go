package pci_test

import (
	"sync"
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/pci"
	"govmd/internal/object"
)

// testBridge is a PCI-to-PCI bridge that forwards everything.
type testBridge struct {
	pci.Device
	bus *device.Bus
}

func (p *testBridge) Realize() error {
	if err := p.Setup(pci.Identity{Vendor: 0x1234, Device: 1, Class: 0x060400, Bridge: true}); err != nil {
		return err
	}
	up := p.PCIBus()
	p.bus = p.NewBus(pci.BusKind, "pci.1", pci.NewSecondary(p.PCI(), up.Mem(), up.IO()))
	return nil
}

func init() {
	pci.Register(object.Type{Name: "test-bridge", New: func() object.Object { return &testBridge{} }})
}

func TestBehindBridges(t *testing.T) {
	b := newBed(t)
	outer := b.Plug(b.bus, "test-bridge", "", "addr", "5").(*testBridge)
	inner := b.Plug(outer.bus, "test-bridge", "", "addr", "2").(*testBridge)
	p := b.Plug(inner.bus, "pci-probe", "", "addr", "3").(*probe)
	at := func(bus, slot int) uint32 {
		b.Out32(pci.PortConfigAddress, 1<<31|uint32(bus<<16|slot<<11))
		return b.In32(pci.PortConfigData)
	}
	equal(t, "before there are numbers", at(2, 3), 0xffffffff)
	outer.ConfigWrite(pci.RegPrimaryBus, 4, 0x020100)
	equal(t, "inner bridge", at(1, 2), 0x00011234)
	inner.ConfigWrite(pci.RegPrimaryBus, 4, 0x020201)
	equal(t, "behind both", at(2, 3), 0x56781234)
	equal(t, "another slot", at(2, 4), 0xffffffff)
	equal(t, "address", p.Address(), "0000:02:03.0")
	equal(t, "bus number", inner.bus.Controller().(*pci.Bus).Number(), 2)
	if p.PCIBus().Root() != b.pci || p.PCIBus().ConfigPorts() != &b.ports {
		t.Error("the root bus is another")
	}
	// INTB of slot 3, behind slot 2, behind slot 5: pin 1+3+2+5.
	p.SetINTx(true)
	equal(t, "pins", b.intx, [4]bool{(1 + 3 + 2 + 5) & 3: true})

	// A guest that gives all buses one number gets no answer, nor a loop.
	outer.ConfigWrite(pci.RegPrimaryBus, 4, 0xff0000)
	inner.ConfigWrite(pci.RegPrimaryBus, 4, 0xff0000)
	equal(t, "no secondary bus", at(7, 3), 0xffffffff)
	b.Unplug(outer)
	equal(t, "all gone", b.intx, [4]bool{})
}

// What vCPUs, back ends and the control lane do to a function at the same time.
func TestConcurrency(t *testing.T) {
	b := newBed(t)
	p := b.probe("addr", "0")
	var wg sync.WaitGroup
	run := func(fn func(i int)) {
		wg.Go(func() {
			for i := range 300 {
				fn(i)
			}
		})
	}
	run(func(i int) { b.pci.WriteConfig(0, 0, 0x18, 4, 0xe0000000+uint32(i)<<14) })
	run(func(i int) { b.pci.WriteConfig(0, 0, pci.RegCommand, 2, uint32(i)) })
	run(func(i int) { b.pci.WriteConfig(0, 0, p.FindCapability(pci.CapMSIX)+2, 2, uint32(i)<<14) })
	run(func(i int) { b.pci.ReadConfig(0, 0, i%252, 4) })
	run(func(i int) { p.MSIX(i % 5).Notify() })
	run(func(i int) { p.SetINTx(i%2 == 0) })
	run(func(i int) {
		if i%50 == 0 {
			b.Do(func() { device.Reset(p) })
		}
	})
	wg.Wait()
	run(func(int) { b.pci.WriteConfig(0, 0, pci.RegCommand, 2, 7) })
	run(func(int) { p.MSIX(0).Notify() })
	b.Unplug(p)
	wg.Wait()
	equal(t, "gone", b.pci.ReadConfig(0, 0, 0, 4), 0xffffffff)
}
