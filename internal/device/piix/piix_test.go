package piix_test

import (
	"testing"
	"time"

	"govmd/internal/device"
	"govmd/internal/device/acpipm"
	"govmd/internal/device/devtest"
	"govmd/internal/device/isa"
	"govmd/internal/device/pci"
	"govmd/internal/device/piix"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

// bed is a machine with both functions of the south bridge and a PCI card.
type bed struct {
	*devtest.Machine
	pci   *pci.Bus
	ports pci.ConfigPorts
	isa   *piix.PIIX3
	pm    *piix.PIIX4PM
	card  *card
}

// card is a function that has nothing but an interrupt.
type card struct{ pci.Device }

func (c *card) Realize() error {
	return c.Setup(pci.Identity{Vendor: 1, Device: 2, Class: 0xff0000, InterruptPin: 1})
}

func init() {
	pci.Register(object.Type{Name: "pci-irq-card", New: func() object.Object { return &card{} }})
}

func newBed(t testing.TB, props ...string) *bed { return onto(devtest.New(t), props...) }

func onto(m *devtest.Machine, props ...string) *bed {
	b := &bed{Machine: m}
	t := m.TB
	io := m.Env.IO.Root()
	mem := m.Env.Memory.NewContainer("pci", 0)
	if err := m.Env.Mem.Root().AddOverlap(0, mem, -1); err != nil {
		t.Fatal(err)
	}
	b.pci = pci.NewRoot(pci.RootConfig{
		Name: "pci.0", Mem: mem, IO: io, Ports: &b.ports,
		MapINTx: func(slot, pin int) int { return (slot + pin - 1) & 3 },
	})
	// What a host bridge would do.
	if _, err := m.Env.State.Register(state.Of("ports", 1,
		func() struct{ Addr uint32 } { return struct{ Addr uint32 }{b.ports.Address()} },
		func(s *struct{ Addr uint32 }) error { b.ports.SetAddress(s.Addr); return nil })); err != nil {
		m.TB.Fatal(err)
	}
	bus := device.NewRootBus(pci.BusKind, "pci.0", b.pci)
	if err := io.Add(pci.PortConfigAddress, b.ports.AddressRegion(m.Env.Memory)); err != nil {
		t.Fatal(err)
	}
	if err := io.Add(pci.PortConfigData, b.ports.DataRegion(m.Env.Memory)); err != nil {
		t.Fatal(err)
	}
	b.run(false) // functions are not added to a slot in use while the guest runs
	b.isa = create(t, "PIIX3").(*piix.PIIX3)
	for i := range b.isa.IRQs {
		b.isa.IRQs[i] = m.IRQ[i].Pin
	}
	b.isa.SetAddr(1, 0)
	b.insert(bus, b.isa)
	b.pm = create(t, "PIIX4_PM").(*piix.PIIX4PM)
	b.pm.SCI = m.IRQ[9].Pin
	b.pm.Serial1 = true
	for i := 0; i+1 < len(props); i += 2 {
		if err := object.SetText(b.pm, props[i], props[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	b.pm.SetAddr(1, 3)
	b.insert(bus, b.pm)
	b.card = create(t, "pci-irq-card").(*card)
	b.card.SetAddr(3, 0)
	b.insert(bus, b.card)
	b.run(true)
	return b
}

func (b *bed) run(on bool) {
	b.Do(func() {
		err := error(nil)
		if on {
			err = b.Env.Run.Start()
		} else {
			err = b.Env.Run.Stop(runstate.Paused)
		}
		if err != nil {
			b.TB.Error(err)
		}
	})
}

func create(t testing.TB, name string) device.Device {
	d, err := device.Create(name, "")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (b *bed) insert(bus *device.Bus, d device.Device) {
	b.Do(func() {
		device.PlaceUnattached(b.Env, d)
		if err := device.Plug(b.Env, bus, d); err != nil {
			b.TB.Error(err)
		}
	})
}

func (b *bed) at(fn, off int) uint16 {
	b.Out32(pci.PortConfigAddress, 1<<31|1<<11|uint32(fn<<8|off&^3))
	return pci.PortConfigData + uint16(off&3)
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func (b *bed) calls(want ...string) {
	b.TB.Helper()
	got := b.Calls()
	if len(got) != len(want) {
		b.TB.Errorf("calls %q, want %q", got, want)
		return
	}
	for i := range got {
		equal(b.TB, "call", got[i], want[i])
	}
}

func TestIdentity(t *testing.T) {
	b := newBed(t)
	equal(t, "PIIX3", b.In32(b.at(0, 0)), 0x70008086)
	equal(t, "its class", b.In32(b.at(0, 8)), 0x06010000)
	equal(t, "its header", b.In8(b.at(0, pci.RegHeaderType)), 0x80)
	equal(t, "PIIX4 PM", b.In32(b.at(3, 0)), 0x71138086)
	equal(t, "its class", b.In32(b.at(3, 8)), 0x06800003)
	equal(t, "its pin", b.In8(b.at(3, pci.RegInterruptPin)), 1)
	equal(t, "IDE, which is not there yet", b.In32(b.at(1, 0)), 0xffffffff)
	equal(t, "serial ports", b.In8(b.at(3, 0x67)), 0x08)
	equal(t, "SMM is taken", b.In32(b.at(3, 0x58)), 1<<25)
	equal(t, "bus", b.isa.ISA().Name(), "isa.0")
	equal(t, "kind", b.isa.ISA().Kind(), isa.BusKind)
}

func TestPIRQ(t *testing.T) {
	b := newBed(t)
	// INTA of slot 3 is PIRQC.
	for i := range 4 {
		equal(t, "at reset", b.In8(b.at(0, 0x60+i)), 0x80)
	}
	b.card.SetINTx(true)
	equal(t, "not routed", b.IRQ[11].Level(), false)
	b.Out8(b.at(0, 0x62), 11)
	equal(t, "routed while high", b.IRQ[11].Level(), true)
	b.Out8(b.at(0, 0x62), 10)
	equal(t, "moved away", b.IRQ[11].Level(), false)
	equal(t, "moved", b.IRQ[10].Level(), true)
	b.Out8(b.at(0, 0x62), 0x8a)
	equal(t, "disabled", b.IRQ[10].Level(), false)
	b.Out32(b.at(0, 0x60), 0x0b0a0b0a)
	equal(t, "by a double word", b.IRQ[10].Level(), true)
	equal(t, "PIRQD", b.isa.PIRQ(3), 11)
	b.card.SetINTx(false)
	equal(t, "low", b.IRQ[10].Level(), false)
	equal(t, "reserved bits", b.In8(b.at(0, 0x60)), 0x0a)
	b.Out8(b.at(0, 0x60), 0xff)
	equal(t, "reserved bits", b.In8(b.at(0, 0x60)), 0x8f)

	b.isa.RoutePIRQs([4]uint8{10, 10, 11, 11})
	b.card.SetINTx(true)
	equal(t, "routed by the board", b.IRQ[11].Level(), true)
	b.Reset(b.isa)
	equal(t, "after a reset", b.IRQ[11].Level(), false)
	equal(t, "after a reset", b.isa.PIRQ(2), -1)
}

func TestPIRQSharesWithISA(t *testing.T) {
	b := newBed(t)
	l, err := b.isa.ISA().Controller().(*isa.Bus).IRQ(b.card, 11)
	if err != nil {
		t.Fatal(err)
	}
	b.isa.RoutePIRQs([4]uint8{0x80, 0x80, 11, 0x80})
	b.card.SetINTx(true)
	l.SetLevel(true)
	b.card.SetINTx(false)
	equal(t, "held by ISA", b.IRQ[11].Level(), true)
	l.SetLevel(false)
	equal(t, "released", b.IRQ[11].Level(), false)
}

func TestResetControl(t *testing.T) {
	b := newBed(t)
	b.Out8(0xcf9, 2)
	b.calls()
	equal(t, "register", b.In8(0xcf9), 2)
	b.Out8(0xcf9, 6)
	b.calls("reset guest-reset")
	b.Out8(0xcf9, 0xfb)
	equal(t, "register", b.In8(0xcf9), 2)
	b.calls()
	b.ResetAll()
	equal(t, "after a reset", b.In8(0xcf9), 0)
}

func TestPMBase(t *testing.T) {
	b := newBed(t)
	equal(t, "at reset", b.In32(b.at(3, 0x40)), 1)
	equal(t, "nothing there", b.In32(0x608), 0xffffffff)
	b.Out32(b.at(3, 0x40), 0x601)
	equal(t, "not enabled", b.In32(0x608), 0xffffffff)
	b.Out8(b.at(3, 0x80), 1)
	b.Advance(time.Second)
	equal(t, "timer", b.In32(0x608), 3579545)
	b.Out32(b.at(3, 0x40), 0xb001)
	equal(t, "moved away", b.In32(0x608), 0xffffffff)
	equal(t, "moved", b.In32(0xb008), 3579545)
	equal(t, "register", b.In32(b.at(3, 0x40)), 0xb001)
	b.Out8(b.at(3, 0x80), 0)
	equal(t, "disabled", b.In32(0xb008), 0xffffffff)
	b.pm.SetPMBase(0x600)
	equal(t, "set by the board", b.In32(0x608), 3579545)
	b.ResetAll()
	equal(t, "after a reset", b.In32(0x608), 0xffffffff)
}

func TestPowerButtonRaisesSCI(t *testing.T) {
	b := newBed(t)
	b.pm.SetPMBase(0x600)
	b.Out16(0x602, acpipm.StatusPowerButton)
	b.pm.PowerButton()
	equal(t, "SCI", b.IRQ[9].Level(), true)
	equal(t, "status", b.In16(0x600), acpipm.StatusPowerButton)
	b.Out16(0x600, acpipm.StatusPowerButton)
	equal(t, "SCI", b.IRQ[9].Level(), false)
	b.pm.RaiseGPE(1)
	b.Out16(0xafe2, 2)
	equal(t, "events", b.In32(0xafe0), 2<<16|2)
	equal(t, "SCI", b.IRQ[9].Level(), true)
	b.Unplug(b.pm)
	equal(t, "SCI of nobody", b.IRQ[9].Level(), false)
	equal(t, "ports of nobody", b.In32(0xafe0), 0xffffffff)
}

func TestSleepStates(t *testing.T) {
	for _, c := range []struct {
		name  string
		props []string
		typ   uint16
		want  []string
	}{
		{"S5", nil, 0, []string{"end guest-shutdown"}},
		{"S3", nil, 1, []string{"suspend"}},
		{"S3 disabled", []string{"disable_s3", "1"}, 1, nil},
		{"S4", nil, 2, []string{"end guest-shutdown"}},
		{"S4 elsewhere", []string{"s4_val", "4"}, 4, []string{"end guest-shutdown"}},
		{"S4 disabled", []string{"disable_s4", "1"}, 2, nil},
		{"unknown", nil, 7, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, c.props...)
			b.pm.SetPMBase(0x600)
			b.Out16(0x604, 1<<13|c.typ<<10|1)
			b.calls(c.want...)
			saved := false
			for _, ev := range b.Events() {
				_, is := ev.(runstate.SuspendDiskEvent)
				saved = saved || is
			}
			equal(t, "SUSPEND_DISK", saved, len(c.want) > 0 && c.typ > 1)
		})
	}
}

func TestAlarmWakes(t *testing.T) {
	const sleep = 1<<13 | 1<<10 | 1
	for _, c := range []struct {
		name string
		do   func(*bed)
		want []string
	}{
		{"asleep", func(b *bed) {
			b.Out16(0x602, acpipm.StatusRTC)
			b.Out16(0x604, sleep)
			b.calls("suspend")
			b.pm.RTCAlarm()
		}, []string{"wakeup rtc"}},
		{"not enabled", func(b *bed) {
			b.Out16(0x604, sleep)
			b.pm.RTCAlarm()
		}, []string{"suspend"}},
		{"awake", func(b *bed) {
			b.Out16(0x602, acpipm.StatusRTC)
			b.pm.RTCAlarm()
		}, nil},
		{"just before sleep", func(b *bed) {
			b.Out16(0x602, acpipm.StatusRTC)
			b.pm.RTCAlarm()
			b.Sync()
			b.Out16(0x604, sleep)
		}, []string{"suspend", "wakeup rtc"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			b.pm.SetPMBase(0x600)
			c.do(b)
			b.calls(c.want...)
		})
	}
}

func TestSystemStates(t *testing.T) {
	equal(t, "default", string(newBed(t).pm.SystemStates()), "\x80\x00\x00\x81\x82\x80")
	equal(t, "disabled", string(newBed(t, "disable_s3", "1", "disable_s4", "1", "s4_val", "3").pm.SystemStates()),
		"\x80\x00\x00\x01\x03\x80")
}

func TestCommandPort(t *testing.T) {
	b := newBed(t)
	b.pm.SetPMBase(0x600)
	b.Out8(0xb2, 0xf1)
	equal(t, "SCI_EN", b.In16(0x604), 1)
	equal(t, "command", b.In8(0xb2), 0xf1)
	b.Out8(0xb3, 0x55)
	equal(t, "status", b.In8(0xb3), 0x55)
	b.Out8(0xb2, 0x12)
	equal(t, "another command", b.In16(0x604), 1)
	b.Out8(0xb2, 0xf0)
	equal(t, "SCI_EN", b.In16(0x604), 0)
}

func TestSMBus(t *testing.T) {
	b := newBed(t, "smb_io_base", "0xb100")
	b.ResetAll()
	b.Out8(0xb100, 0xff)
	b.Out8(0xb104, 0xa0)
	b.Out8(0xb102, 0x48) // start a byte transaction
	equal(t, "nobody acknowledges", b.In8(0xb100), 4)
	b.Out8(0xb100, 4)
	equal(t, "cleared", b.In8(0xb100), 0)
	b.In8(0xb102)
	b.Out8(0xb107, 1)
	b.Out8(0xb107, 2)
	b.In8(0xb102)
	equal(t, "block", uint16(b.In8(0xb107))<<8|uint16(b.In8(0xb107)), 0x102)
	b.Out8(b.at(3, 0xd2), 0)
	equal(t, "disabled", b.In8(0xb100), 0xff)
}

func TestState(t *testing.T) {
	var beds []*bed
	mk := func(m *devtest.Machine) { beds = append(beds, onto(m)) }
	devtest.RoundTrip(t, mk, func(*devtest.Machine) {
		b := beds[0]
		b.isa.RoutePIRQs([4]uint8{10, 10, 11, 11})
		b.card.SetINTx(true)
		b.Out8(0xcf9, 2)
		b.pm.SetPMBase(0x600)
		b.Out16(0x602, acpipm.StatusPowerButton)
		b.pm.PowerButton()
		b.Out8(0xb3, 0x77)
		b.Out32(b.at(3, 0x90), 0x700)
		b.Out8(b.at(3, 0xd2), 9)
		b.Out8(0x703, 0x33)
	})
	b := beds[1]
	equal(t, "interrupt", b.IRQ[11].Level(), true)
	equal(t, "reset control", b.In8(0xcf9), 2)
	equal(t, "SCI", b.IRQ[9].Level(), true)
	equal(t, "status", b.In16(0x600), acpipm.StatusPowerButton)
	equal(t, "command port", b.In8(0xb3), 0x77)
	equal(t, "SMBus", b.In8(0x703), 0x33)
	b.card.SetINTx(false)
	equal(t, "interrupt", b.IRQ[11].Level(), false)
}

func fuzzBed(m *devtest.Machine) *bed {
	b := onto(m)
	b.pm.SetPMBase(0x600)
	b.Out32(b.at(3, 0x90), 0x700)
	b.Out8(b.at(3, 0xd2), 1)
	return b
}

var fuzzRanges = []devtest.Range{
	devtest.Ports(pci.PortConfigAddress, 8), devtest.Ports(0x600, 64), devtest.Ports(0x700, 16), devtest.Ports(0xafe0, 4),
	devtest.Ports(0xb2, 2),
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		b := fuzzBed(m)
		m.AddAction(func(next func(int) uint64) uint64 {
			fn, off := uint8(1<<3|next(1)&3), int(next(1))
			b.pci.WriteConfig(0, fn, off, 1, uint32(next(1)))
			return uint64(b.pci.ReadConfig(0, fn, off&^3, 4))
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			v := uint8(next(1))
			b.card.SetINTx(v&1 != 0)
			b.isa.RoutePIRQs([4]uint8{10, v & 15, 10, 11})
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 { // the ports where they should be, with events that interrupt
			b.pm.SetPMBase(0x600)
			b.Out16(0x602, uint16(next(2)))
			b.pm.PowerButton()
			b.pm.RaiseGPE(int(next(1)) & 15)
			return uint64(b.In32(0x600))
		})
	}, fuzzRanges...)
}

func TestConcurrent(t *testing.T) {
	devtest.Concurrent(t, func(m *devtest.Machine) { fuzzBed(m) }, fuzzRanges...)
}

func FuzzAccess(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { fuzzBed(m) }, fuzzRanges...)
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) { fuzzBed(m) }, fuzzRanges...)
}

// FuzzConfig aims at the bridge's own registers, which random addresses miss.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("\x00\x60\x0a\x0a\x03\x40\x01\x06\x03\x80\x01\x00\x00\x62\x0b\x80"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBed(t)
		for i := 0; i < 300 && len(data) >= 4; i++ {
			fn := uint8(1<<3 | data[0]&3)
			size := 1 << (data[0] >> 2 % 3)
			size = min(size, 4)
			off := int(data[1]) &^ (size - 1)
			b.pci.WriteConfig(0, fn, off, size, uint32(data[2])|uint32(data[3])<<8)
			b.pci.ReadConfig(0, fn, off, size)
			b.card.SetINTx(data[0]&0x80 != 0)
			data = data[4:]
		}
		b.card.SetINTx(false)
		for i, p := range b.IRQ {
			if p.Level() {
				t.Errorf("interrupt %d is high", i)
			}
		}
		b.ResetAll()
	})
}
