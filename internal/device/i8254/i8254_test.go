package i8254

import (
	"testing"
	"time"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
)

type bench struct {
	*devtest.Machine
	pit *Device
	irq *devtest.Probe
}

func plug(m *devtest.Machine) *bench {
	b := &bench{Machine: m, irq: devtest.NewProbe("irq 0")}
	d, err := device.Create(TypeName, "")
	if err != nil {
		m.TB.Fatal(err)
	}
	b.pit = d.(*Device)
	b.pit.IRQ = b.irq.Pin
	if err := m.Insert(nil, b.pit); err != nil {
		m.TB.Fatal(err)
	}
	s, err := device.Create(SpeakerTypeName, "")
	if err != nil {
		m.TB.Fatal(err)
	}
	s.(*Speaker).PIT = b.pit
	if err := m.Insert(nil, s); err != nil {
		m.TB.Fatal(err)
	}
	m.ResetAll()
	return b
}

func newBench(t testing.TB) *bench { return plug(devtest.New(t)) }

// ticks lets n ticks of the input clock pass.
func (b *bench) ticks(n int64) {
	v := b.Env.Clock.Virtual
	v.Advance(tickTime(b.pit.now() + n))
}

func (b *bench) program(n int, mode uint8, count uint16) {
	b.Out8(basePort+controlPort, uint8(n)<<6|accessBoth<<4|mode<<1)
	b.Out8(basePort+uint16(n), uint8(count))
	b.Out8(basePort+uint16(n), uint8(count>>8))
}

func (b *bench) count(n int) uint16 {
	b.Out8(basePort+controlPort, uint8(n)<<6)
	low := b.In8(basePort + uint16(n))
	return uint16(b.In8(basePort+uint16(n)))<<8 | uint16(low)
}

func TestTickTime(t *testing.T) {
	b := newBench(t)
	v := b.Env.Clock.Virtual
	for _, tick := range []int64{0, 1, 2, 1193181, 1193182, 1193183, 1 << 40, 1 << 52} {
		v.SetNow(tickTime(tick))
		if got := b.pit.now(); got != tick {
			t.Errorf("tick %d begins at %d, which is in tick %d", tick, v.Now(), got)
		}
		if tick > 0 {
			v.SetNow(tickTime(tick) - 1)
			if got := b.pit.now(); got != tick-1 {
				t.Errorf("the nanosecond before tick %d is in tick %d", tick, got)
			}
		}
	}
	if at := tickTime(1 << 62); at != 1<<63-1 {
		t.Errorf("a tick after the end of time: %d", at)
	}
	v.SetNow(-1)
	if got := b.pit.now(); got != 0 {
		t.Errorf("tick %d before time 0", got)
	}
}

func TestAfterReset(t *testing.T) {
	b := newBench(t)
	b.irq.Rises()
	b.Advance(10 * time.Second)
	if n := b.irq.Rises(); n != 182 { // 18.2 a second
		t.Errorf("%d interrupts in 10 s", n)
	}
	b.ticks(65536 - b.pit.now()%65536 + 4)
	if c := b.count(0); c != 65536-8 {
		t.Errorf("count %#x", c)
	}
}

func TestRateGenerator(t *testing.T) {
	b := newBench(t)
	b.irq.Rises()
	b.program(0, 2, 11932) // 100 Hz
	b.Advance(time.Second)
	if n := b.irq.Rises(); n != 99 && n != 100 {
		t.Errorf("%d interrupts in a second", n)
	}
	if !b.irq.Level() {
		t.Error("the output is low for more than a tick")
	}
	b.program(0, 3, 1193)
	b.irq.Rises()
	b.Advance(100 * time.Millisecond)
	if n := b.irq.Rises(); n != 99 && n != 100 {
		t.Errorf("%d interrupts of a square wave in 100 ms", n)
	}
}

func TestOneShot(t *testing.T) {
	b := newBench(t)
	b.program(0, 0, 1000)
	if b.irq.Level() {
		t.Error("high while it counts")
	}
	b.irq.Rises()
	b.ticks(1000)
	if b.irq.Level() || b.count(0) != 1 {
		t.Errorf("level %v, count %d after 1000 ticks", b.irq.Level(), b.count(0))
	}
	b.ticks(1)
	b.Advance(time.Second)
	if n := b.irq.Rises(); n != 1 || !b.irq.Level() {
		t.Errorf("%d interrupts, level %v", n, b.irq.Level())
	}
	b.Out8(basePort, 5) // the low byte alone: the output falls and nothing counts
	b.Advance(time.Second)
	if b.irq.Level() {
		t.Error("it counts with half a count")
	}
	b.Out8(basePort, 0)
	b.ticks(6)
	if !b.irq.Level() {
		t.Error("the second count does not end")
	}
}

// TestTooFast: counts that no guest could keep up with cost no more than others.
func TestTooFast(t *testing.T) {
	b := newBench(t)
	for _, mode := range []uint8{2, 3} {
		b.program(0, mode, 2)
		b.irq.Rises()
		b.Advance(time.Second)
		if n := b.irq.Rises(); n < 9200 || n > 9500 {
			t.Errorf("mode %d: %d interrupts in a second", mode, n)
		}
	}
}

func TestLatch(t *testing.T) {
	b := newBench(t)
	b.program(2, 0, 0x1234) // gate 2 is low: the count stays
	b.program(1, 2, 0x2000)
	b.ticks(1)
	b.Out8(basePort+controlPort, 1<<6)
	b.ticks(100)
	b.Out8(basePort+controlPort, 1<<6) // ignored: the first was not read
	b.CheckIn8(basePort+1, 0x00, "latched low byte")
	b.CheckIn8(basePort+1, 0x20, "latched high byte")
	b.CheckIn8(basePort+1, 0x9c, "low byte as it is")
	b.CheckIn8(basePort+1, 0x1f, "high byte as it is")
	if c := b.count(2); c != 0x1234 {
		t.Errorf("count 2 %#x", c)
	}
	b.CheckIn8(basePort+controlPort, 0, "control word")
}

func TestSingleBytes(t *testing.T) {
	b := newBench(t)
	b.Out8(basePort+controlPort, 1<<6|accessHigh<<4|2<<1)
	b.Out8(basePort+1, 0x03)
	b.ticks(1 + 0x10)
	b.CheckIn8(basePort+1, 0x02, "high byte")
	b.Out8(basePort+controlPort, 1<<6)
	b.CheckIn8(basePort+1, 0x02, "latched high byte")
	b.Out8(basePort+controlPort, 1<<6|accessLow<<4|6<<1) // mode 6 is 2
	b.Out8(basePort+1, 0x80)
	b.ticks(1 + 0x10)
	b.CheckIn8(basePort+1, 0x70, "low byte")
	b.CheckIn8(basePort+1, 0x70, "low byte again")
	b.Out8(basePort+controlPort, 0xe0|1<<2)
	b.CheckIn8(basePort+1, 0x80|accessLow<<4|2<<1, "status")
}

func TestReadBack(t *testing.T) {
	b := newBench(t)
	b.program(0, 2, 500)
	b.Out8(basePort+controlPort, 0xe0|1<<1) // status alone
	b.CheckIn8(basePort, statusOut|statusNull|accessBoth<<4|2<<1, "status before the load")
	b.ticks(1)
	b.Out8(basePort+controlPort, 0xc0|1<<1|1<<2) // status and count of two
	b.ticks(7)
	b.Out8(basePort+controlPort, 0xc0|1<<1)
	b.CheckIn8(basePort, statusOut|accessBoth<<4|2<<1, "status")
	b.CheckIn8(basePort, 500&0xff, "count")
	b.CheckIn8(basePort, 500>>8, "count")
	b.CheckIn8(basePort, 493&0xff, "count as it is")
	b.CheckIn8(basePort, 493>>8, "count as it is")
	b.CheckIn8(basePort+1, statusOut|accessBoth<<4|3<<1, "status of counter 1")
	b.program(2, 0, 9)
	b.Out8(basePort+controlPort, 0xd0|1<<3|1<<1)       // counts alone
	b.Out8(basePort+controlPort, 2<<6|accessBoth<<4|1) // programming forgets them
	b.Out8(basePort+controlPort, 0xe0|1<<3)
	b.CheckIn8(basePort+2, statusNull|accessBoth<<4|1, "status of counter 2")
}

func TestBCD(t *testing.T) {
	b := newBench(t)
	b.Out8(basePort+controlPort, 1<<6|accessBoth<<4|2<<1|controlBCD)
	b.Out8(basePort+1, 0x00)
	b.Out8(basePort+1, 0x10)
	b.ticks(2)
	if c := b.count(1); c != 0x0999 {
		t.Errorf("count %#x", c)
	}
	b.ticks(999)
	if c := b.count(1); c != 0x1000 {
		t.Errorf("count %#x in the next period", c)
	}
	b.Out8(basePort+1, 0xff) // no digits: as much as there is
	b.Out8(basePort+1, 0xff)
	b.ticks(1000)
	if c := b.count(1); c != 0x9999 {
		t.Errorf("count %#x", c)
	}
}

func TestHPETLegacy(t *testing.T) {
	b := newBench(t)
	b.program(0, 2, 1000)
	b.pit.SetHPETLegacy(true)
	b.irq.Rises()
	b.Advance(time.Second)
	if n := b.irq.Rises(); n != 0 || b.irq.Level() {
		t.Errorf("%d interrupts while the HPET has them", n)
	}
	b.pit.SetHPETLegacy(false)
	b.irq.Rises()
	b.Advance(time.Second)
	if n := b.irq.Rises(); n < 1192 || n > 1194 {
		t.Errorf("%d interrupts after that", n)
	}
	b.pit.SetHPETLegacy(true)
	b.ResetAll()
	b.irq.Rises()
	b.Advance(time.Second)
	if n := b.irq.Rises(); n != 18 {
		t.Errorf("%d interrupts after a reset", n)
	}
}

// TestSpeakerPort measures with counter 2 as firmware and kernels do.
func TestSpeakerPort(t *testing.T) {
	b := newBench(t)
	b.Out8(speakerPort, speakerGate)
	b.program(2, 0, 100)
	b.CheckIn8(speakerPort, speakerGate, "while it counts")
	b.ticks(101)
	if v := b.In8(speakerPort); v&^speakerRefresh != speakerGate|speakerOut {
		t.Errorf("port 0x61 = %#x when it has counted", v)
	}
	b.Out8(speakerPort, 0)
	b.program(2, 0, 100)
	b.ticks(1000)
	if v := b.In8(speakerPort); v&^speakerRefresh != 0 {
		t.Errorf("port 0x61 = %#x with the gate low", v)
	}
	b.Out8(speakerPort, 0xff)
	if v := b.In8(speakerPort); v&^speakerRefresh != 0x0f {
		t.Errorf("port 0x61 = %#x", v)
	}
	var changes int
	for last := b.In8(speakerPort) & speakerRefresh; changes < 10; changes++ {
		b.ticks(refreshTicks)
		if v := b.In8(speakerPort) & speakerRefresh; v == last {
			t.Fatalf("the refresh bit stands still at %#x", v)
		} else {
			last = v
		}
	}
	b.ResetAll()
	if v := b.In8(speakerPort); v&0x0f != 0 {
		t.Errorf("port 0x61 = %#x after a reset", v)
	}
}

func TestSpeakerNeedsTimer(t *testing.T) {
	if _, err := devtest.New(t).TryPlug(nil, SpeakerTypeName, ""); err == nil {
		t.Error("a speaker without a timer")
	}
}

func TestRoundTrip(t *testing.T) {
	var first, second *bench
	mk := func(m *devtest.Machine) { first, second = second, plug(m) }
	devtest.RoundTrip(t, mk, func(*devtest.Machine) {
		b := first
		b.program(0, 2, 1000)
		b.ticks(300)
		b.Out8(basePort, 0xf4) // half a count
		b.program(1, 3, 501)
		b.ticks(100)
		b.Out8(basePort+1, 50)
		b.Out8(basePort+1, 0)
		b.Out8(speakerPort, speakerGate|speakerData)
		b.program(2, 4, 0x4321)
		b.ticks(10)
		b.Out8(speakerPort, 0)
		b.Out8(basePort+controlPort, 2<<6)
		b.In8(basePort + 2)
	})
	b := second
	b.CheckIn8(basePort+2, 0x43, "the latched high byte")
	b.irq.Rises()
	b.Out8(basePort, 0x01) // the other half: 500 from the next period on
	b.ticks(589)
	if n := b.irq.Rises(); n != 0 {
		t.Errorf("%d interrupts before the end of the period", n)
	}
	b.ticks(2 + 500)
	if n := b.irq.Rises(); n != 2 {
		t.Errorf("%d interrupts", n)
	}
}

func TestUnplug(t *testing.T) {
	b := newBench(t)
	b.program(0, 2, 1000)
	b.Unplug(b.pit)
	b.irq.Rises()
	b.Advance(time.Second)
	if n := b.irq.Rises(); n != 0 || b.irq.Level() {
		t.Errorf("%d interrupts of a timer that has gone, level %v", n, b.irq.Level())
	}
}

func TestNoAllocs(t *testing.T) {
	b := newBench(t)
	devtest.NoAllocs(t, "the timer", func() {
		b.program(0, 2, 1000)
		b.count(0)
		b.In8(speakerPort)
		b.ticks(5000)
	})
}

var allPorts = []devtest.Range{devtest.Ports(basePort, 4), devtest.Ports(speakerPort, 1)}

func FuzzRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { plug(m) }, allPorts...)
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) { plug(m) }, allPorts...)
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		b := plug(m)
		m.Ticks = true
		m.AddWatch(func() any { return b.irq.Rises() })
		m.AddWatch(func() any { return b.irq.Level() })
		m.AddAction(func(next func(int) uint64) uint64 {
			n := int(next(1) % 3)
			b.program(n, uint8(next(1)%6), uint16(next(1)))
			return uint64(b.count(n))
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			b.ticks(int64(next(1)))
			b.pit.SetHPETLegacy(next(1)&7 == 0)
			return uint64(b.count(0))
		})
	}, allPorts...)
}

func TestConcurrent(t *testing.T) {
	var b *bench
	devtest.Concurrent(t, func(m *devtest.Machine) { b = plug(m) }, allPorts...)
	if b.irq.Level() {
		t.Error("the interrupt of a timer that has gone is high")
	}
}
