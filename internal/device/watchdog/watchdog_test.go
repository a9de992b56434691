package watchdog_test

import (
	"slices"
	"testing"
	"time"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/pci"
	"govmd/internal/device/watchdog"
	"govmd/internal/event"
	"govmd/internal/runstate"
)

var fired = []event.Event{
	runstate.WatchdogEvent{Action: "reset"},
	runstate.ResetEvent{Guest: true, Reason: "guest-reset"},
}

func after(t *testing.T, m *devtest.Machine, d time.Duration, what string, want ...event.Event) {
	t.Helper()
	m.Advance(d)
	m.Sync()
	if got := m.Events(); !slices.Equal(got, want) {
		t.Errorf("%s: events %+v, want %+v", what, got, want)
	}
}

func newIB700(t testing.TB) *devtest.Machine {
	m := devtest.New(t)
	addIB700(m)
	m.Events() // those of the start
	return m
}

func addIB700(m *devtest.Machine) { m.Plug(m.ISA, watchdog.TypeIB700, "dog") }

func TestIB700(t *testing.T) {
	m := newIB700(t)
	m.CheckIn8(0x443, 0xff, "register")
	for v := range uint8(32) { // four bits count
		wait := time.Duration(30-2*int(v&15)) * time.Second
		m.Out8(0x443, v)
		if wait > 0 {
			after(t, m, wait-1, "before its time")
		}
		after(t, m, 1, "in time", fired...)
		after(t, m, time.Hour, "once", nil...)
	}
	m.Out8(0x443, 10)
	after(t, m, 9*time.Second, "fed")
	m.Out8(0x444, 10)
	after(t, m, 9*time.Second, "fed again")
	m.Out8(0x442, 0)
	after(t, m, time.Hour, "stopped")
	m.Out8(0x443, 10)
	m.Out8(0x441, 0)
	after(t, m, time.Hour, "stopped")
	m.Out8(0x443, 10)
	m.ResetAll()
	after(t, m, time.Hour, "reset")
}

func TestIB700State(t *testing.T) {
	_, to := devtest.RoundTrip(t, addIB700, func(m *devtest.Machine) {
		m.Out8(0x443, 10)
		m.Advance(time.Second)
	})
	to.Events()
	after(t, to, 9*time.Second-1, "before its time")
	after(t, to, 1, "in time", fired...)
}

// rig is a machine with the PCI watchdog.
type rig struct {
	*devtest.Machine
	bus *pci.Bus
	dev device.Device
}

const (
	base = 0xfe000000
	slot = 4 << 3
)

func newRig(t testing.TB) *rig { return build(devtest.New(t)) }

func build(m *devtest.Machine) *rig {
	r := &rig{Machine: m}
	var bus *device.Bus
	m.Do(func() {
		mem := m.Env.Memory.NewContainer("pci", 0)
		if err := m.Env.Mem.Root().AddOverlap(0, mem, -1); err != nil {
			m.TB.Fatal(err)
		}
		r.bus = pci.NewRoot(pci.RootConfig{Name: "pci.0", Mem: mem, IO: m.Env.IO.Root()})
		bus = device.NewRootBus(pci.BusKind, "pci.0", r.bus)
	})
	r.dev = m.Plug(bus, watchdog.TypeI6300ESB, "", "addr", "4")
	r.mapBAR()
	m.Events()
	return r
}

func (r *rig) mapBAR() {
	r.set(0x10, 4, base)
	r.set(4, 2, pci.CommandMemory)
}

func (r *rig) set(off, size int, v uint32)  { r.bus.WriteConfig(0, slot, off, size, v) }
func (r *rig) cfg(off, size int) (v uint32) { return r.bus.ReadConfig(0, slot, off, size) }
func (r *rig) equal(what string, got, want uint32) {
	r.TB.Helper()
	if got != want {
		r.TB.Errorf("%s is %#x, want %#x", what, got, want)
	}
}

// unlock writes the keys, as Linux does.
func (r *rig) unlock() {
	r.Write16(base+0xc, 0x80)
	r.Write16(base+0xc, 0x86)
}

func (r *rig) preload(first, second uint32) {
	r.unlock()
	r.Write32(base, first)
	r.unlock()
	r.Write32(base+4, second)
}

func (r *rig) feed() {
	r.unlock()
	r.Write16(base+0xc, 0x100)
}

// ms is how long v counts of a millisecond or so take.
func ms(v int64) time.Duration { return time.Duration(v << 15 * 1000 / 33) }

// What is in configuration space is what QEMU shows.
func TestI6300ESBConfig(t *testing.T) {
	r := newRig(t)
	r.equal("IDs", r.cfg(0, 4), 0x25ab8086)
	r.equal("class", r.cfg(8, 4), 0x08800000)
	r.equal("subsystem", r.cfg(0x2c, 4), 0x11001af4)
	r.equal("interrupt pin", r.cfg(0x3d, 1), 0)
	r.set(0x10, 4, 0xffffffff)
	r.equal("size", r.cfg(0x10, 4), 0xfffffff0)
	r.set(0x60, 2, 0xffff)
	r.equal("configuration", r.cfg(0x60, 2), 0x27)
	r.set(0x68, 1, 0xff)
	r.equal("lock", r.cfg(0x68, 1), 7)
	r.set(0x68, 1, 0)
	r.equal("lock, locked", r.cfg(0x68, 1), 7)
	r.ResetAll()
	r.equal("configuration, reset", r.cfg(0x60, 2), 0)
	r.equal("lock, reset", r.cfg(0x68, 1), 0)
	r.set(0x68, 1, 4)
	r.equal("lock, unlocked", r.cfg(0x68, 1), 4)
}

func TestI6300ESBKeys(t *testing.T) {
	r := newRig(t)
	r.equal("preload", r.Read32(base), 0xfffff)
	r.Write32(base, 1)
	r.equal("preload written without keys", r.Read32(base), 0xfffff)
	r.Write8(base+0xc, 0x86)
	r.Write32(base, 1)
	r.equal("preload written with one key", r.Read32(base), 0xfffff)
	r.Write8(base+0xc, 0x80)
	r.Write32(base+8, 0)
	r.Write8(base+0xc, 0x86)
	r.Write32(base, 1)
	r.equal("preload written with keys apart", r.Read32(base), 0xfffff)
	r.unlock()
	r.Write32(base, 0xff800001)
	r.equal("preload", r.Read32(base), 0x00001)
	r.Write32(base+4, 2)
	r.equal("the other, written without keys", r.Read32(base+4), 0xfffff)
}

func TestI6300ESBStages(t *testing.T) {
	r := newRig(t)
	r.preload(1000, 2000)
	after(t, r.Machine, time.Hour, "not enabled")
	r.set(0x68, 1, 2)
	after(t, r.Machine, ms(1000)-1, "in stage 1")
	r.equal("status", r.Read32(base+8), 0)
	after(t, r.Machine, 1, "in stage 2")
	r.equal("status", r.Read32(base+8), 1)
	r.equal("timeout", uint32(r.Read16(base+0xc)), 0)
	after(t, r.Machine, ms(1999), "in stage 2")
	r.feed()
	r.equal("status is kept", r.Read32(base+8), 1)
	r.unlock()
	r.Write32(base+8, 1)
	r.equal("status", r.Read32(base+8), 0)
	after(t, r.Machine, ms(2999), "fed")
	after(t, r.Machine, ms(2), "not fed", fired...)
	r.equal("timeout", uint32(r.Read16(base+0xc)), 0x200)
	after(t, r.Machine, time.Hour, "after the end")
	r.feed()
	after(t, r.Machine, time.Hour, "fed late and no more", fired...)

	r.ResetAll()
	after(t, r.Machine, time.Hour, "reset")
	r.mapBAR()
	r.equal("timeout outlives a reset", uint32(r.Read16(base+0xc)), 0x200)
	r.unlock()
	r.Write16(base+0xc, 0x200)
	r.equal("timeout", uint32(r.Read16(base+0xc)), 0)
	r.feed()
	after(t, r.Machine, time.Hour, "fed while off")

	r.set(0x60, 2, 4) // microseconds
	r.preload(330, 33)
	r.set(0x68, 1, 2)
	after(t, r.Machine, 351999, "before its time")
	after(t, r.Machine, 1, "in time", fired...)
	r.set(0x68, 1, 0)
	r.set(0x60, 2, 0x24) // the output is off
	r.set(0x68, 1, 2)
	after(t, r.Machine, time.Second, "without output")
	r.equal("timeout", uint32(r.Read16(base+0xc)), 0x200)
	r.set(0x68, 1, 0)
	r.set(0x68, 1, 2)
	r.set(0x68, 1, 0)
	after(t, r.Machine, time.Hour, "off again")
}

// A timer that runs freely, however fast, acts a thousand times a second at most.
func TestI6300ESBFree(t *testing.T) {
	r := newRig(t)
	r.set(0x60, 2, 4)
	r.preload(0, 0)
	r.set(0x68, 1, 6)
	n := 0
	for range 100 {
		r.Advance(time.Millisecond)
		r.Sync()
		for _, e := range r.Events() {
			if e.EventName() == "WATCHDOG" {
				n++
			}
		}
	}
	if n != 100 {
		t.Errorf("%d time-outs in 100 ms", n)
	}
	r.equal("status", r.Read32(base+8), 0)
}

func TestI6300ESBState(t *testing.T) {
	var rigs []*rig
	_, to := devtest.RoundTrip(t, func(m *devtest.Machine) { rigs = append(rigs, build(m)) }, func(*devtest.Machine) {
		r := rigs[0]
		r.preload(1000, 2000)
		r.set(0x68, 1, 3)
		r.Advance(ms(1500))
		r.Write8(base+0xc, 0x80)
	})
	r := rigs[1]
	r.equal("lock", r.cfg(0x68, 1), 3)
	r.set(0x68, 1, 0)
	r.equal("lock, locked", r.cfg(0x68, 1), 3)
	r.equal("status", r.Read32(base+8), 1)
	r.Write8(base+0xc, 0x86)
	r.Write32(base+4, 7)
	r.equal("preload, written with the second key", r.Read32(base+4), 7)
	to.Events()
	after(t, to, ms(1499), "before its time")
	after(t, to, ms(2), "in time", fired...)
}

func ranges() []devtest.Range { return []devtest.Range{devtest.MMIO(base, 16)} }

// guest builds a machine whose random accesses get somewhere.
func guest(m *devtest.Machine) {
	r := build(m)
	m.AddAction(func(next func(int) uint64) uint64 {
		v := uint32(next(2))
		if v&1 == 0 {
			r.set(0x60, 2, v>>1)
		} else {
			r.set(0x68, 1, v>>1&6)
		}
		return uint64(r.cfg(0x60, 2)<<8 | r.cfg(0x68, 1))
	})
	m.AddAction(func(next func(int) uint64) uint64 {
		r.unlock()
		reg := next(1) & 12
		r.Write32(base+reg, uint32(next(3)))
		return uint64(r.Read32(base + reg))
	})
}

func TestTwin(t *testing.T) {
	t.Run("ib700", func(t *testing.T) { devtest.Twin(t, addIB700, devtest.Ports(0x441, 4)) })
	t.Run("i6300esb", func(t *testing.T) { devtest.Twin(t, guest, ranges()...) })
}

func TestConcurrent(t *testing.T) {
	devtest.Concurrent(t, func(m *devtest.Machine) {
		addIB700(m)
		build(m)
	}, append(ranges(), devtest.Ports(0x441, 4))...)
}

func FuzzIB700(f *testing.F)         { devtest.FuzzIO(f, addIB700, devtest.Ports(0x441, 4)) }
func FuzzIB700State(f *testing.F)    { devtest.FuzzState(f, addIB700, devtest.Ports(0x441, 4)) }
func FuzzI6300ESB(f *testing.F)      { devtest.FuzzIO(f, guest, ranges()...) }
func FuzzI6300ESBState(f *testing.F) { devtest.FuzzState(f, guest, ranges()...) }
