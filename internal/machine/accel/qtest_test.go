package accel

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/i8254"
	"govmd/internal/device/i8259"
	"govmd/internal/device/ioapic"
)

var _ Accel = (*Qtest)(nil)

type qtestMachine struct {
	*devtest.Machine
	q *Qtest
}

func newQtestMachine(t *testing.T, pic, pit bool) *qtestMachine {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := &qtestMachine{devtest.New(t), NewQtest(log)}
	m.Env.MSI = m.q.MSI()
	if err := m.q.Wire(m.Env.Memory, m.Env.Mem, m.Env.IO, nil); err != nil {
		t.Fatal(err)
	}
	var err error
	prepared := 0
	m.Do(func() {
		err = m.q.PlugChips(m.Env, pic, pit, func(device.Device) error {
			prepared++
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if prepared != len(m.Devices()) {
		t.Errorf("%d chips of %d are told of", prepared, len(m.Devices()))
	}
	m.ResetAll()
	return m
}

// chip finds a device by the name that tests use.
func (m *qtestMachine) chip(name string) (d device.Device) {
	m.Do(func() {
		o, ambiguous := m.Env.Root.Resolve(name)
		if ambiguous {
			m.TB.Errorf("'%s' is ambiguous", name)
		}
		d, _ = o.(device.Device)
	})
	return d
}

func (m *qtestMachine) levels(name string) (high []int) {
	for i, p := range m.chip(name).Dev().Inputs("") {
		if p.Level() {
			high = append(high, i)
		}
	}
	return high
}

func TestQtestPins(t *testing.T) {
	m := newQtestMachine(t, true, false)
	if m.q.Name() != "qtest" {
		t.Errorf("name %q", m.q.Name())
	}
	for gsi, p := range m.q.Pins() {
		pic, apic := []int{gsi}, []int{gsi}
		switch {
		case gsi == 0:
			apic = []int{0, 2}
		case gsi == 2:
			apic = nil
		case gsi >= 16:
			pic = nil
		}
		l := p.Connect("test")
		l.SetLevel(true)
		if a, b := m.levels("i8259"), m.levels("ioapic"); !slices.Equal(a, pic) || !slices.Equal(b, apic) {
			t.Errorf("GSI %d drives the PICs' %v and the I/O APIC's %v, want %v and %v", gsi, a, b, pic, apic)
		}
		l.SetLevel(false)
		if a, b := m.levels("i8259"), m.levels("ioapic"); len(a)+len(b) != 0 {
			t.Errorf("GSI %d is low, but %v and %v are high", gsi, a, b)
		}
	}
}

func TestQtestTimerTick(t *testing.T) {
	m := newQtestMachine(t, true, true)
	m.Write32(ioapic.Base, 0x10+2*2)
	m.Write32(ioapic.Base+0x10, 0x30)
	m.q.Messages()
	m.Out8(0x43, 0x34)
	m.Out8(0x40, 0xa9)
	m.Out8(0x40, 0x04) // 1 ms
	m.Advance(1500 * time.Microsecond)
	if got := m.q.Messages(); len(got) != 1 || got[0] != (device.MSIMessage{Addr: 0xfee00000, Data: 0x30}) {
		t.Errorf("messages %#x", got)
	}
	m.Out8(0x20, 0x0a)
	if irr := m.In8(0x20); irr != 1 {
		t.Errorf("the PIC's IRR is %#x", irr)
	}
	m.q.SetHPETLegacy(true)
	m.Advance(time.Second)
	if got := m.q.Messages(); len(got) != 0 {
		t.Errorf("messages %#x of a timer that the HPET replaces", got)
	}
	m.Out8(0x61, 1)
	if v := m.In8(0x61); v&^0x10 != 0x21 { // 0x10 is the refresh clock
		t.Errorf("speaker port %#x", v)
	}
}

func TestQtestELCR(t *testing.T) {
	m := newQtestMachine(t, true, false)
	if err := m.q.SetELCR(0x0c20); err != nil {
		t.Error(err)
	}
	m.CheckIn8(0x4d0, 0x20, "ELCR")
	m.CheckIn8(0x4d1, 0x0c, "ELCR")
}

func TestQtestWithoutChips(t *testing.T) {
	m := newQtestMachine(t, false, false)
	if err := m.q.SetELCR(0xffff); err != nil {
		t.Error(err)
	}
	m.q.SetHPETLegacy(true)
	m.q.Pins()[4].Connect("test").Pulse()
	if m.chip("i8259") != nil || m.chip("pit") != nil || m.chip("pcspk") != nil {
		t.Error("chips that were not asked for")
	}
	m.CheckIn8(0x21, 0xff, "no PIC")
	m.q.Pause()
	m.q.Resume()
	m.q.Close()
}

func TestQtestMessages(t *testing.T) {
	m := newQtestMachine(t, false, false)
	if _, err := m.q.MSI().NewRoute(); err != device.ErrNoIRQFD {
		t.Errorf("a route: %v", err)
	}
	for i := range maxMessages + 10 {
		m.q.MSI().Send(device.MSIMessage{Data: uint32(i)})
	}
	if got := m.q.Messages(); len(got) != maxMessages || got[9].Data != 9 {
		t.Errorf("%d messages", len(got))
	}
	if got := m.q.Messages(); len(got) != 0 {
		t.Errorf("%d messages remain", len(got))
	}
}

func TestQtestChipTypes(t *testing.T) {
	m := newQtestMachine(t, true, true)
	for name, typeName := range map[string]string{
		"ioapic": ioapic.TypeName, "i8259": i8259.TypeName, "pit": i8254.TypeName, "pcspk": i8254.SpeakerTypeName,
	} {
		if d := m.chip(name); d == nil || d.Dev().TypeName() != typeName || d.Dev().Path() != "/machine/unattached/"+name {
			t.Errorf("%s is %v", name, d)
		}
	}
}

func TestQtestRoundTrip(t *testing.T) {
	a, b := newQtestMachine(t, true, true), newQtestMachine(t, true, true)
	a.Out8(0x43, 0x34)
	a.Out8(0x40, 0xff)
	a.Out8(0x40, 0xff)
	a.q.Pins()[9].Connect("test").SetLevel(true)
	saved, err := a.Env.State.SaveAll()
	if err != nil {
		t.Fatal(err)
	}
	b.Do(func() { err = b.Env.State.LoadAll(saved) })
	if err != nil {
		t.Fatal(err)
	}
	if got := b.levels("i8259"); len(got) != 1 || got[0] != 0 { // the timer's
		t.Errorf("the PICs' high inputs: %v", got)
	}
}
