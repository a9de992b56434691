package machine

import (
	"fmt"
	"strings"

	"govmd/internal/device"
	"govmd/internal/device/fwcfg"
	"govmd/internal/device/ged"
	"govmd/internal/device/isa"
	"govmd/internal/device/rtc"
	"govmd/internal/device/virtio/mmio"
	"govmd/internal/machine/acpi"
	"govmd/internal/object"
)

// The virtio-mmio transports of a microvm: each has a page's eighth of registers
// and an interrupt of its own, on inputs of the I/O APIC that ISA does not use.
const (
	microvmVirtioBase  = 0xfeb00000
	microvmVirtioSize  = 512
	microvmVirtioGSI   = 16
	microvmVirtioCount = 8
)

// Microvm is the board "microvm": no PCI, nothing that a modern guest does not
// need, and the shortest way to a running Linux.
type Microvm struct {
	Common
	pit, pic, rtcProp object.OnOffAuto
	isaSerial         bool
	optionROMs        bool
	autoCmdline       object.OnOffAuto
	acpi              object.OnOffAuto
	pcie              object.OnOffAuto
	ioapic2           object.OnOffAuto

	layout
	isaBus     *device.Bus
	fwcfg      *fwcfg.Device
	rtc        *rtc.Device
	ged        *ged.Device
	transports []*mmio.Transport
	uarts      [4]bool
}

func init() {
	object.Register(object.Type{Name: "generic-microvm-machine", Parent: "machine", Abstract: true, Props: []object.Property{
		object.Tristate("pit", func(v *Microvm) *object.OnOffAuto { return &v.pit }, object.Auto, "Enable i8254 PIT"),
		object.Tristate("pic", func(v *Microvm) *object.OnOffAuto { return &v.pic }, object.Auto, "Enable i8259 PIC"),
		object.Tristate("rtc", func(v *Microvm) *object.OnOffAuto { return &v.rtcProp }, object.Auto, "Enable MC146818 RTC"),
		object.Bool("isa-serial", func(v *Microvm) *bool { return &v.isaSerial }, true, "Set off to disable the instantiation an ISA serial port"),
		object.Bool("x-option-roms", func(v *Microvm) *bool { return &v.optionROMs }, true, "Set off to disable loading option ROMs"),
		object.Tristate("auto-kernel-cmdline", func(v *Microvm) *object.OnOffAuto { return &v.autoCmdline }, object.Auto,
			"Name the virtio-mmio devices on the kernel command line; auto leaves it to the ACPI tables"),
		never(object.Tristate("acpi", func(v *Microvm) *object.OnOffAuto { return &v.acpi }, object.Auto, "Enable ACPI"),
			"off", "the board describes its devices by ACPI alone"),
		never(object.Tristate("pcie", func(v *Microvm) *object.OnOffAuto { return &v.pcie }, object.Auto, "Enable PCIe"),
			"on", "the board has no PCI"),
		never(object.Tristate("ioapic2", func(v *Microvm) *object.OnOffAuto { return &v.ioapic2 }, object.Auto, "Enable second IO-APIC"),
			"on", "there is one I/O APIC alone"),
	}})
	registerBoard(Info{
		Name: "microvm-7.2", Alias: "microvm", MaxCPUs: 255, RAM: true,
		Description: "microvm (i386)", DefaultCPU: "qemu64",
	}, "generic-microvm-machine", func(c Common) Board { return &Microvm{Common: c} })
}

func (*Microvm) ramName() string { return "microvm.ram" }

func (v *Microvm) build(m *Machine) error {
	if _, err := v.mapRAM(m, 0); err != nil {
		return err
	}
	if err := m.plugChips(v.pic != object.Off, v.wantsPIT()); err != nil {
		return err
	}
	gsis := m.Accel.Pins()
	v.isaBus = device.NewRootBus(isa.BusKind, "isa.0", isa.New(m.io.Root(), m.mem.Root(), [16]*device.Pin(gsis[:16])))
	m.addBus(v.isaBus)
	if err := v.plugISA(m); err != nil {
		return err
	}
	if err := v.plugGED(m, gsis[acpi.DefaultGED.GSI]); err != nil {
		return err
	}
	for i := range microvmVirtioCount {
		if err := v.plugTransport(m, i, gsis[microvmVirtioGSI+i]); err != nil {
			return err
		}
	}
	if m.direct() {
		return nil
	}
	return m.loadFirmware(m.mem.Root(), "bios-microvm.bin")
}

func (v *Microvm) plugISA(m *Machine) (err error) {
	if v.fwcfg, err = m.plugFwCfg(); err != nil {
		return err
	}
	if v.rtcProp != object.Off {
		if v.rtc, err = m.plugRTC(v.isaBus, nil); err != nil {
			return err
		}
	}
	if v.isaSerial {
		v.uarts, err = m.plugSerial(v.isaBus, 1)
	}
	return err
}

func (v *Microvm) plugGED(m *Machine, gsi *device.Pin) error {
	d, err := m.create("acpi-ged-x86")
	if err != nil {
		return err
	}
	v.ged = d.(*ged.Device)
	v.ged.Events, v.ged.Registers = uint64(acpi.DefaultGED.Events), uint64(acpi.DefaultGED.Registers)
	v.ged.Pin = gsi
	return m.plug(nil, v.ged)
}

func (v *Microvm) plugTransport(m *Machine, i int, gsi *device.Pin) error {
	d, err := m.create("virtio-mmio")
	if err != nil {
		return err
	}
	t := d.(*mmio.Transport)
	t.Base, t.Pin = microvmVirtioBase+uint64(i)*microvmVirtioSize, gsi
	// Guests of this board are new enough for the interface of virtio 1.
	if err := object.Set(t, "force-legacy", false); err != nil {
		return err
	}
	v.transports = append(v.transports, t)
	return m.plug(nil, t)
}

// used returns the transports that have a device.
func (v *Microvm) used() (list []int) {
	for i, t := range v.transports {
		if len(t.Bus().Devices()) > 0 {
			list = append(list, i)
		}
	}
	return list
}

func (v *Microvm) finish(m *Machine) error {
	a := acpi.MicroVM{
		CPUs: m.acpiCPUs(), PIC: v.pic != object.Off, TimerOnPin2: true, GED: acpi.DefaultGED,
		Serial: v.uarts, RTC: v.rtc != nil, FWCfgPorts: 12, Extra: m.numaTables(v.layout),
	}
	for _, i := range v.used() {
		a.VirtioMMIO = append(a.VirtioMMIO, acpi.VirtioMMIO{
			Base: microvmVirtioBase + uint64(i)*microvmVirtioSize, GSI: microvmVirtioGSI + uint32(i)})
	}
	tables, err := acpi.NewMicroVM(a)
	if err != nil {
		return err
	}
	return m.completeBoot(bootParts{fwcfg: v.fwcfg, rtc: v.rtc, layout: v.layout, tables: tables, cmdline: v.kernelCmdline()})
}

func (v *Microvm) pressPowerButton() { v.ged.PressPowerButton() }

func (v *Microvm) wantsPIT() bool { return v.pit != object.Off }

// kernelCmdline is -append and, where wanted, what names the devices.
func (v *Microvm) kernelCmdline() string {
	words := []string{}
	if v.cmdline != "" {
		words = append(words, v.cmdline)
	}
	if v.autoCmdline == object.On {
		for _, i := range v.used() {
			words = append(words, fmt.Sprintf("virtio_mmio.device=%d@0x%x:%d",
				microvmVirtioSize, microvmVirtioBase+i*microvmVirtioSize, microvmVirtioGSI+i))
		}
	}
	return strings.Join(words, " ")
}
