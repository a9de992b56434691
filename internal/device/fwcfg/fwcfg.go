// Package fwcfg is the firmware configuration device ("fw_cfg_io"): through it
// the firmware and the guest read what the machine is made of. It follows
// QEMU's docs/specs/fw_cfg.
package fwcfg

import (
	"fmt"
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/sysbus"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// TypeName is the device's type.
const TypeName = "fw_cfg_io"

// The ports.
const (
	DefaultIOBase = 0x510
	dmaOffset     = 4 // of the DMA register from the selector
)

// Features, as the item KeyID tells them.
const (
	featureTraditional = 1
	featureDMA         = 2
)

// slotsMin is the least number of file slots that firmware may count on.
const slotsMin = 0x10

// Device is the firmware configuration device. The board may change IOBase
// before Plug, and adds items before the machine runs.
type Device struct {
	device.Base
	IOBase uint16

	dmaEnabled  bool
	slots       uint16
	acpiRestore bool
	mem         *memory.DMA

	mu    sync.Mutex // guards what follows; held while building items and while copying
	keyed map[uint16]*item
	files []*item
	dir   item

	selected uint16 // key, or keyInvalid
	current  *item  // what it selects, or nil
	offset   int    // of the next byte in current
	dmaAddr  uint64 // the upper half, while the guest has written only that
	cmd      [dmaCommandSize]byte
}

func init() {
	device.Register(object.Type{
		Name: TypeName, Description: "firmware configuration",
		New: func() object.Object {
			return &Device{IOBase: DefaultIOBase, keyed: map[uint16]*item{}}
		},
		Props: []object.Property{
			object.Bool("dma_enabled", func(d *Device) *bool { return &d.dmaEnabled }, true, "whether items can be read by DMA"),
			object.Int("x-file-slots", func(d *Device) *uint16 { return &d.slots }, 0x20, "how many files there can be"),
			object.Bool("acpi-mr-restore", func(d *Device) *bool { return &d.acpiRestore }, true, "for compatibility; ignored"),
		},
	})
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	if d.slots < slotsMin || int(d.slots)+keyFileFirst > keyWriteChannel {
		return fmt.Errorf("\"file_slots\" must be between %#x and %#x", slotsMin, keyWriteChannel-keyFileFirst)
	}
	env := d.Env()
	features := uint32(featureTraditional)
	if d.dmaEnabled {
		features |= featureDMA
	}
	d.Add(KeySignature, []byte("QEMU"))
	d.AddUint32(KeyID, features)
	d.mem = d.DMA()
	d.selectKey(KeySignature)

	r := env.Memory.NewIO("fwcfg", 2, (*ports)(d), memory.Spec{Max: 2, Unaligned: true})
	if err := sysbus.MapIO(d, d.IOBase, r); err != nil {
		return err
	}
	if !d.dmaEnabled {
		return nil
	}
	r = env.Memory.NewIO("fwcfg.dma", 8, (*dmaPorts)(d), memory.Spec{})
	return sysbus.MapIO(d, d.IOBase+dmaOffset, r)
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

// ResetEnter implements device.ResetEnterer.
func (d *Device) ResetEnter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		f.built = false
	}
	d.dmaAddr = 0
	d.selectKey(KeySignature)
}

// selectKey makes an item the current one.
func (d *Device) selectKey(key uint16) {
	traceSelect.Emit(key)
	d.offset = 0
	d.selected = key
	if key == KeyFileDir {
		d.dir.data = d.directory()
		d.current = &d.dir
		return
	}
	d.current = d.lookup(key)
	if d.current == nil {
		d.selected = keyInvalid
		return
	}
	d.current.prepare()
}

// rest returns the bytes of the current item from the current offset on.
func (d *Device) rest() []byte {
	if d.current == nil || d.offset >= len(d.current.data) {
		return nil
	}
	return d.current.data[d.offset:]
}

// ports is the selector, 16 bits to write at offset 0, and the data register,
// 8 bits to read.
type ports Device

// ReadIO implements memory.Handler.
func (p *ports) ReadIO(_ uint64, size int) uint64 {
	if size != 1 {
		return ^uint64(0)
	}
	d := (*Device)(p)
	d.mu.Lock()
	defer d.mu.Unlock()
	rest := d.rest()
	if len(rest) == 0 {
		return 0
	}
	d.offset++
	return uint64(rest[0])
}

// WriteIO implements memory.Handler.
func (p *ports) WriteIO(off uint64, size int, v uint64) {
	if size != 2 || off != 0 {
		return // writing data this way is a thing of the past
	}
	d := (*Device)(p)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.selectKey(uint16(v))
}
