package ioapic

import (
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
)

type bench struct {
	*devtest.Machine
	apic  *Device
	lines [Inputs]*device.Line
}

func plug(m *devtest.Machine) *bench {
	b := &bench{Machine: m}
	b.apic = m.Plug(nil, TypeName, "").(*Device)
	for i := range b.lines {
		b.lines[i] = b.apic.Input(i).Connect("test")
	}
	return b
}

func newBench(t testing.TB) *bench { return plug(devtest.New(t)) }

func (b *bench) get(index uint8) uint32 {
	b.Write32(Base+regSelect, uint32(index))
	return b.Read32(Base + regWindow)
}

func (b *bench) put(index uint8, v uint32) {
	b.Write32(Base+regSelect, uint32(index))
	b.Write32(Base+regWindow, v)
}

func (b *bench) entry(n int) uint64 {
	return uint64(b.get(uint8(indexTable+2*n))) | uint64(b.get(uint8(indexTable+2*n+1)))<<32
}

func (b *bench) setEntry(n int, e uint64) {
	b.put(uint8(indexTable+2*n+1), uint32(e>>32))
	b.put(uint8(indexTable+2*n), uint32(e))
}

func (b *bench) check(what string, want ...device.MSIMessage) {
	b.TB.Helper()
	got := b.MSI.Sent()
	if len(got) != len(want) {
		b.TB.Errorf("%s: messages %#x, want %#x", what, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			b.TB.Errorf("%s: message %#x, want %#x", what, got[i], want[i])
		}
	}
}

func TestIdentity(t *testing.T) {
	b := newBench(t)
	if v := b.get(indexVersion); v != 0x00170020 {
		t.Errorf("version %#x", v)
	}
	b.put(indexID, 0xffffffff)
	if id, arb := b.get(indexID), b.get(indexArbitration); id != 0x0f000000 || arb != id {
		t.Errorf("id %#x, arbitration %#x", id, arb)
	}
	b.put(indexVersion, 0)
	b.put(indexArbitration, 0)
	if v, arb := b.get(indexVersion), b.get(indexArbitration); v != 0x00170020 || arb != 0x0f000000 {
		t.Errorf("read-only registers were changed to %#x, %#x", v, arb)
	}
	for _, index := range []uint8{3, 0xf, indexTable + 2*Inputs, 0xff} {
		b.put(index, 0xffffffff)
		if v := b.get(index); v != 0 {
			t.Errorf("register %#x, which is none: %#x", index, v)
		}
	}
	b.CheckRead32(Base+regSelect, 0xff, "select")
	b.CheckRead32(Base+0x20, 0, "a register that is none")
}

func TestEntryBits(t *testing.T) {
	b := newBench(t)
	for n := range Inputs {
		if e := b.entry(n); e != entryMasked {
			t.Errorf("entry %d after power-on: %#x", n, e)
		}
	}
	b.setEntry(23, ^uint64(0))
	if e := b.entry(23); e != 0xff0000000001afff {
		t.Errorf("entry with all bits set: %#x", e)
	}
	// Bytes and words of the window are no accesses; of the index they are.
	b.Write8(Base+regSelect, indexTable+2*23)
	b.Write8(Base+regWindow, 0)
	b.Write16(Base+regWindow, 0)
	if e := b.entry(23); e != 0xff0000000001afff {
		t.Errorf("entry after narrow writes: %#x", e)
	}
	if v := b.Read8(Base + regWindow); v != 0 {
		t.Errorf("narrow read: %#x", v)
	}
}

func TestEdge(t *testing.T) {
	b := newBench(t)
	b.lines[4].SetLevel(true)
	b.setEntry(4, 0x31) // unmasked while the input is high: that edge was lost
	b.check("an edge at a masked entry")
	b.lines[4].SetLevel(false)
	b.lines[4].SetLevel(true)
	b.check("edge", device.MSIMessage{Addr: 0xfee00000, Data: 0x31})
	b.lines[4].SetLevel(false)
	b.lines[4].Pulse()
	b.lines[4].Pulse()
	b.check("two pulses", device.MSIMessage{Addr: 0xfee00000, Data: 0x31}, device.MSIMessage{Addr: 0xfee00000, Data: 0x31})
}

func TestLevel(t *testing.T) {
	b := newBench(t)
	msg := device.MSIMessage{Addr: 0xfee03000, Data: 0xc042}
	const e = 3<<entryDestShift | entryLevel | entryPolarity | 0x42
	b.setEntry(10, e|entryMasked)
	b.lines[10].SetLevel(true)
	b.check("masked")
	b.setEntry(10, e)
	b.check("unmasked while high", msg)
	if got := b.entry(10); got != e|entryRemoteIRR {
		t.Errorf("entry %#x", got)
	}
	b.lines[10].SetLevel(false)
	b.lines[10].SetLevel(true)
	b.check("before its end")
	b.Write32(Base+regEOI, 0x41)
	b.check("the end of another")
	b.Write32(Base+regEOI, 0x42)
	b.check("its end while high", msg)
	b.lines[10].SetLevel(false)
	b.apic.EOI(0x42)
	b.check("its end while low")
	if got := b.entry(10); got != e {
		t.Errorf("entry %#x", got)
	}
	// The old way to end one: edge-triggered for a moment, while masked.
	b.lines[10].SetLevel(true)
	b.check("again", msg)
	b.setEntry(10, e&^entryLevel|entryMasked)
	if got := b.entry(10); got&entryRemoteIRR != 0 {
		t.Errorf("entry %#x", got)
	}
	b.setEntry(10, e)
	b.check("after the old way to end it", msg)
}

func TestSharedVector(t *testing.T) {
	b := newBench(t)
	for _, n := range []int{20, 21} {
		b.setEntry(n, entryLevel|0x55)
		b.lines[n].SetLevel(true)
	}
	m := device.MSIMessage{Addr: 0xfee00000, Data: 0xc055}
	b.check("two inputs", m, m)
	b.lines[20].SetLevel(false)
	b.Write32(Base+regEOI, 0x55)
	b.check("the end of both", m)
}

func TestModes(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		entry uint64
		want  device.MSIMessage
	}{
		{0x81 | 1<<entryModeShift | entryLogical | 0xff<<entryDestShift, device.MSIMessage{Addr: 0xfeeff00c, Data: 0x181}},
		{0x81 | entryLogical | 0x80<<entryDestShift, device.MSIMessage{Addr: 0xfee80004, Data: 0x81}},
		{0x00 | 4<<entryModeShift | 1<<entryDestShift, device.MSIMessage{Addr: 0xfee01000, Data: 0x400}},
		{0x00 | 7<<entryModeShift, device.MSIMessage{Addr: 0xfee00000, Data: 0x700}},
	} {
		b.setEntry(9, tt.entry)
		b.lines[9].Pulse()
		b.check("mode", tt.want)
	}
}

func TestTimerInput(t *testing.T) {
	b := newBench(t)
	b.setEntry(0, 0x20)
	b.setEntry(2, 0x22)
	m := device.MSIMessage{Addr: 0xfee00000, Data: 0x22}
	b.lines[0].SetLevel(true)
	b.lines[2].SetLevel(true) // both together are one signal
	b.check("ISA interrupt 0", m)
	b.lines[0].SetLevel(false)
	b.lines[2].SetLevel(false)
	b.lines[2].Pulse()
	b.check("input 2", m)
}

func TestReset(t *testing.T) {
	b := newBench(t)
	b.put(indexID, 1<<24)
	b.setEntry(5, entryLevel|0x33)
	b.lines[5].SetLevel(true)
	b.MSI.Sent()
	b.Reset(b.apic)
	if e, id := b.entry(5), b.get(indexID); e != entryMasked || id != 0 {
		t.Errorf("entry %#x, id %#x", e, id)
	}
	b.setEntry(5, entryLevel|0x34)
	b.check("a line that was high all the time", device.MSIMessage{Addr: 0xfee00000, Data: 0xc034})
}

func TestNoMSIController(t *testing.T) {
	m := devtest.New(t)
	m.Env.MSI = nil
	if _, err := m.TryPlug(nil, TypeName, ""); err == nil {
		t.Error("an I/O APIC without local APICs")
	}
}

func TestRoundTrip(t *testing.T) {
	var first, second *bench
	mk := func(m *devtest.Machine) { first, second = second, plug(m) }
	devtest.RoundTrip(t, mk, func(*devtest.Machine) {
		first.put(indexID, 7<<24)
		first.setEntry(4, 0x44)
		first.setEntry(11, entryLevel|0x4b)
		first.lines[4].SetLevel(true)
		first.lines[11].SetLevel(true)
	})
	b := second
	if e := b.entry(11); e != entryLevel|entryRemoteIRR|0x4b {
		t.Errorf("loaded entry %#x", e)
	}
	// Devices drive their lines again: that is no new edge.
	b.lines[4].SetLevel(true)
	b.lines[11].SetLevel(true)
	b.check("lines as they were")
	b.Write32(Base+regEOI, 0x4b)
	b.check("the end", device.MSIMessage{Addr: 0xfee00000, Data: 0xc04b})
}

// sink takes messages and does nothing.
type sink struct{}

func (sink) Send(device.MSIMessage)             {}
func (sink) NewRoute() (device.MSIRoute, error) { return nil, device.ErrNoIRQFD }

func TestNoAllocs(t *testing.T) {
	b := newBench(t)
	b.Env.MSI = sink{}
	b.setEntry(16, entryLevel|0x60)
	devtest.NoAllocs(t, "an interrupt", func() {
		b.lines[16].Pulse()
		b.Write32(Base+regEOI, 0x60)
		b.get(indexTable)
	})
}

var registersRange = devtest.MMIO(Base, 0x100)

func FuzzRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { plug(m) }, registersRange)
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) { plug(m) }, registersRange)
}

func driven(m *devtest.Machine) *bench {
	b := plug(m)
	m.AddInputs(b.apic.Inputs(""), func() uint8 { return 0 })
	return b
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		b := driven(m)
		m.AddAction(func(next func(int) uint64) uint64 {
			b.setEntry(int(next(1)%Inputs), next(8)&^entryMasked)
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			n := next(1) % Inputs
			b.apic.EOI(uint8(b.entry(int(n)) & entryVector))
			b.lines[n].Pulse()
			return b.entry(int(n))
		})
	}, registersRange, devtest.InputsRange(Inputs))
}

func TestConcurrent(t *testing.T) {
	devtest.Concurrent(t, func(m *devtest.Machine) { driven(m).Env.MSI = sink{} }, registersRange, devtest.InputsRange(Inputs))
}
