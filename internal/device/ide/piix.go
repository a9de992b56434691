package ide

import (
	"fmt"

	"govmd/internal/device"
	"govmd/internal/device/ata"
	"govmd/internal/device/pci"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/state"
)

// The types of the two functions.
const (
	PIIX3Type = "piix3-ide"
	PIIX4Type = "piix4-ide"
)

// legacy is where the channels have always been.
var legacy = [2]struct {
	command, control uint16
	irq              int
}{{0x1f0, 0x3f6, 14}, {0x170, 0x376, 15}}

// function is piix3-ide or piix4-ide. A board gives it its place and IRQs and plugs
// it in; then Buses are "ide.0" and "ide.1".
type function struct {
	pci.Device
	device uint16

	irqs     [2]*device.Pin
	dma      *memory.DMA
	channels [2]*channel
	buses    [2]*device.Bus
}

// Function is an IDE function as a board sees it.
type Function interface {
	pci.Function
	// SetIRQs gives the interrupts 14 and 15 to the channels, before the function is
	// plugged in. Without it those of the machine's ISA bus are found.
	SetIRQs(primary, secondary *device.Pin)
	// IDEBus returns the bus of channel n (0 or 1).
	IDEBus(n int) *device.Bus
	// Drive returns a drive, or nil.
	Drive(channel, unit int) *ata.Drive
}

func (f *function) SetIRQs(primary, secondary *device.Pin) {
	f.irqs = [2]*device.Pin{primary, secondary}
}

// IDEBus returns the bus of channel n.
func (f *function) IDEBus(n int) *device.Bus { return f.buses[n] }

func (f *function) Drive(channel, unit int) *ata.Drive { return f.channels[channel].cable.Drive(unit) }

// Realize implements device.Device.
func (f *function) Realize() error {
	if err := f.Setup(pci.Identity{Vendor: pci.VendorIntel, Device: f.device, Class: 0x010180}); err != nil {
		return err
	}
	f.registers()
	f.dma = f.DMA()
	f.findIRQs()
	env := f.Env()
	for i := range f.channels {
		c := &channel{f: f, n: i}
		c.line = f.NewOutput(f.irqs[i], f.Describe())
		f.channels[i] = c
		c.cable, f.buses[i] = ata.NewCable(&f.Base, c, i, 2)
		for _, r := range []struct {
			name string
			port uint16
			size uint64
			h    memory.Handler
			spec memory.Spec
		}{
			{"ide", legacy[i].command, 8, commandBlock{c}, memory.Spec{Max: 4}},
			{"ide-control", legacy[i].control, 1, controlBlock{c}, memory.Spec{ImplMax: 1}},
		} {
			if err := f.Map(f.PCIBus().IO(), uint64(r.port), env.Memory.NewIO(r.name, r.size, r.h, r.spec)); err != nil {
				return fmt.Errorf("%w (two controllers cannot have the same ports)", err)
			}
		}
	}
	return f.RegisterBAR(4, pci.BARIO, env.Memory.NewIO("piix-bmdma", 16, bmRegisters{f}, memory.Spec{Max: 4}))
}

// registers gives configuration space what section 2.3 says.
func (f *function) registers() {
	c := f.Config()
	c.Update(pci.RegStatus, 0, pci.StatusDevselMedium|pci.StatusFastB2B)
	c.Writable(0x40, 4, 0xffffffff) // timing; the ports answer however it is set
	c.Writable(0x44, 1, 0xff)
	if f.device == 0x7111 {
		c.Writable(0x48, 1, 0x0f) // UDMA
		c.Writable(0x4a, 2, 0x3333)
	}
}

// findIRQs takes the ISA bridge's interrupts when nobody has set any.
func (f *function) findIRQs() {
	if f.irqs[0] != nil {
		return
	}
	type bridge interface{ ISAIRQ(n int) *device.Pin }
	for _, d := range f.Bus().Devices() {
		if b, ok := d.(bridge); ok {
			for i := range f.irqs {
				f.irqs[i] = b.ISAIRQ(legacy[i].irq)
			}
			return
		}
	}
}

// ResetEnter implements device.ResetEnterer.
func (f *function) ResetEnter() {
	f.Device.ResetEnter()
	for _, c := range f.channels {
		c.resetEnter()
	}
}

// ResetHold implements device.ResetHolder.
func (f *function) ResetHold() {
	f.Device.ResetHold()
	for _, c := range f.channels {
		c.resetHold()
	}
}

type saved struct {
	Channels []savedChannel `cbor:"channels"`
}

type savedChannel struct {
	Control  byte   `cbor:"control"`
	Selected int    `cbor:"selected"`
	Command  byte   `cbor:"bm-command"`
	Status   byte   `cbor:"bm-status"`
	Table    uint32 `cbor:"bm-table"`
}

// States implements device.Stater.
func (f *function) States() []state.Entry {
	e := state.Of("", 1, f.save, f.load)
	e.PostLoad = f.loaded
	return []state.Entry{e}
}

func (f *function) save() (s saved) {
	for _, c := range f.channels {
		c.mu.Lock()
		s.Channels = append(s.Channels, savedChannel{c.control, c.sel, c.bm.command, c.bm.status, c.bm.table})
		c.mu.Unlock()
	}
	return s
}

func (f *function) load(s *saved) error {
	if len(s.Channels) != len(f.channels) {
		return fmt.Errorf("%d channels, not %d", len(s.Channels), len(f.channels))
	}
	for i, c := range f.channels {
		v := s.Channels[i]
		c.mu.Lock()
		c.control, c.sel = v.Control, v.Selected&1
		c.bm = busMaster{v.Command & (bmStart | bmToGuest), v.Status & (bmActive | bmError | bmInterrupt | bmCapable), v.Table &^ 3}
		c.mu.Unlock()
	}
	return nil
}

// loaded drives the interrupts, now that the drives are loaded, too.
func (f *function) loaded() error {
	for _, c := range f.channels {
		c.resetHold()
	}
	return nil
}

var _ Function = (*function)(nil)

func init() {
	for name, id := range map[string]uint16{PIIX3Type: 0x7010, PIIX4Type: 0x7111} {
		pci.Register(object.Type{
			Name: name, UserCreatable: true, Description: "IDE controller",
			New: func() object.Object { return &function{device: id} },
		})
	}
}
