package machine

import (
	"govmd/internal/device"
	"govmd/internal/device/fdc"
	"govmd/internal/device/fwcfg"
	"govmd/internal/device/hpet"
	"govmd/internal/device/i440fx"
	"govmd/internal/device/ide"
	"govmd/internal/device/pci"
	"govmd/internal/device/piix"
	"govmd/internal/device/pvpanic"
	"govmd/internal/device/rtc"
	"govmd/internal/machine/acpi"
	"govmd/internal/machine/boot"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/runstate"
)

// PC is the board "pc": i440FX and PIIX.
type PC struct {
	Common
	hpet, acpi, pit, pic, smm bool
	vmport                    object.OnOffAuto
	maxRAMBelow4G             uint64
	fwCfgDMA                  bool

	layout
	host   *i440fx.Host
	piix3  *piix.PIIX3
	fdc    *fdc.Controller
	pm     *piix.PIIX4PM
	ide    ide.Function
	isaBus *device.Bus
	fwcfg  *fwcfg.Device
	rtc    *rtc.Device
	uarts  [4]bool
	hpetID uint32 // 0 without
	rtcIRQ *gate  // between ISA interrupt 8 and the interrupt controllers
}

const rtcIRQ = 8

func init() {
	object.Register(object.Type{Name: "generic-pc-machine", Parent: "machine", Abstract: true, Props: []object.Property{
		object.Bool("hpet", func(p *PC) *bool { return &p.hpet }, true, "Enable/disable the high precision event timer"),
		object.Bool("acpi", func(p *PC) *bool { return &p.acpi }, true, "Enable/disable ACPI"),
		never(object.Bool("pit", func(p *PC) *bool { return &p.pit }, true, "Enable i8254 PIT"),
			"off", "the interval timer is part of KVM's interrupt controllers"),
		never(object.Bool("pic", func(p *PC) *bool { return &p.pic }, true, "Enable i8259 PIC"),
			"off", "the interrupt controllers are KVM's"),
		object.Size("max-ram-below-4g", func(p *PC) *uint64 { return &p.maxRAMBelow4G }, 0, "Maximum RAM below the 4G boundary"),
		never(object.Tristate("vmport", func(p *PC) *object.OnOffAuto { return &p.vmport }, object.Auto, "Enable vmport (pc & q35)"),
			"on", "there is no VMware I/O port yet"),
		never(object.Bool("smm", func(p *PC) *bool { return &p.smm }, false, "Enable SMM"),
			"on", "there is no system management mode yet"),
		object.Bool("fwcfg-dma", func(p *PC) *bool { return &p.fwCfgDMA }, true, "DMA interface of fw_cfg"),
	}})
	registerBoard(Info{
		Name: "pc-i440fx-7.2", Alias: "pc", Default: true, MaxCPUs: 255, RAM: true,
		Description: "Standard PC (i440FX + PIIX, 1996)", DefaultCPU: "qemu64",
	}, "generic-pc-machine", func(c Common) Board { return &PC{Common: c} })
}

func (*PC) ramName() string { return "pc.ram" }

func (p *PC) build(m *Machine) error {
	low, err := p.mapRAM(m, p.maxRAMBelow4G)
	if err != nil {
		return err
	}
	if err := p.plugBridges(m, low); err != nil {
		return err
	}
	if err := p.plugISA(m); err != nil {
		return err
	}
	if m.direct() {
		return nil
	}
	return m.loadFirmware(p.host.PCIMem(), "bios-256k.bin")
}

func (p *PC) plugBridges(m *Machine, low *memory.Region) error {
	d, err := m.create("i440FX-pcihost")
	if err != nil {
		return err
	}
	p.host = d.(*i440fx.Host)
	p.host.RAM, p.host.RAMSize = low, m.RAM
	if err := m.plugNamed("i440fx", nil, p.host); err != nil {
		return err
	}
	if err := m.plugChips(true, true); err != nil {
		return err
	}
	if d, err = m.create("PIIX3"); err != nil {
		return err
	}
	gsis := m.Accel.Pins()
	p.piix3 = d.(*piix.PIIX3)
	p.piix3.IRQs = [16]*device.Pin(gsis[:16])
	p.rtcIRQ = newGate("rtc", gsis[rtcIRQ])
	p.piix3.IRQs[rtcIRQ] = p.rtcIRQ.Pin
	p.piix3.SetAddr(1, 0)
	if err := m.plug(p.host.Bus(), p.piix3); err != nil {
		return err
	}
	p.isaBus = p.piix3.ISA()
	if p.ide, err = m.plugIDE(p.host.Bus(), gsis[:]); err != nil {
		return err
	}
	if !p.acpi {
		return nil
	}
	if d, err = m.create("PIIX4_PM"); err != nil {
		return err
	}
	p.pm = d.(*piix.PIIX4PM)
	p.pm.SCI = gsis[acpi.DefaultPM.SCI]
	p.pm.Serial1, p.pm.Serial2 = m.Config.Serial[0] != "", m.Config.Serial[1] != ""
	p.pm.SetAddr(1, 3)
	return m.plug(p.host.Bus(), p.pm)
}

// plugISA plugs what a PC has on its ISA bus, and what its board has beside.
func (p *PC) plugISA(m *Machine) (err error) {
	if p.fwcfg, err = m.plugFwCfg(); err != nil {
		return err
	}
	var onAlarm func()
	if p.pm != nil {
		onAlarm = p.pm.RTCAlarm
	}
	if p.rtc, err = m.plugRTC(p.isaBus, onAlarm); err != nil {
		return err
	}
	if p.hpet {
		if err := p.plugHPET(m); err != nil {
			return err
		}
	}
	for _, name := range []string{"i8042", "port92", "i8257"} {
		d, err := m.create(name)
		if err != nil {
			return err
		}
		if err := m.plug(p.isaBus, d); err != nil {
			return err
		}
	}
	if p.fdc, err = m.plugFloppies(p.isaBus); err != nil {
		return err
	}
	p.uarts, err = m.plugSerial(p.isaBus, len(p.uarts))
	return err
}

func (p *PC) plugHPET(m *Machine) error {
	d, err := m.create("hpet")
	if err != nil {
		return err
	}
	h := d.(*hpet.Device)
	h.Pins = m.Accel.Pins()
	h.Legacy = func(on bool) {
		m.Accel.SetHPETLegacy(on)
		p.rtcIRQ.setCut(on)
	}
	if err := m.plug(nil, h); err != nil {
		return err
	}
	p.hpetID = h.BlockID()
	return nil
}

func (p *PC) finish(m *Machine) error {
	parts := bootParts{fwcfg: p.fwcfg, rtc: p.rtc, layout: p.layout, cmdline: p.cmdline}
	if p.pm != nil {
		if err := p.fwcfg.AddFile(fwcfg.FileSystemStates, p.pm.SystemStates()); err != nil {
			return err
		}
		tables, err := p.acpiTables(m)
		if err != nil {
			return err
		}
		parts.tables = tables
	}
	if m.direct() {
		parts.setup = func() { p.setupChips(m) }
	}
	fillDisks(p.rtc, p.ide)
	if err := m.completeBoot(parts); err != nil {
		return err
	}
	fillFloppies(p.rtc, p.fdc)
	return nil
}

// sleepThere marks the sleep states that there are in etc/system-states.
const sleepThere = 0x80

func (p *PC) acpiTables(m *Machine) (*acpi.Tables, error) {
	states := p.pm.SystemStates()
	c := acpi.PC{
		CPUs: m.acpiCPUs(), PM: acpi.DefaultPM, Reset: acpi.PIIXReset,
		PCIWindows: []acpi.Range{{First: p.below, Last: 0xfebfffff}},
		Extra:      m.numaTables(p.layout),
		HPET:       p.hpetID, Floppy: true, Keyboard: true, Mouse: true, Serial: p.uarts, FWCfgPorts: 12,
		S3: states[3]&sleepThere != 0, S4: states[4]&sleepThere != 0, S4Type: states[4] &^ sleepThere,
	}
	if size := p.host.Hole64Size(); size > 0 {
		start := (uint64(fourGiB) + p.above + 1<<30 - 1) &^ (1<<30 - 1)
		c.PCIWindow64 = acpi.Range{First: start, Last: start + size - 1}
	}
	for _, d := range p.isaBus.Devices() {
		if v, ok := d.(*pvpanic.Device); ok {
			c.PVPanicPort = v.Port()
		}
	}
	return acpi.NewPC(c)
}

// setupChips does to the chip set what firmware would.
func (p *PC) setupChips(m *Machine) {
	bus := p.host.PCI()
	var functions []boot.PCIFunction
	for _, d := range p.host.Bus().Devices() {
		f := d.(pci.Function)
		functions = append(functions, boot.PCIFunction{Slot: uint8(f.PCI().Slot()), Func: uint8(f.PCI().Fn()), Pin: f.PCI().Config().U8(pci.RegInterruptPin)})
	}
	config, ports := boot.ChipSetup(acpi.DefaultPM, functions)
	for _, w := range config {
		bus.WriteConfig(w.Bus, w.Slot<<3|w.Func, int(w.Offset), w.Size, w.Value)
	}
	var levels uint16
	for _, w := range ports {
		if w.Port == 0x4d0 {
			levels |= uint16(w.Value)
		} else {
			levels |= uint16(w.Value) << 8
		}
	}
	if err := m.Accel.SetELCR(levels); err != nil {
		m.log().Errorf("trigger modes: %v", err)
	}
	// Keys are translated to scan code set 1, as systems expect of a PC, and the
	// keyboard interrupts; the mouse is off.
	const writeMode, mode = 0x60, 0x61
	m.io.WriteIO(0x64, []byte{writeMode})
	m.io.WriteIO(0x60, []byte{mode})
}

func (p *PC) pressPowerButton() {
	if p.pm != nil {
		p.pm.PowerButton()
	}
}

// cmosShutdownStatus is where firmware looks for why it was started; 0xfe means
// that the machine wakes from S3.
const (
	cmosShutdownStatus = 0x0f
	cmosS3Resume       = 0xfe
)

func (p *PC) sleep() { p.rtc.SetCMOS(cmosShutdownStatus, cmosS3Resume) }

func (p *PC) wake(r runstate.WakeReason) { p.pm.Wake(r) }

func (p *PC) clock() *rtc.Device { return p.rtc }

func (p *PC) pciBus() *pci.Bus {
	if p.host == nil {
		return nil
	}
	return p.host.PCI()
}
