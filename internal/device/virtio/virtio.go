// Package virtio is what all virtio devices have in common (virtio 1.2, section
// 2): feature negotiation, the device status, configuration space, queues and
// the thread that serves them.
//
// Three parts are kept separate. Device code (virtio-rng and so on) embeds Core
// and knows nothing of registers. A transport (virtio-pci, virtio-mmio) offers
// registers to the driver and provides a virtio-bus into which device code is
// plugged. A queue (package virtq) sees only memory.
//
// A device looks like this:
//
//	type Device struct {
//		virtio.Core
//		queue *virtio.Queue
//	}
//
//	func (d *Device) Realize() error {
//		if err := d.Init(virtio.Info{ID: 42, Features: 1 << 0, ConfigSize: 8}); err != nil {
//			return err
//		}
//		d.queue = d.AddQueue(128, d.handle)
//		return nil
//	}
//
//	func (d *Device) handle(q *virtio.Queue) {
//		for e := q.Pop(); e != nil; e = q.Pop() {
//			// e.ReadAt, e.WriteAt, or e.Readable and e.Writable for a back end
//			q.Push(e, written) // now, or later from any goroutine
//		}
//		q.Notify()
//	}
//
//	func init() { virtio.Register(virtio.Kind{Name: "virtio-x", ...}) }
//
// Handlers never wait: what cannot be finished at once is finished by a back
// end's callback, and a handler that leaves elements in its queue is kicked by
// whatever it waits for.
//
// Lock order, outermost first: the transport's lock, the worker (no queue
// handler runs), device code's lock, Core's mu, the queue's lock, the
// transport's interrupt lock. Core calls device code with no lock of its own
// held, but inside its worker where that is said.
package virtio

import "govmd/internal/device"

// BusKind is what device code plugs into.
const BusKind = "virtio-bus"

func init() { device.RegisterBus(BusKind) }

// Bits of the device status (2.1).
const (
	StatusAcknowledge = 1
	StatusDriver      = 2
	StatusDriverOK    = 4
	StatusFeaturesOK  = 8
	StatusNeedsReset  = 64
	StatusFailed      = 128
)

// Feature bits that are no single device's (6 and 6.3).
const (
	FeatureNotifyOnEmpty  = 24 // legacy
	FeatureAnyLayout      = 27 // legacy
	FeatureIndirect       = 28
	FeatureEventIndex     = 29
	FeatureBad            = 30 // legacy: set by drivers that accept whatever is offered
	FeatureVersion1       = 32
	FeatureAccessPlatform = 33
	FeaturePacked         = 34
	FeatureRingReset      = 40
)

// legacyOnly are the bits that a modern driver is not offered.
const legacyOnly = 1<<FeatureNotifyOnEmpty | 1<<FeatureAnyLayout | 1<<FeatureBad

// Device is device code. Implementations embed Core, call Init and AddQueue in
// Realize, and implement those of the interfaces below that they need.
type Device interface {
	device.Device
	Virtio() *Core
}

type (
	// ConfigReader has a configuration space: ReadConfig fills p, which is as
	// long as the space, in little-endian form.
	ConfigReader interface{ ReadConfig(p []byte) }

	// ConfigWriter has fields that the driver may write. off and len(p) are
	// within the space; p is reused after the return.
	ConfigWriter interface{ WriteConfig(off int, p []byte) }

	// FeatureUser wants to know what was negotiated: at FEATURES_OK, or for a
	// legacy driver whenever it says so, and after a state was loaded.
	FeatureUser interface{ FeaturesChanged(features uint64) }

	// StatusUser is told of changes of the status: that the driver is ready.
	StatusUser interface{ StatusChanged(status uint8) }

	// Resetter forgets all that the driver has done. It runs inside the worker,
	// after the queues were reset: elements that are still out are orphans.
	Resetter interface{ ResetDevice() }
)
