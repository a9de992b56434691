// Package i8257 is the PC's pair of DMA controllers with their page registers.
// It follows Intel's 8237A data sheet (231466) and, for the pages and what a PC
// makes of the second controller, that of the PIIX3 (290550, section 2.5).
//
// A device transfers through its Channel:
//
//	ch, err := dma.Channel(2)
//	ch.OnReady(f.transfer)
//	...
//	if ch.SetRequest(true) { f.transfer() }
//
// where transfer calls ch.Transfer for as much as there is.
package i8257

import (
	"fmt"
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// TypeName is the device's type.
const TypeName = "i8257"

const (
	controllers = 2
	perChip     = 4
	channels    = controllers * perChip
	cascade     = 4 // the channel by which the first controller reaches the second

	firstPort  = 0x00
	secondPort = 0xc0 // every other port: it is wired for words
	pagePort   = 0x80
	pages      = 16
)

// Device is both controllers: channels 0 to 3 of bytes, 5 to 7 of words.
type Device struct {
	device.Base
	dma *memory.DMA
	ch  [channels]Channel

	// mu guards what follows. It is held while guest memory is copied.
	mu    sync.Mutex
	chips [controllers]chip
	pages [pages]uint8 // by port; those of no channel are plain storage, 0x80 among them
}

// chip is the registers of a controller.
type chip struct {
	command   uint8
	done      uint8 // terminal counts since the status was read, a bit for each channel
	mask      uint8
	soft      uint8 // requests by the guest
	lines     uint8 // requests by devices
	high      bool  // the flip-flop: the next byte is the upper one
	registers [perChip]registers
}

// registers is what a channel has of its own. Only the lower bits count that
// the address lines of the chip have; the rest is in the page.
type registers struct {
	mode                uint8
	baseAddr, baseCount uint16
	addr, count         uint16
}

func init() {
	device.Register(object.Type{
		Name: TypeName, Bus: isa.BusKind, Description: "DMA controllers",
		New: func() object.Object { return newDevice() },
	})
}

func newDevice() *Device {
	d := &Device{}
	for n := range d.ch {
		d.ch[n].d, d.ch[n].n = d, n
	}
	d.clear()
	return d
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	d.dma = d.DMA()
	bus := isa.Of(d)
	for _, r := range []struct {
		name string
		port uint16
		size uint64
		h    memory.Handler
	}{
		{"dma-chan", firstPort, 16, controller{d, 0, 0}},
		{"dma-chan-2", secondPort, 32, controller{d, 1, 1}},
		{"dma-page", pagePort, pages, pageRegisters{d}},
	} {
		if err := bus.MapIO(d, r.port, d.Env().Memory.NewIO(r.name, r.size, r.h, memory.Spec{ImplMax: 1})); err != nil {
			return err
		}
	}
	return nil
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

// ResetEnter implements device.ResetEnterer. Requests are the devices' lines and stay.
func (d *Device) ResetEnter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
}

func (d *Device) clear() {
	for i := range d.chips {
		c := &d.chips[i]
		*c = chip{lines: c.lines}
		c.masterClear()
	}
	d.pages = [pages]uint8{}
}

// Channel returns a device's end of channel n: 0 to 3, or 5 to 7, which transfer words.
func (d *Device) Channel(n int) (*Channel, error) {
	if n < 0 || n >= channels || n == cascade {
		return nil, fmt.Errorf("%d is not a DMA channel for a device: 0 to 3 and 5 to 7 are", n)
	}
	return &d.ch[n], nil
}
