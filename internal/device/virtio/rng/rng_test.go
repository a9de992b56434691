package rng_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"govmd/internal/device/devtest"
	_ "govmd/internal/device/virtio/rng"
	"govmd/internal/device/virtio/virtiotest"
	"govmd/internal/object"
)

type maker = func(testing.TB, string, ...string) *virtiotest.Rig

const (
	kind     = "virtio-rng"
	indirect = 1 << 28
	eventIdx = 1 << 29
)

func TestFillsBuffers(t *testing.T) {
	virtiotest.ForEachTransport(t, func(t *testing.T, mk maker) {
		for _, features := range []uint64{0, indirect | eventIdx} {
			r := mk(t, kind)
			if id := r.DeviceID(); id != 4 {
				t.Errorf("device ID %d", id)
			}
			if n := r.QueueMax(0); n != 8 {
				t.Errorf("queue size %d", n)
			}
			if n := r.QueueMax(1); n != 0 {
				t.Errorf("there is a queue 1, of size %d", n)
			}
			ring := r.Start(features, 1)[0]
			ring.Add(virtiotest.In(virtiotest.DataBase, 64))
			ring.Add(virtiotest.In(virtiotest.DataBase+0x1000, 3), virtiotest.In(virtiotest.DataBase+0x2000, 5))
			r.Kick(0)
			used := ring.Take()
			if len(used) != 2 || used[0].Len != 64 || used[1].Len != 8 {
				t.Fatalf("used %v", used)
			}
			if p := ring.Get(virtiotest.DataBase, 64); bytes.Equal(p, make([]byte, 64)) {
				t.Error("nothing was written")
			}
			if isr := r.ISR(); isr != 1 {
				t.Errorf("interrupt status %d", isr)
			}
			if r.ISR() != 0 || r.Interrupted() {
				t.Error("the interrupt stays")
			}
		}
	})
}

// The driver speaks up only when it is asked to.
func TestAsksForNotifications(t *testing.T) {
	virtiotest.ForEachTransport(t, func(t *testing.T, mk maker) {
		for _, features := range []uint64{0, eventIdx} {
			r := mk(t, kind)
			ring := r.Start(features, 1)[0]
			for i := range 40 {
				ring.SetUsedEvent(uint16(i))
				ring.Add(virtiotest.In(virtiotest.DataBase, 8))
				r.Kick(0)
				if used := ring.Take(); len(used) != 1 {
					t.Fatalf("features %#x, round %d: used %v", features, i, used)
				}
				if isr := r.ISR(); isr != 1 {
					t.Fatalf("features %#x, round %d: interrupt status %d", features, i, isr)
				}
			}
		}
	})
}

func TestReadableBuffersAreGivenBack(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, kind)
	ring := r.Start(0, 1)[0]
	ring.Add(virtiotest.Out(virtiotest.DataBase, 64))
	r.Kick(0)
	if used := ring.Take(); len(used) != 1 || used[0].Len != 0 {
		t.Errorf("used %v", used)
	}
}

func TestQuota(t *testing.T) {
	r := virtiotest.NewMMIO(t, false, kind, "max-bytes", "100", "period", "1000")
	ring := r.Start(0, 1)[0]
	for i := range uint64(3) {
		ring.Add(virtiotest.In(virtiotest.DataBase+i*0x100, 64))
	}
	r.Kick(0)
	used := ring.Take()
	if len(used) != 2 || used[0].Len != 64 || used[1].Len != 36 {
		t.Fatalf("used %v", used)
	}
	r.Advance(999 * time.Millisecond)
	r.Settle()
	if used := ring.Take(); len(used) != 0 {
		t.Errorf("used %v before the period is over", used)
	}
	r.Advance(time.Millisecond)
	r.Settle()
	if used := ring.Take(); len(used) != 1 || used[0].Len != 64 {
		t.Errorf("used %v", used)
	}
}

func TestBackendByID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bytes")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := devtest.New(t)
	o, err := object.New("rng-random")
	if err != nil {
		t.Fatal(err)
	}
	if err := object.SetText(o, "filename", path); err != nil {
		t.Fatal(err)
	}
	m.AddObject("rng0", o)
	r := virtiotest.MMIOOn(m, false, kind, "rng", "rng0")
	ring := r.Start(0, 1)[0]
	for range 3 {
		ring.Add(virtiotest.In(virtiotest.DataBase, 8))
	}
	r.Kick(0)
	if used := ring.Take(); len(used) != 2 || used[0].Len != 8 || used[1].Len != 2 {
		t.Errorf("used %v", used)
	}
	if p := ring.Get(virtiotest.DataBase, 8); string(p) != "89234567" {
		t.Errorf("%q", p)
	}
	// The device goes while a request is under way.
	r.Unplug(r.Outer)
	if id := r.DeviceID(); id != 0 {
		t.Errorf("device ID %d after unplugging", id)
	}
}

func TestWrongProperties(t *testing.T) {
	m := devtest.New(t)
	tr, _ := virtiotest.PlugMMIO(m, virtiotest.MMIOBase, false)
	for _, c := range []struct{ prop, value, want string }{
		{"period", "0", "'period' parameter expects a positive integer"},
		{"max-bytes", "0x8000000000000000", "'max-bytes' parameter must be non-negative, and less than 2^63"},
		{"rng", "nobody", "Device 'nobody' not found"},
		{"packed", "on", "dev1: packed virtqueues are not supported: leave out packed=on"},
	} {
		if _, err := m.TryPlug(tr.Bus(), kind+"-device", "dev1", c.prop, c.value); err == nil || err.Error() != c.want {
			t.Errorf("%s=%s: %v", c.prop, c.value, err)
		}
	}
	m.Plug(tr.Bus(), kind+"-device", "dev0")
	if _, err := m.TryPlug(tr.Bus(), kind+"-device", "dev1"); err == nil {
		t.Error("two devices on one bus")
	}
}

func TestStateRoundTrip(t *testing.T) {
	mk := func(m *devtest.Machine) {
		virtiotest.MMIOOn(m, false, kind, "max-bytes", "100", "period", "1000")
	}
	var ring *virtiotest.Ring
	from, to := devtest.RoundTrip(t, mk, func(m *devtest.Machine) {
		r := virtiotest.RigOf(m)
		ring = r.Start(eventIdx, 1)[0]
		for i := range uint64(3) {
			ring.Add(virtiotest.In(virtiotest.DataBase+i*0x100, 64))
		}
		r.Kick(0)
		ring.Take()
	})
	// The memory moves too; then the other machine goes on.
	to.WriteMem(0, from.ReadMem(0, devtest.RAMSize))
	r := virtiotest.RigOf(to)
	ring.Space = to.Env.Mem
	r.Advance(time.Second)
	r.Settle()
	if used := ring.Take(); len(used) != 1 || used[0].Len != 64 {
		t.Errorf("used %v", used)
	}
}

func FuzzRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { virtiotest.MMIOOn(m, false, kind, "period", "1") },
		devtest.MMIO(virtiotest.MMIOBase, 0x200), devtest.MMIO(virtiotest.RingBase, 0x2000))
}

func FuzzRings(f *testing.F) {
	ranges := append(virtiotest.HostileRanges(1), devtest.MMIO(virtiotest.MMIOBase+0x50, 4))
	devtest.FuzzIO(f, func(m *devtest.Machine) {
		virtiotest.Prefill(virtiotest.MMIOOn(m, false, kind, "period", "1").Start(indirect|eventIdx, 1))
	}, ranges...)
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) {
		virtiotest.Prefill(virtiotest.MMIOOn(m, false, kind, "period", "1").Start(indirect|eventIdx, 1))
	}, devtest.MMIO(virtiotest.MMIOBase, 0x200))
}

func TestConcurrent(t *testing.T) {
	ranges := append(virtiotest.HostileRanges(1), devtest.MMIO(virtiotest.MMIOBase+0x50, 4), devtest.MMIO(virtiotest.MMIOBase, 0x100))
	devtest.Concurrent(t, func(m *devtest.Machine) {
		virtiotest.Prefill(virtiotest.MMIOOn(m, false, kind, "period", "1").Start(indirect|eventIdx, 1))
	}, ranges...)
}
