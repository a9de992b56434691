package pcitransport_test

import (
	"govmd/internal/device/pci"
	"govmd/internal/device/virtio/virtiotest"
	"govmd/internal/memory"
)

const cfgPort = 0x4000

// showConfig puts the function's configuration space into the port space.
func showConfig(r *virtiotest.Rig) {
	bus := r.Outer.Dev().Bus().Controller().(*pci.Bus)
	io := r.Env.Memory.NewIO("cfg", 256, cfg{bus}, memory.Spec{Max: 4, ImplMax: 4})
	if err := r.Env.IO.Root().Add(cfgPort, io); err != nil {
		r.TB.Fatal(err)
	}
}

// cfg shows the configuration space of the function in slot 3.
type cfg struct{ bus *pci.Bus }

func (c cfg) ReadIO(off uint64, size int) uint64 {
	return uint64(c.bus.ReadConfig(0, 3<<3, int(off), size))
}

func (c cfg) WriteIO(off uint64, size int, v uint64) {
	c.bus.WriteConfig(0, 3<<3, int(off), size, uint32(v))
}
