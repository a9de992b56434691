package isa_test

import (
	"errors"
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/isa"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// card is an ISA device with a port and an interrupt.
type card struct {
	device.Base
	irq  int
	line *device.Line
}

func (c *card) Realize() (err error) {
	if c.line, err = isa.Of(c).IRQ(c, c.irq); err != nil {
		return err
	}
	return isa.Of(c).MapIO(c, 0x300, c.Env().Memory.NewIO("card", 1, c, memory.Spec{}))
}

func (c *card) Unrealize()                {}
func (c *card) ReadIO(uint64, int) uint64 { return 0x5a }

func (c *card) WriteIO(uint64, int, uint64) { c.line.SetLevel(true) }

func init() {
	fresh := func() object.Object { return &card{irq: 5} }
	device.Register(object.Type{Name: "isa-card", Bus: isa.BusKind, New: fresh})
	device.Register(object.Type{Name: "isa-card-child", Parent: "isa-card", New: fresh})
}

func TestNoBus(t *testing.T) {
	for _, kind := range []string{"isa-card", "isa-card-child"} {
		m := devtest.New(t)
		if _, err := m.TryPlug(nil, kind, ""); !errors.Is(err, device.ErrNoBus) {
			t.Errorf("%s without a bus: %v, want %v", kind, err, device.ErrNoBus)
		}
		if n := len(m.Devices()); n != 0 {
			t.Errorf("%d devices are left", n)
		}
	}
}

func TestCard(t *testing.T) {
	m := devtest.New(t)
	d := m.Plug(m.ISA, "isa-card", "")
	m.CheckIn8(0x300, 0x5a, "plugged in")
	m.Out8(0x300, 0)
	if !m.IRQ[5].Level() {
		t.Error("the interrupt is not driven")
	}
	if _, err := m.TryPlug(m.ISA, "isa-card", ""); err == nil {
		t.Error("two cards at one port")
	}
	m.Unplug(d)
	m.CheckIn8(0x300, 0xff, "unplugged")
	if m.IRQ[5].Level() {
		t.Error("the interrupt of a device that is gone is high")
	}
}

func TestNoSuchInterrupt(t *testing.T) {
	m := devtest.New(t)
	for _, n := range []int{-1, 16} {
		d, err := m.Create("isa-card", "")
		if err != nil {
			t.Fatal(err)
		}
		d.(*card).irq = n
		if m.Insert(m.ISA, d) == nil {
			t.Errorf("interrupt %d: accepted", n)
		}
	}
}
