package isa

import (
	"strings"
	"testing"

	"govmd/internal/device"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// card has a port and an interrupt, where its fields say.
type card struct {
	device.Base
	port uint16
	irq  int
	line *device.Line
}

func (c *card) Realize() (err error) {
	bus := Of(c)
	if c.line, err = bus.IRQ(c, c.irq); err != nil {
		return err
	}
	c.line.SetLevel(true)
	if err := bus.MapIO(c, c.port, c.Env().Memory.NewIO("card", 2, c, memory.Spec{})); err != nil {
		return err
	}
	return bus.MapMem(c, uint64(c.port), c.Env().Memory.NewIO("card", 2, c, memory.Spec{}))
}

func (c *card) Unrealize()                        {}
func (c *card) ReadIO(uint64, int) uint64         { return 0x42 }
func (c *card) WriteIO(_ uint64, _ int, _ uint64) {}

func init() {
	device.Register(object.Type{Name: "test-card", Bus: BusKind, New: func() object.Object { return &card{} }})
}

func TestBus(t *testing.T) {
	sys := memory.NewSystem()
	env := &device.Env{Root: &object.Node{}, Memory: sys, Mem: sys.NewSpace("memory", 0), IO: sys.NewSpace("I/O", 1<<16)}
	high := false
	var pins [16]*device.Pin
	pins[5] = device.NewPin("irq 5", func(h bool) { high = h })
	bus := device.NewRootBus(BusKind, "isa.0", New(env.IO.Root(), env.Mem.Root(), pins))
	plug := func(port uint16, irq int) (*card, error) {
		d, err := device.Create("test-card", "")
		if err != nil {
			t.Fatal(err)
		}
		c := d.(*card)
		c.port, c.irq = port, irq
		return c, device.Plug(env, bus, c)
	}
	read := func(sp *memory.Space, addr uint64) byte {
		var b [1]byte
		sp.ReadIO(addr, b[:])
		return b[0]
	}
	a, err := plug(0x300, 5)
	if err != nil {
		t.Fatal(err)
	}
	if !high || read(env.IO, 0x301) != 0x42 || read(env.Mem, 0x301) != 0x42 || len(a.Outputs()) != 1 {
		t.Error("the card is not there")
	}
	if _, err := plug(0x301, 5); err == nil || !strings.HasPrefix(err.Error(), "test-card: ") {
		t.Errorf("two cards at one port: %v", err)
	}
	if !high || read(env.IO, 0x302) != 0xff {
		t.Error("the card that was refused has left something behind")
	}
	if b, err := plug(0x310, 6); err != nil || !b.line.Level() {
		t.Errorf("an interrupt that leads nowhere: %v", err)
	}
	for _, irq := range []int{-1, 16} {
		if _, err := plug(0x320, irq); err == nil {
			t.Errorf("interrupt %d is taken", irq)
		}
	}
	device.Unplug(a)
	if high || read(env.IO, 0x300) != 0xff || read(env.Mem, 0x300) != 0xff {
		t.Error("something of the card is left")
	}
}
