package machine

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"

	"govmd/internal/device/fwcfg"
	"govmd/internal/device/rtc"
	"govmd/internal/machine/acpi"
	"govmd/internal/machine/boot"
	"govmd/internal/machine/smbios"
)

// direct reports whether the machine starts a kernel without firmware.
func (m *Machine) direct() bool {
	c := m.Board.common()
	return c.kernel != "" && c.firmware == ""
}

// checkBoot refuses what cannot start together.
func (m *Machine) checkBoot() error {
	c := m.Board.common()
	switch {
	case !c.info.RAM && c.memoryBackend != "":
		return fmt.Errorf("machine '%s' has no memory for a memory backend to be", c.info.Name)
	case !c.info.RAM && c.kernel != "":
		return fmt.Errorf("machine '%s' has no processor that could start a kernel", c.info.Name)
	case c.kernel != "" && c.firmware != "":
		return fmt.Errorf("-kernel together with -bios is not supported: leave out -bios, the kernel is started without firmware")
	case c.kernel == "" && c.initrd != "":
		return fmt.Errorf("-initrd only allowed with -kernel option")
	case c.kernel == "" && c.cmdline != "":
		return fmt.Errorf("-append only allowed with -kernel option")
	}
	return nil
}

// bootParts is what a board gives to have its start completed.
type bootParts struct {
	fwcfg   *fwcfg.Device
	rtc     *rtc.Device // nil for a board without
	layout  layout
	tables  *acpi.Tables // nil without ACPI
	cmdline string
	// setup does what firmware would do to the board; nil for nothing.
	setup func()
}

// completeBoot describes the machine to its firmware, or plans how its kernel
// is started without.
func (m *Machine) completeBoot(p bootParts) error {
	if err := m.describe(p.fwcfg, p.layout); err != nil {
		return err
	}
	if p.rtc != nil {
		if err := m.fillCMOS(p.rtc, p.layout); err != nil {
			return err
		}
	}
	sm, err := m.smbiosTables(p.layout)
	if err != nil {
		return err
	}
	if m.direct() {
		return m.planDirect(p, sm)
	}
	if p.tables != nil {
		for _, f := range p.tables.LoaderFiles() {
			if err := p.fwcfg.AddFile(f.Name, f.Data); err != nil {
				return err
			}
		}
	}
	for _, f := range sm.Files() {
		if err := p.fwcfg.AddFile(f.Name, f.Data); err != nil {
			return err
		}
	}
	return nil
}

// describe fills fw_cfg with what firmware and guests look for.
func (m *Machine) describe(f *fwcfg.Device, l layout) error {
	if id := m.UUID; id != [16]byte{} {
		f.Add(fwcfg.KeyUUID, id[:])
	}
	f.AddUint64(fwcfg.KeyRAMSize, m.RAM)
	graphics := m.Board.common().graphics
	f.AddUint16(fwcfg.KeyNoGraphic, boolWord(!graphics))
	f.AddUint16(fwcfg.KeyCPUs, uint16(m.SMP.CPUs))
	limit := int(m.topology().MaxAPICID()) + 1
	f.AddUint16(fwcfg.KeyMaxCPUs, uint16(limit))
	f.AddUint32(fwcfg.KeyIRQ0Override, 1)
	var words []byte
	for _, w := range m.numaWords(limit) {
		words = binary.LittleEndian.AppendUint64(words, w)
	}
	f.Add(fwcfg.KeyNUMA, words)
	f.AddUint16(fwcfg.KeyBootMenu, boolWord(m.Boot.Menu != nil && *m.Boot.Menu))
	if err := f.AddFile(fwcfg.FileE820, l.firmwareMap().Encode()); err != nil {
		return err
	}
	if !graphics && m.Config.Serial[0] != "" {
		// Firmware and boot loaders show their console on COM1.
		if err := f.AddFile(fwcfg.FileSerialConsole, binary.LittleEndian.AppendUint16(nil, 0x3f8)); err != nil {
			return err
		}
	}
	if err := m.describeOrder(f); err != nil {
		return err
	}
	for _, r := range m.OptionROMs {
		if err := m.addOptionROM(f, r); err != nil {
			return err
		}
	}
	for _, item := range m.FwCfg {
		if w := fwcfg.UserWarning(item.Name); w != "" {
			m.log().Warn(w)
		}
		if err := f.AddFile(item.Name, item.Data); err != nil {
			return fmt.Errorf("-fw_cfg %s: %w", item.Name, err)
		}
	}
	return nil
}

// describeOrder tells firmware what -boot asks for, but for the letters, which
// are in CMOS.
func (m *Machine) describeOrder(f *fwcfg.Device) error {
	order, err := boot.EncodeOrder(m.bootEntries(), m.Boot.Strict)
	if err != nil {
		return err
	}
	if order != nil {
		if err := f.AddFile(boot.OrderFile, order); err != nil {
			return err
		}
	}
	if m.Boot.Splash != "" {
		data, err := boot.ReadFile("splash picture", m.Boot.Splash, 16<<20)
		if err != nil {
			return err
		}
		name, err := boot.SplashName(m.Boot.Splash, data)
		if err != nil {
			return err
		}
		if err := f.AddFile(name, data); err != nil {
			return err
		}
	}
	if t := m.Boot.SplashTime; t >= 0 {
		if err := f.AddFile(boot.MenuWaitFile, binary.LittleEndian.AppendUint16(nil, uint16(t))); err != nil {
			return err
		}
	}
	return f.AddFile(boot.FailWaitFile, binary.LittleEndian.AppendUint32(nil, uint32(int32(m.Boot.RebootTimeout))))
}

func boolWord(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}

// fillCMOS writes what firmware reads from the clock's memory.
func (m *Machine) fillCMOS(r *rtc.Device, l layout) error {
	set16 := func(reg int, v uint64) {
		r.SetCMOS(reg, byte(v))
		r.SetCMOS(reg+1, byte(v>>8))
	}
	const kib, mib = 1 << 10, 1 << 20
	set16(0x15, min(640, l.below/kib)) // base memory, KiB
	extended := min(65535, (max(l.below, mib)-mib)/kib)
	set16(0x17, extended)
	set16(0x30, extended)
	set16(0x34, min(65535, (max(l.below, 16*mib)-16*mib)/(64*kib)))
	r.SetCMOS(0x5b, byte(l.above>>16))
	r.SetCMOS(0x5c, byte(l.above>>24))
	r.SetCMOS(0x5d, byte(l.above>>32))
	r.SetCMOS(0x5f, byte(m.SMP.CPUs-1))
	r.SetCMOS(0x14, 0x06) // mathematics coprocessor, PS/2 mouse
	return m.setBootDevices(r, true)
}

// setBootDevices puts the order that is in force into CMOS.
func (m *Machine) setBootDevices(r *rtc.Device, first bool) error {
	order, third, err := boot.EncodeCMOS(m.Boot.Devices(first))
	if err != nil {
		return err
	}
	const noFloppyCheck = 1
	r.SetCMOS(boot.CMOSOrder, order)
	r.SetCMOS(boot.CMOSThirdOrder, third|noFloppyCheck)
	return nil
}

// smbiosTables builds the SMBIOS tables; without firmware they speak of it too.
func (m *Machine) smbiosTables(l layout) (*smbios.Tables, error) {
	c := smbios.Config{
		UUID: m.UUID, Manufacturer: "govmd", Product: m.Board.common().info.Description,
		Version: m.Board.common().info.Name, BIOS: m.direct(),
		Sockets: m.SMP.Sockets, Cores: m.SMP.Dies * m.SMP.Cores, Threads: m.SMP.Dies * m.SMP.Cores * m.SMP.Threads,
		ProcessorID: m.processorID(), Memory: []smbios.Range{{Base: 0, Size: l.below}},
	}
	if l.above > 0 {
		c.Memory = append(c.Memory, smbios.Range{Base: fourGiB, Size: l.above})
	}
	for _, pairs := range m.SMBIOS {
		if err := c.Add(pairs, func(name string) ([]byte, error) { return boot.ReadFile("SMBIOS file", name, 1<<20) }); err != nil {
			return nil, fmt.Errorf("-smbios %s: %w", pairsText(pairs), err)
		}
	}
	return c.Build()
}

func pairsText(pairs []smbios.Pair) string {
	words := make([]string, len(pairs))
	for i, p := range pairs {
		words[i] = p.Key + "=" + p.Value
	}
	return strings.Join(words, ",")
}

// processorID is what CPUID leaf 1 says of the processors' version and features.
func (m *Machine) processorID() uint64 {
	for _, e := range m.model.CPUID(0, 0) {
		if e.Function == 1 {
			return uint64(e.EDX)<<32 | uint64(e.EAX)
		}
	}
	return 0
}

// acpiCPUs lists the processors for the tables.
func (m *Machine) acpiCPUs() []acpi.CPU {
	list := make([]acpi.CPU, m.SMP.MaxCPUs)
	for i := range list {
		list[i] = acpi.CPU{APICID: m.topology().APICID(i), Present: i < m.SMP.CPUs}
	}
	return list
}

// maxOptionROM is what a ROM's size, 8 bits in units of 512 bytes, can say.
const maxOptionROM = 255 * 512

// name is where firmware looks for programs to run.
func (r OptionROM) name() string { return "genroms/" + filepath.Base(r.File) }

func (m *Machine) addOptionROM(f *fwcfg.Device, r OptionROM) error {
	path, ok := m.findFile(r.File)
	if !ok {
		path = r.File // whose absence is reported
	}
	data, err := boot.ReadFile("option ROM", path, maxOptionROM)
	if err != nil {
		return err
	}
	if err := f.AddFile(r.name(), data); err != nil {
		return fmt.Errorf("-option-rom %s: %w", r.File, err)
	}
	return nil
}
