package pcitransport_test

import (
	"govmd/internal/device/pci"
	"govmd/internal/memory"
)

var memorySpec = memory.Spec{Max: 4, ImplMax: 4}

// cfg shows the configuration space of the function in slot 3.
type cfg struct{ bus *pci.Bus }

func (c cfg) ReadIO(off uint64, size int) uint64 {
	return uint64(c.bus.ReadConfig(0, 3<<3, int(off), size))
}

func (c cfg) WriteIO(off uint64, size int, v uint64) {
	c.bus.WriteConfig(0, 3<<3, int(off), size, uint32(v))
}
