// Package fdc is the PC's floppy disk controller, "isa-fdc", and its drives. It
// follows Intel's 82078 data sheet (290475), whose section numbers are meant.
//
// Requests to an image end on another goroutine, which takes the controller's
// mutex; nothing waits for them. What a reset finds under way is orphaned: commands
// wait until it has ended. What a command does next follows from the plain data in
// transfer, which is saved state.
package fdc

import (
	"errors"
	"fmt"
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/i8257"
	"govmd/internal/device/isa"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/runstate"
)

// TypeName is the controller's type.
const TypeName = "isa-fdc"

// Registers, from iobase on (section 2.1).
const (
	regStatusA = 0
	regStatusB = 1
	regDOR     = 2
	regTape    = 3
	regMain    = 4 // status, or data rate select when written
	regFIFO    = 5
	regInput   = 7 // digital input, or configuration control when written

	dorReset = 1 << 2 // not in reset
	dorDMA   = 1 << 3
	dsrReset = 1 << 7
	dsrRate  = 3

	mainRQM  = 1 << 7
	mainDIO  = 1 << 6
	mainPIO  = 1 << 5
	mainBusy = 1 << 4

	inputChanged = 1 << 7
)

// Controller is the device "isa-fdc".
type Controller struct {
	device.Base

	// properties
	iobase, irq, dma uint32
	types            [maxDrives]DriveType
	fallback         DriveType
	boot             [maxDrives]int32

	line    *device.Line
	channel *i8257.Channel
	places  [maxDrives]*Floppy // the lane's

	mu      sync.Mutex // guards what follows, and the drives
	drives  [maxDrives]*Floppy
	r       registers
	x       transfer
	buf     []byte
	req     *request
	orphans int
	resumes bool
}

// registers is the controller's own state, which is saved.
type registers struct {
	DOR      uint8           `cbor:"dor"`
	Tape     uint8           `cbor:"tdr"`
	Rate     uint8           `cbor:"rate"`
	Phase    phase           `cbor:"phase"`
	FIFO     [fifoSize]byte  `cbor:"fifo"`
	Pos      int             `cbor:"pos"` // in FIFO
	Len      int             `cbor:"len"` // of the command, or the result
	IRQ      bool            `cbor:"irq"`
	Sense    [maxSense]uint8 `cbor:"sense"` // ST0 for SENSE INTERRUPT STATUS
	SenseLen int             `cbor:"sense-count"`
	Specify  [2]uint8        `cbor:"specify"`
	Config   [2]uint8        `cbor:"configure"`
	Locked   bool            `cbor:"locked"`
	Perp     uint8           `cbor:"perpendicular"`
	EOT      uint8           `cbor:"eot"`
	Seeked   uint8           `cbor:"seeked"` // drives whose seek has not been sensed
}

const (
	fifoSize = 16
	maxSense = 4
)

// phase is where a command is.
type phase uint8

const (
	phaseCommand phase = iota // its bytes are written
	phaseExecute
	phaseResult // its result is read
	phases
)

// Realize implements device.Device.
func (c *Controller) Realize() (err error) {
	switch {
	case c.iobase > 0xfff8:
		return errors.New("iobase is beyond the last port, 0xfff8")
	case c.fallback == DriveAuto || c.fallback == DriveNone:
		return errors.New("fallback must be a kind of drive: 144, 288 or 120")
	}
	b := isa.Of(c)
	if c.line, err = b.IRQ(c, int(min(c.irq, 16))); err != nil {
		return err
	}
	if c.channel, err = c.findDMA(); err != nil {
		return err
	}
	c.buf = make([]byte, trackSize)
	c.req, c.orphans = nil, 0
	c.NewBus(BusKind, "floppy-bus.0", bus{c})
	c.reset(true)
	c.channel.OnReady(c.dmaReady)
	c.Defer(func() {
		c.channel.OnReady(nil)
		c.channel.SetRequest(false)
	})
	c.Defer(c.Env().Run.AddNotifier(0, func(running bool, _ runstate.State) {
		if running {
			c.resumeLoaded()
		}
	}))
	mem := c.Env().Memory
	for _, part := range []struct{ off, size uint64 }{{regStatusA, 6}, {regInput, 1}} {
		p := ports{c, part.off}
		if err := b.MapIO(c, uint16(uint64(c.iobase)+part.off), mem.NewIO("fdc", part.size, p, memory.Spec{ImplMax: 1})); err != nil {
			return err
		}
	}
	return nil
}

func (c *Controller) findDMA() (*i8257.Channel, error) {
	for _, d := range c.Bus().Devices() {
		if dma, ok := d.(*i8257.Device); ok {
			ch, err := dma.Channel(int(min(c.dma, 8)))
			if err != nil {
				return nil, fmt.Errorf("dma: %w", err)
			}
			return ch, nil
		}
	}
	return nil, errors.New("there is no DMA controller on the ISA bus")
}

// Unrealize implements device.Device: the drives have gone before.
func (c *Controller) Unrealize() {}

// Drive returns a drive, or nil. It is for the lane.
func (c *Controller) Drive(unit int) *Floppy { return c.places[unit] }

// FloppyBus returns the bus of the drives, once the controller is realized.
func (c *Controller) FloppyBus() *device.Bus { return c.ChildBuses()[0] }

// ports are the registers from off on.
type ports struct {
	c   *Controller
	off uint64
}

// ReadIO implements memory.Handler.
func (p ports) ReadIO(off uint64, _ int) uint64 {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch p.off + off {
	case regStatusA:
		return uint64(c.statusA())
	case regStatusB:
		return uint64(c.statusB())
	case regDOR:
		return uint64(c.r.DOR)
	case regTape:
		return uint64(c.r.Tape)
	case regMain:
		return uint64(c.mainStatus())
	case regFIFO:
		return uint64(c.readFIFO())
	case regInput:
		if f := c.selected(); f != nil && f.changed {
			return inputChanged
		}
	}
	return 0
}

// WriteIO implements memory.Handler.
func (p ports) WriteIO(off uint64, _ int, v uint64) {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	b := uint8(v)
	switch p.off + off {
	case regDOR:
		c.writeDOR(b)
	case regTape:
		c.r.Tape = b & 3
	case regMain:
		c.r.Rate = b & dsrRate
		if b&dsrReset != 0 && c.r.DOR&dorReset != 0 {
			c.reset(false)
			c.resetDone()
		}
	case regFIFO:
		c.writeFIFO(b)
	case regInput:
		c.r.Rate = b & dsrRate
	}
}

func (c *Controller) selected() *Floppy { return c.drive(c.r.DOR & 3) }

func (c *Controller) drive(n uint8) *Floppy {
	if n < maxDrives {
		return c.drives[n]
	}
	return nil
}

// statusA has what the controller drives (section 2.1.1): the interrupt, and that
// there is one drive only.
func (c *Controller) statusA() (v uint8) {
	if c.r.IRQ {
		v |= 1 << 7
	}
	if c.drives[1] == nil {
		v |= 1 << 6
	}
	if f := c.selected(); f != nil && f.track != 0 {
		v |= 1 << 4
	}
	return v
}

// statusB has which drive is selected, and its motor.
func (c *Controller) statusB() uint8 {
	v := uint8(0xc0) | c.r.DOR>>4&3
	if c.r.DOR&1 != 0 {
		v |= 1 << 5
	}
	return v
}

func (c *Controller) writeDOR(v uint8) {
	old := c.r.DOR
	c.r.DOR = v
	switch {
	case v&dorReset == 0 && old&dorReset != 0:
		c.reset(false)
	case v&dorReset != 0 && old&dorReset == 0:
		c.resetDone()
	}
}

// reset ends what the controller is doing. hard: it is not the guest that asks.
func (c *Controller) reset(hard bool) {
	c.abandon()
	c.x = transfer{}
	c.setIRQ(false)
	if c.channel != nil {
		c.channel.SetRequest(false)
	}
	if hard {
		c.r = registers{DOR: 0x0c}
		for _, f := range c.drives {
			if f != nil {
				f.track, f.changed = 0, true
			}
		}
		return
	}
	r := &c.r
	r.Phase, r.Pos, r.Len, r.SenseLen, r.Seeked = phaseCommand, 0, 0, 0, 0
	if !r.Locked {
		r.Config = [2]uint8{}
	}
	r.Perp &^= 3
}

// resetDone has the guest sense four times, once for each drive that there could
// be (section 5.2.2).
func (c *Controller) resetDone() {
	for i := range maxSense {
		c.r.Sense[i] = st0Polled | uint8(i)
	}
	c.r.SenseLen = maxSense
	c.setIRQ(true)
}

// setIRQ drives the interrupt, which goes no further than the controller while the guest has
// it disabled.
func (c *Controller) setIRQ(on bool) {
	c.r.IRQ = on
	if c.line != nil {
		c.line.SetLevel(on && c.r.DOR&dorDMA != 0)
	}
}

// ResetEnter implements device.ResetEnterer.
func (c *Controller) ResetEnter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset(true)
}

func init() {
	kind := func(name string, def DriveType, at func(*Controller) *DriveType) object.Property {
		return object.Enum(name, "FdcDriveType", driveTypes, at, def, "FDC drive type, 144/288/120/none/auto")
	}
	device.Register(object.Type{
		Name: TypeName, Bus: isa.BusKind, UserCreatable: true, Description: "virtual floppy controller",
		New: func() object.Object { return &Controller{} },
		Props: []object.Property{
			object.Int("iobase", func(c *Controller) *uint32 { return &c.iobase }, 0x3f0, "the first port"),
			object.Int("irq", func(c *Controller) *uint32 { return &c.irq }, 6, "ISA interrupt"),
			object.Int("dma", func(c *Controller) *uint32 { return &c.dma }, 2, "ISA DMA channel"),
			object.Int("bootindexA", func(c *Controller) *int32 { return &c.boot[0] }, -1, ""),
			object.Int("bootindexB", func(c *Controller) *int32 { return &c.boot[1] }, -1, ""),
			kind("fdtypeA", DriveAuto, func(c *Controller) *DriveType { return &c.types[0] }),
			kind("fdtypeB", DriveAuto, func(c *Controller) *DriveType { return &c.types[1] }),
			kind("fallback", Drive288, func(c *Controller) *DriveType { return &c.fallback }),
		},
	})
}
