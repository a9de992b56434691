// Package debugexit is the device "isa-debug-exit", by which a guest ends the
// program with a status: test guests use it.
package debugexit

import (
	"errors"

	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// Exit is the device. Writing v ends the program with status 2v+1.
type Exit struct {
	device.Base
	iobase, iosize uint32
}

func init() {
	device.Register(object.Type{
		Name: "isa-debug-exit", Bus: isa.BusKind, UserCreatable: true, Description: "ends the program with a status",
		New: func() object.Object { return &Exit{} },
		Props: []object.Property{
			object.Int("iobase", func(d *Exit) *uint32 { return &d.iobase }, 0x501, "first port"),
			object.Int("iosize", func(d *Exit) *uint32 { return &d.iosize }, 2, "number of ports"),
		},
	})
}

// Realize implements device.Device.
func (d *Exit) Realize() error {
	if d.iosize == 0 || uint64(d.iobase)+uint64(d.iosize) > 1<<16 {
		return errors.New("iobase and iosize are beyond the last port, 0xffff")
	}
	r := d.Env().Memory.NewIO("isa-debug-exit", uint64(d.iosize), d, memory.Spec{Max: 4, Unaligned: true})
	return isa.Of(d).MapIO(d, uint16(d.iobase), r)
}

// Unrealize implements device.Device.
func (d *Exit) Unrealize() {}

// ReadIO implements memory.Handler.
func (d *Exit) ReadIO(uint64, int) uint64 { return 0 }

// WriteIO implements memory.Handler.
func (d *Exit) WriteIO(_ uint64, _ int, v uint64) { d.Env().Run.RequestExit(int(v<<1|1) & 0xff) }
