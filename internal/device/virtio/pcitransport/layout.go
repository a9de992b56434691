package pcitransport

import (
	"errors"
	"math/bits"
	"sync/atomic"

	"govmd/internal/device/pci"
	"govmd/internal/device/virtio"
	"govmd/internal/memory"
)

// The parts of the modern BAR.
const (
	offCommon = 0x0000
	offISR    = 0x1000
	offDevice = 0x2000
	offNotify = 0x3000
	partSize  = 0x1000

	maxQueues    = 1024
	notifyStride = 4
)

// Types of the capabilities (4.1.4).
const (
	capCommon = 1
	capNotify = 2
	capISR    = 3
	capDevice = 4
	capPCI    = 5

	capSize       = 16
	capNotifySize = 20
	capPCISize    = 20
)

var errLegacyIOMMU = errors.New("VIRTIO_F_IOMMU_PLATFORM was supported by neither legacy nor transitional device")

// layOut gives the function its BARs and capabilities.
func (d *Device) layOut(c *virtio.Core) error {
	if d.legacy && c.Offered(true)>>virtio.FeatureAccessPlatform&1 != 0 {
		return errLegacyIOMMU
	}
	d.queueVectors = make([]atomic.Uint32, len(c.Queues()))
	d.nvectors = int(d.vectors)
	if d.vectors == virtio.VectorsForQueues {
		d.nvectors = len(c.Queues()) + 1
	}
	if d.modern {
		if err := d.layOutModern(); err != nil {
			return err
		}
	}
	if d.nvectors > 0 {
		if err := d.EnableMSIXOwnBAR(d.nvectors, barMSIX); err != nil {
			return err
		}
	}
	if d.legacy {
		return d.layOutLegacy(c.ConfigSize())
	}
	return nil
}

func (d *Device) layOutModern() error {
	mem := d.Env().Memory
	d.notifyStride = notifyStride
	if d.pagePerVQ {
		d.notifyStride = partSize
	}
	notifySize := d.notifyStride * maxQueues
	bar := mem.NewContainer(d.describe("modern"), 1<<bits.Len64(offNotify+notifySize-1))
	spec := memory.Spec{ImplMax: 4}
	d.bars.notify = mem.NewIO(d.describe("notify"), notifySize, notifyRegs{d}, spec)
	for _, p := range []struct {
		off    uint64
		region *memory.Region
	}{
		{offCommon, mem.NewIO(d.describe("common"), partSize, commonRegs{d}, spec)},
		{offISR, mem.NewIO(d.describe("isr"), partSize, isrRegs{d}, spec)},
		{offDevice, mem.NewIO(d.describe("device"), partSize, deviceRegs{d}, spec)},
		{offNotify, d.bars.notify},
	} {
		if err := bar.Add(p.off, p.region); err != nil {
			return err
		}
	}
	if err := d.RegisterBAR(barModern, pci.BARMem64|pci.BARPrefetch, bar); err != nil {
		return err
	}
	for _, v := range []vendorCap{
		{capCommon, barModern, offCommon, partSize, capSize},
		{capISR, barModern, offISR, partSize, capSize},
		{capDevice, barModern, offDevice, partSize, capSize},
		{capNotify, barModern, offNotify, uint32(notifySize), capNotifySize},
	} {
		off, err := d.addCap(v)
		if err != nil {
			return err
		}
		if v.typ == capNotify {
			d.Config().SetU32(off+16, uint32(d.notifyStride))
		}
	}
	if d.pioNotify {
		if err := d.layOutPIO(); err != nil {
			return err
		}
	}
	return d.addConfigAccess()
}

// layOutPIO adds a port that takes notifications of all queues: on some hosts a
// port is quicker than memory.
func (d *Device) layOutPIO() error {
	d.bars.pio = d.Env().Memory.NewIO(d.describe("notify-pio"), 4, pioRegs{d}, memory.Spec{Max: 4, ImplMax: 4})
	if err := d.RegisterBAR(barPIO, pci.BARIO, d.bars.pio); err != nil {
		return err
	}
	_, err := d.addCap(vendorCap{capNotify, barPIO, 0, 4, capNotifySize}) // a multiplier of 0
	return err
}

// addConfigAccess adds the capability through which firmware reaches a BAR that
// it cannot address (4.1.4.9).
func (d *Device) addConfigAccess() error {
	off, err := d.addCap(vendorCap{capPCI, 0, 0, 0, capPCISize})
	if err != nil {
		return err
	}
	c := d.Config()
	c.Writable(off+4, 1, 0xff)
	c.Writable(off+8, 4, 0xffffffff)
	c.Writable(off+12, 4, 0xffffffff)
	c.Writable(off+16, 4, 0xffffffff)
	d.cfgCap = off
	return nil
}

// vendorCap is a capability that says where a part of the registers is.
type vendorCap struct {
	typ, bar    uint8
	off, length uint32
	size        int // of the capability
}

func (d *Device) addCap(v vendorCap) (int, error) {
	off, err := d.AddCapability(pci.CapVendor, 0, v.size)
	if err != nil {
		return 0, err
	}
	c := d.Config()
	c.SetU8(off+2, uint8(v.size))
	c.SetU8(off+3, v.typ)
	c.SetU8(off+4, v.bar)
	c.SetU32(off+8, v.off)
	c.SetU32(off+12, v.length)
	return off, nil
}

// layOutLegacy adds the block of ports of legacy drivers (4.1.4.10).
func (d *Device) layOutLegacy(configSize int) error {
	size := legacyConfig
	if d.nvectors > 0 {
		d.legacyVectors = true
		size = legacyConfigMSIX
	}
	n := uint64(1) << bits.Len64(uint64(size+configSize-1))
	d.bars.legacy = d.Env().Memory.NewIO(d.describe("legacy"), n, legacyRegs{d}, memory.Spec{Max: 4, ImplMax: 4})
	return d.RegisterBAR(barLegacy, pci.BARIO, d.bars.legacy)
}
