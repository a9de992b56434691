package mmio_test

import (
	"testing"

	"govmd/internal/device/devtest"
	_ "govmd/internal/device/virtio/console"
	_ "govmd/internal/device/virtio/rng"
	"govmd/internal/device/virtio/virtiotest"
)

const base = virtiotest.MMIOBase

func TestEmptyTransport(t *testing.T) {
	m := devtest.New(t)
	tr, _ := virtiotest.PlugMMIO(m, base, false)
	m.CheckRead32(base, 0x74726976, "magic")
	m.CheckRead32(base+4, 2, "version")
	m.CheckRead32(base+0xc, 0x554d4551, "vendor")
	for _, off := range []uint64{8, 0x10, 0x34, 0x60, 0x70, 0xfc, 0x100} {
		m.CheckRead32(base+off, 0, "no device")
		m.Write32(base+off, 0xffffffff)
	}
	if tr.Bus().Name() != "virtio-mmio-bus.0" {
		t.Errorf("bus %q", tr.Bus().Name())
	}
	second, _ := virtiotest.PlugMMIO(m, base+0x200, true)
	if second.Bus().Name() != "virtio-mmio-bus.1" {
		t.Errorf("bus %q", second.Bus().Name())
	}
	m.CheckRead32(base+0x204, 1, "version of a legacy transport")
	if _, err := m.TryPlug(nil, "virtio-rng-device", ""); err == nil {
		t.Error("a device was plugged into nothing")
	}
}

func TestRegisters(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, "virtio-rng")
	r.CheckRead32(base+8, 4, "device ID")
	r.CheckRead32(base+0xb0, 0xffffffff, "length of shared memory")
	r.Write32(base+0x14, 2)
	r.CheckRead32(base+0x10, 0, "features beyond 64")
	r.Write32(base+0x30, 1)
	r.CheckRead32(base+0x34, 0, "size of a queue that is not there")
	r.Write32(base+0x44, 1)
	r.CheckRead32(base+0x44, 0, "a queue that is not there")
	r.Write32(base+0x30, 0)
	r.CheckRead32(base+0x34, 8, "size of queue 0")
	if v := r.Read8(base + 0x70); v != 0 {
		t.Errorf("status by a byte: %#x", v)
	}
	r.Write8(base+0x70, 1)
	r.CheckRead32(base+0x70, 0, "status after the write of a byte")
	r.Negotiate(0)
	r.Queue(0, 8)
	r.CheckRead32(base+0x44, 1, "ready")
	r.Write32(base+0x44, 0)
	r.CheckRead32(base+0x44, 0, "no longer ready")
	r.Write32(base+0x50, 0xffff) // notification of a queue that is not there
	r.Write32(base+0x70, 0)
	r.CheckRead32(base+0x70, 0, "status after a reset")
}

func TestLegacyRegisters(t *testing.T) {
	r := virtiotest.NewMMIO(t, true, "virtio-rng")
	r.CheckRead32(base+4, 1, "version")
	r.Write32(base+0x14, 1)
	r.CheckRead32(base+0x10, 0, "features beyond 32")
	ring := r.Start(0, 1)[0]
	r.CheckRead32(base+0x40, uint32(ring.Desc>>12), "page frame number")
	r.Write32(base+0x40, 0)
	r.CheckRead32(base+0x40, 0, "page frame number after the queue was taken back")
	if r.Core.Queue(0).Enabled() {
		t.Error("the queue is still enabled")
	}
	r.Write32(base+0x28, 3) // not a power of two
	r.Write32(base+0x3c, 0)
	r.Write32(base+0x40, 1)
	r.Settle()
}

func TestInterruptLine(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, "virtio-rng")
	ring := r.Start(0, 1)[0]
	ring.Add(virtiotest.In(virtiotest.DataBase, 8))
	r.Kick(0)
	if !r.Line.Level() {
		t.Fatal("the line is low")
	}
	r.CheckRead32(base+0x60, 1, "interrupt status")
	r.Write32(base+0x64, 2)
	if !r.Line.Level() {
		t.Error("the line fell when something else was acknowledged")
	}
	r.Write32(base+0x64, 1)
	if r.Line.Level() {
		t.Error("the line is high after the acknowledgement")
	}
}

func TestStateRoundTrip(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		_, to := devtest.RoundTrip(t, func(m *devtest.Machine) { virtiotest.MMIOOn(m, legacy, "virtio-rng") },
			func(m *devtest.Machine) {
				r := virtiotest.RigOf(m)
				ring := r.Start(1<<29, 1)[0]
				ring.Add(virtiotest.In(virtiotest.DataBase, 8))
				r.Kick(0)
				m.Write32(base+0x14, 1)
				m.Write32(base+0x24, 1)
				m.Write32(base+0x30, 7)
			})
		r := virtiotest.RigOf(to)
		if r.Status()&4 == 0 || r.ISR() != 1 || !r.Core.Queue(0).Enabled() {
			t.Errorf("legacy %v: the device is not where it was", legacy)
		}
	}
}

// The kernel takes notifications while the driver uses the queue.
func TestEventFDs(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, "virtio-rng")
	check := func(when string, want int) {
		t.Helper()
		if n := virtiotest.EventFDs(r.Env.Mem); n != want {
			t.Errorf("%s: %d eventfds, want %d", when, n, want)
		}
	}
	check("at first", 0)
	r.Start(0, 1)
	check("in use", 1)
	r.SetStatus(0)
	check("after a reset", 0)
	r.Start(0, 1)
	r.Unplug(r.Outer)
	check("unplugged", 0)
}

func FuzzLegacyRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { virtiotest.MMIOOn(m, true, "virtio-serial", "max_ports", "2") },
		devtest.MMIO(base, 0x200))
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) {
		virtiotest.Prefill(virtiotest.MMIOOn(m, true, "virtio-rng").Start(1<<29, 1))
	}, devtest.MMIO(base, 0x200))
}
