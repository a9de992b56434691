package virtiotest

import (
	"testing"

	"govmd/internal/device/virtio/ringtest"
	"govmd/internal/memory"
)

// What tests of devices use of package ringtest.
type (
	Ring = ringtest.Ring
	Seg  = ringtest.Seg
	Used = ringtest.Used
)

// Out is a segment for the device to read.
func Out(addr uint64, n uint32) Seg { return ringtest.Out(addr, n) }

// In is a segment for the device to write.
func In(addr uint64, n uint32) Seg { return ringtest.In(addr, n) }

// NewRing lays out a ring.
func NewRing(tb testing.TB, sp *memory.Space, base uint64, size uint16) *Ring {
	return ringtest.NewRing(tb, sp, base, size)
}
