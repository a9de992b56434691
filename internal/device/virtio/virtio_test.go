package virtio_test

import (
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/virtio"
	_ "govmd/internal/device/virtio/console"
	_ "govmd/internal/device/virtio/rng"
	"govmd/internal/device/virtio/virtiotest"
)

type maker = func(testing.TB, string, ...string) *virtiotest.Rig

const (
	ack        = virtio.StatusAcknowledge
	driver     = virtio.StatusDriver
	featuresOK = virtio.StatusFeaturesOK
	driverOK   = virtio.StatusDriverOK
	version1   = 1 << virtio.FeatureVersion1
	ringBits   = 1<<virtio.FeatureIndirect | 1<<virtio.FeatureEventIndex
)

func TestOfferedFeatures(t *testing.T) {
	virtiotest.ForEachTransport(t, func(t *testing.T, mk maker) {
		r := mk(t, "virtio-rng")
		want := uint64(ringBits | version1)
		if !r.Modern() {
			want = ringBits | 1<<virtio.FeatureNotifyOnEmpty | 1<<virtio.FeatureAnyLayout | 1<<virtio.FeatureBad
		}
		if got := r.Offered(); got != want {
			t.Errorf("features %#x, want %#x", got, want)
		}
		r = mk(t, "virtio-rng", "indirect_desc", "off", "event_idx", "off", "any_layout", "off", "notify_on_empty", "off")
		if got := r.Offered() &^ (version1 | 1<<virtio.FeatureBad); got != 0 {
			t.Errorf("features %#x with all of them off", got)
		}
	})
}

func TestFeaturesOKIsRefused(t *testing.T) {
	for name, mk := range map[string]maker{
		"mmio": func(tb testing.TB, kind string, props ...string) *virtiotest.Rig {
			return virtiotest.NewMMIO(tb, false, kind, props...)
		},
		"pci": func(tb testing.TB, kind string, props ...string) *virtiotest.Rig {
			return virtiotest.NewPCI(tb, kind+"-pci-non-transitional", props...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				what   string
				accept uint64
				props  []string
				ok     bool
			}{
				{"all", version1 | ringBits, nil, true},
				{"some", version1, nil, true},
				{"no version 1", ringBits, nil, false},
				{"one that is not offered", version1 | 1<<virtio.FeaturePacked, nil, false},
				{"a legacy one", version1 | 1<<virtio.FeatureAnyLayout, nil, false},
				{"platform addresses left out", version1, []string{"iommu_platform", "on"}, false},
				{"platform addresses", version1 | 1<<virtio.FeatureAccessPlatform, []string{"iommu_platform", "on"}, true},
			} {
				r := mk(t, "virtio-rng", c.props...)
				r.SetStatus(ack | driver)
				r.Accept(c.accept)
				r.SetStatus(ack | driver | featuresOK)
				if got := r.Status()&featuresOK != 0; got != c.ok {
					t.Errorf("%s: accepted %v, want %v", c.what, got, c.ok)
				}
				want := uint64(0)
				if c.ok {
					want = c.accept
				}
				if got := r.Core.Features(); got != want {
					t.Errorf("%s: features in force %#x, want %#x", c.what, got, want)
				}
				if c.ok {
					r.Accept(0) // too late
					if got := r.Core.Features(); got != want {
						t.Errorf("%s: features changed to %#x after FEATURES_OK", c.what, got)
					}
				}
			}
		})
	}
}

func TestLegacyDriverThatAcceptsAnything(t *testing.T) {
	r := virtiotest.NewMMIO(t, true, "virtio-rng")
	r.SetStatus(ack | driver)
	r.Accept(r.Offered())
	if got := r.Core.Features(); got != 0 {
		t.Errorf("features %#x, want none", got)
	}
}

// Before DRIVER_OK a modern device leaves the queues alone; then it finds what is there.
func TestNothingHappensBeforeDriverOK(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, "virtio-rng")
	r.Negotiate(0)
	ring := r.Queue(0, 8)
	ring.Add(virtiotest.In(virtiotest.DataBase, 8))
	r.Kick(0)
	if got := ring.Take(); len(got) != 0 {
		t.Fatalf("used %v", got)
	}
	r.Go()
	if got := ring.Take(); len(got) != 1 {
		t.Errorf("used %v", got)
	}
}

func TestBrokenRingNeedsReset(t *testing.T) {
	virtiotest.ForEachTransport(t, func(t *testing.T, mk maker) {
		r := mk(t, "virtio-rng")
		ring := r.Start(0, 1)[0]
		ring.SetAvailIndex(ring.Size + 1)
		r.Kick(0)
		if got := r.Broken(); got != r.Modern() {
			t.Errorf("needs reset: %v", got)
		}
		if isr := r.ISR(); (isr == 2) != r.Modern() {
			t.Errorf("interrupt status %d", isr)
		}
		r.SetStatus(r.Status() &^ virtio.StatusNeedsReset)
		if got := r.Broken(); got != r.Modern() {
			t.Error("the driver has cleared the status by itself")
		}
		ring.Clear()
		ring.Add(virtiotest.In(virtiotest.DataBase, 8))
		r.Kick(0)
		if got := ring.Take(); len(got) != 0 {
			t.Errorf("used %v on a broken device", got)
		}
		ring = r.Start(0, 1)[0]
		ring.Add(virtiotest.In(virtiotest.DataBase, 8))
		r.Kick(0)
		if got := ring.Take(); len(got) != 1 || r.Broken() {
			t.Errorf("used %v after a reset, broken %v", got, r.Broken())
		}
	})
}

func TestWrongQueueAddressBreaksTheDevice(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, "virtio-rng")
	r.Negotiate(0)
	ring := virtiotest.NewRing(t, r.Env.Mem, virtiotest.RingBase, 8)
	ring.Used += 2
	r.Setup(0, ring)
	if !r.Broken() {
		t.Error("a misaligned ring was taken")
	}
}

func TestQueueSizes(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, "virtio-rng")
	r.Negotiate(0)
	q := r.Core.Queue(0)
	for _, n := range []uint16{0, 3, 16, 4} {
		ring := q.Ring()
		ring.Size = n
		q.SetRing(ring)
	}
	if got := q.Ring().Size; got != 4 {
		t.Errorf("size %d, want 4: others are refused", got)
	}
	q.Enable()
	ring := q.Ring()
	ring.Size = 8
	q.SetRing(ring)
	if got := q.Ring().Size; got != 4 {
		t.Errorf("size %d: an enabled queue was changed", got)
	}
}

func TestSystemReset(t *testing.T) {
	virtiotest.ForEachTransport(t, func(t *testing.T, mk maker) {
		r := mk(t, "virtio-rng")
		ring := r.Start(ringBits, 1)[0]
		ring.Add(virtiotest.In(virtiotest.DataBase, 8))
		r.Driver.Notify(0)
		r.ResetAll()
		if p, ok := r.Driver.(*virtiotest.PCI); ok {
			p.MapBARs()
		}
		if r.Status() != 0 || r.Core.Features() != 0 || r.Core.Queue(0).Enabled() || r.Interrupted() {
			t.Errorf("status %d, features %#x, queue enabled %v, interrupt %v after a reset",
				r.Status(), r.Core.Features(), r.Core.Queue(0).Enabled(), r.Interrupted())
		}
		ring = r.Start(ringBits, 1)[0]
		ring.Add(virtiotest.In(virtiotest.DataBase, 8))
		r.Kick(0)
		if got := ring.Take(); len(got) != 1 {
			t.Errorf("used %v", got)
		}
	})
}

func TestConfigurationBounds(t *testing.T) {
	virtiotest.ForEachTransport(t, func(t *testing.T, mk maker) {
		r := mk(t, "virtio-serial")
		for _, c := range []struct {
			off  uint64
			size int
			want uint64
		}{
			{4, 4, 31}, {4, 1, 31}, {4, 2, 31}, {5, 1, 0},
			{10, 4, 0xffffffff}, {12, 1, 0xff}, {12, 4, 0xffffffff},
		} {
			if c.off%uint64(c.size) != 0 {
				continue
			}
			if got := r.ReadConfig(c.off, c.size); got != c.want {
				t.Errorf("%d bytes at %d: %#x, want %#x", c.size, c.off, got, c.want)
			}
		}
		r.WriteConfig(4, 4, 99)
		if got := r.ReadConfig(4, 4); got != 31 {
			t.Errorf("a read-only field is %d", got)
		}
		r.WriteConfig(12, 4, 99)
	})
}

// A driver that refills its queue for ever keeps the device's thread busy, but
// not to the exclusion of a reset.
func TestResetOfABusyDevice(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, "virtio-rng")
	for range 50 {
		ring := r.Start(0, 1)[0]
		for i := range uint64(8) {
			ring.Add(virtiotest.In(virtiotest.DataBase+i*0x1000, 4096))
		}
		r.Driver.Notify(0)
		r.SetStatus(0)
		before := ring.UsedIndex()
		r.Settle()
		if after := ring.UsedIndex(); after != before {
			t.Fatalf("the device went on after its reset: used index %d, then %d", before, after)
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, "virtio-rng")
	r.Start(ringBits, 1)
	nothing := func() {}
	done := func() {
		r.Driver.Notify(0)
		r.Core.Worker().Exclude(nothing)
	}
	done()
	devtest.NoAllocs(t, "a notification", done)
}

// TestPluggedAgain has a device that was in use come back: its new worker serves it.
func TestPluggedAgain(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, "virtio-rng")
	for range 2 {
		ring := r.Start(0, 1)[0]
		ring.Add(virtiotest.In(virtiotest.DataBase, 8))
		r.Kick(0)
		if got := ring.Take(); len(got) != 1 {
			t.Fatalf("used %v", got)
		}
		d := r.Core.Object().(device.Device)
		bus := d.Dev().Bus()
		r.Unplug(d)
		if err := r.Insert(bus, d); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLateInterrupt has a back end finish an element while the driver resets the
// device: the interrupt line must not go high with nobody to lower it.
func TestLateInterrupt(t *testing.T) {
	virtiotest.ForEachTransport(t, func(t *testing.T, mk maker) {
		r := mk(t, "virtio-rng")
		r.Start(0, 1)
		r.Core.Interrupt(r.Core.Epoch(), 0)
		if !r.Interrupted() {
			t.Error("no interrupt")
		}
		before := r.Core.Epoch()
		r.SetStatus(0)
		r.Core.Interrupt(before, 0)
		if r.Interrupted() {
			t.Error("an interrupt of before the reset")
		}
	})
}
