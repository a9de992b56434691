// Package virtiotest is the driver's side of virtio, for tests: machines with a
// virtio device, and drivers for the transports' registers.
package virtiotest

import (
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/virtio"
	"govmd/internal/device/virtio/mmio"
	"govmd/internal/device/virtio/pcitransport"
	"govmd/internal/object"
)

// Driver is the driver's use of a transport's registers.
type Driver interface {
	// Modern reports whether the interface is that of virtio 1.
	Modern() bool
	DeviceID() uint32
	Status() uint8
	SetStatus(v uint8)
	// Offered returns the device's features, and Accept writes the driver's.
	Offered() uint64
	Accept(features uint64)
	// QueueMax returns the largest size of a queue, 0 when there is no such queue.
	QueueMax(n int) uint16
	// Setup gives a ring to the device as queue n.
	Setup(n int, r *Ring)
	Notify(n int)
	// ISR returns the interrupt status and acknowledges it.
	ISR() uint8
	ReadConfig(off uint64, size int) uint64
	WriteConfig(off uint64, size int, v uint64)
}

// Rig is a machine with a virtio device and a driver for it.
type Rig struct {
	*devtest.Machine
	Driver
	Core  *virtio.Core
	Outer device.Device // what -device would have made: the device, or the PCI function
	Line  *devtest.Probe

	rings map[int]*Ring
}

// RingBase is where the rings of queue 0 are; each other queue's are 64 KiB further.
const RingBase = 0x100000

// DataBase is where a test's data may be.
const DataBase = 0x20000

// Negotiate resets the device and brings it to FEATURES_OK with those of the
// wanted features that it offers; a modern driver takes VERSION_1 too. It
// returns the features in force.
func (r *Rig) Negotiate(want uint64) uint64 {
	r.TB.Helper()
	r.SetStatus(0)
	r.SetStatus(virtio.StatusAcknowledge)
	r.SetStatus(virtio.StatusAcknowledge | virtio.StatusDriver)
	if r.Modern() {
		want |= 1 << virtio.FeatureVersion1
	}
	got := want & r.Offered()
	r.Accept(got)
	if r.Modern() {
		r.SetStatus(virtio.StatusAcknowledge | virtio.StatusDriver | virtio.StatusFeaturesOK)
		if r.Status()&virtio.StatusFeaturesOK == 0 {
			r.TB.Fatalf("features %#x were not accepted", got)
		}
	}
	return got
}

// Queue makes a ring of size descriptors and gives it to the device as queue n.
func (r *Rig) Queue(n int, size uint16) *Ring {
	r.TB.Helper()
	ring := NewRing(r.TB, r.Env.Mem, RingBase+uint64(n)<<16, size)
	r.Setup(n, ring)
	ring.EventIndex = r.Core.Has(virtio.FeatureEventIndex)
	if r.rings == nil {
		r.rings = map[int]*Ring{}
	}
	r.rings[n] = ring
	return ring
}

// Go sets DRIVER_OK.
func (r *Rig) Go() {
	r.TB.Helper()
	r.SetStatus(r.Status() | virtio.StatusDriverOK)
	r.Settle()
}

// Settle waits until the device has seen every notification, and lets its back
// ends have their turn.
func (r *Rig) Settle() {
	r.Core.Worker().Sync()
	r.Machine.Read8(0) // character devices have their turn with every access
	r.Core.Worker().Sync()
}

// Kick notifies the device of queue n, unless it has asked not to be, and waits
// until it has done its work.
func (r *Rig) Kick(n int) {
	if ring := r.rings[n]; ring == nil || ring.WantsKick() {
		r.Driver.Notify(n)
	}
	r.Settle()
}

// Start negotiates, sets up the given number of queues of 16 descriptors each
// and sets DRIVER_OK.
func (r *Rig) Start(features uint64, queues int) []*Ring {
	r.TB.Helper()
	r.Negotiate(features)
	var list []*Ring
	for n := range queues {
		list = append(list, r.Queue(n, min(16, r.QueueMax(n))))
	}
	r.Go()
	return list
}

// RigOf returns the rig of a machine that MMIOOn or PCIOn was called on.
func RigOf(m *devtest.Machine) *Rig {
	m.TB.Helper()
	for _, d := range m.Devices() {
		if v, ok := d.(virtio.Device); ok {
			return rigFor(m, v)
		}
	}
	m.TB.Fatal("the machine has no virtio device")
	return nil
}

// rigFor finds out by which transport a device is reached.
func rigFor(m *devtest.Machine, d virtio.Device) *Rig {
	r := &Rig{Machine: m, Core: d.Virtio(), Outer: d}
	switch o := d.Virtio().Bus().Owner().(type) {
	case *mmio.Transport:
		legacy, _ := object.Get(o, "force-legacy")
		r.Driver = &MMIO{M: m, Base: o.Base, Legacy: legacy.(bool)}
	case *pcitransport.Device:
		return rigForPCI(m, o)
	default:
		m.TB.Fatalf("no driver for %T", o)
	}
	return r
}

// Interrupted reports the level of the device's interrupt line.
func (r *Rig) Interrupted() bool {
	if d, ok := r.Outer.(*pcitransport.Device); ok {
		return d.INTx()
	}
	return r.Line.Level()
}

// Broken reports whether the device asks for a reset.
func (r *Rig) Broken() bool { return r.Status()&virtio.StatusNeedsReset != 0 }

// ForEachTransport runs a test of a device on every transport: the type is
// named as in "virtio-rng".
func ForEachTransport(t *testing.T, fn func(t *testing.T, mk func(tb testing.TB, kind string, props ...string) *Rig)) {
	t.Helper()
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) { fn(t, tr.mk) })
	}
}

type transport struct {
	name string
	mk   func(tb testing.TB, kind string, props ...string) *Rig
}

var transports = []transport{
	{"mmio", func(tb testing.TB, kind string, props ...string) *Rig { return NewMMIO(tb, false, kind, props...) }},
	{"mmio-legacy", func(tb testing.TB, kind string, props ...string) *Rig { return NewMMIO(tb, true, kind, props...) }},
	{"pci-modern", func(tb testing.TB, kind string, props ...string) *Rig {
		return NewPCI(tb, kind+"-pci-non-transitional", props...)
	}},
	{"pci-transitional", func(tb testing.TB, kind string, props ...string) *Rig {
		return NewPCI(tb, kind+"-pci-transitional", props...)
	}},
	{"pci-legacy", func(tb testing.TB, kind string, props ...string) *Rig {
		return NewPCI(tb, kind+"-pci", append(props, "disable-modern", "on")...)
	}},
	{"pci-no-ioeventfd", func(tb testing.TB, kind string, props ...string) *Rig {
		return NewPCI(tb, kind+"-pci", append(props, "ioeventfd", "off")...)
	}},
}

// HostileRanges are what a fuzz test of a device accesses beside registers: the
// rings of its first queues, as Start lays them out.
func HostileRanges(queues int) []devtest.Range {
	var list []devtest.Range
	for n := range queues {
		base := RingBase + uint64(n)<<16
		list = append(list, devtest.MMIO(base, 16*16), devtest.MMIO(base+16*16, 4+2*16+2))
	}
	return list
}

// Prefill makes some elements available in each ring, for a fuzz test to damage.
func Prefill(rings []*Ring) {
	for i, r := range rings {
		at := DataBase + uint64(i)<<13
		r.Add(Out(at, 16), In(at+0x100, 32))
		r.Add(In(at+0x200, 64))
		r.Add(Out(at+0x300, 8), Out(at+0x400, 8))
	}
}
