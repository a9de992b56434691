package acpi_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"govmd/internal/machine/acpi"
	"govmd/internal/machine/acpi/acpitest"
)

var le = binary.LittleEndian

func cpus(present, possible int) (list []acpi.CPU) {
	for i := range possible {
		list = append(list, acpi.CPU{APICID: uint32(i), Present: i < present})
	}
	return list
}

func fullPC() acpi.PC {
	return acpi.PC{
		CPUs:        cpus(2, 4),
		PCIWindows:  []acpi.Range{{First: 0xe0000000, Last: 0xfebfffff}},
		PCIWindow64: acpi.Range{First: 0x180000000, Last: 0x1ffffffff},
		PM:          acpi.DefaultPM, Reset: acpi.PIIXReset,
		HPET: 0x8086a201, VGA: true, Keyboard: true, Mouse: true, Floppy: true, Parallel: true,
		Serial: [4]bool{true, true, true, true}, FWCfgPorts: 12, PVPanicPort: 0x505,
		S3: true, S4: true, XSDT: true,
	}
}

func fullMicroVM() acpi.MicroVM {
	c := acpi.MicroVM{
		CPUs: cpus(2, 2), IOAPICs: []acpi.IOAPIC{acpi.DefaultIOAPIC, {ID: 1, Addr: 0xfec10000, GSIBase: 24}},
		PIC: true, TimerOnPin2: true, GED: acpi.DefaultGED, Serial: [4]bool{true}, RTC: true, Keyboard: true, FWCfgPorts: 12,
	}
	for i := range 24 {
		c.VirtioMMIO = append(c.VirtioMMIO, acpi.VirtioMMIO{Base: 0xfeb00000 + uint64(i)*512, GSI: 24 + uint32(i)})
	}
	return c
}

// machines are the boards whose tables the tests look at.
func machines(t *testing.T) map[string]*acpi.Tables {
	t.Helper()
	out := map[string]*acpi.Tables{}
	pc := func(name string, c acpi.PC) {
		tables, err := acpi.NewPC(c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = tables
	}
	pc("full pc", fullPC())
	pc("bare pc", acpi.PC{CPUs: cpus(1, 1), PM: acpi.PM{Base: 0x600, GPE: 0xafe0, SCI: 9}})
	big := fullPC()
	big.CPUs = cpus(300, 300)
	big.Extra = []acpi.Table{{Signature: "SSDT", Revision: 1}}
	pc("300 CPUs", big)
	numa := fullPC()
	numa.CPUs = append(numa.CPUs, acpi.CPU{APICID: 300})
	numa.Extra = []acpi.Table{
		acpi.SRAT(acpi.Affinity{
			CPUs:   []acpi.CPUAffinity{{APICID: 0, Node: 0}, {APICID: 1, Node: 1}, {APICID: 300, Node: 0x1234}},
			Memory: []acpi.MemoryAffinity{{Base: 0, Size: 0xa0000}, {Base: 1 << 32, Size: 1 << 30, Node: 1}},
		}),
		acpi.SLIT(2, func(from, to int) uint8 { return uint8(10 + 11*from + to) }),
	}
	pc("numa", numa)
	for name, c := range map[string]acpi.MicroVM{
		"full microvm": fullMicroVM(),
		"bare microvm": {CPUs: cpus(1, 1), GED: acpi.DefaultGED},
	} {
		tables, err := acpi.NewMicroVM(c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = tables
	}
	return out
}

func place(t *testing.T, tables *acpi.Tables) acpitest.All {
	t.Helper()
	p, err := tables.Place(0x7fe0000, 0xe0000)
	if err != nil {
		t.Fatal(err)
	}
	all, err := acpitest.Walk(acpitest.Memory{p.TablesAddr: p.Tables, p.RSDPAddr: p.RSDP}, p.RSDPAddr)
	if err != nil {
		t.Fatal(err)
	}
	if f, ok := all.Get("FACS"); ok && f.Addr != p.FACSAddr || !ok && p.FACSAddr != 0 {
		t.Errorf("FACS at %#x, said to be at %#x", f.Addr, p.FACSAddr)
	}
	return all
}

func signatures(all acpitest.All) string {
	var s []string
	for _, f := range all {
		s = append(s, f.Signature)
	}
	return strings.Join(s, " ")
}

func TestPlacedTables(t *testing.T) {
	want := map[string]string{
		"full pc":      "RSDT XSDT FACP DSDT FACS APIC HPET WAET",
		"bare pc":      "RSDT FACP DSDT FACS APIC WAET",
		"300 CPUs":     "RSDT XSDT FACP DSDT FACS APIC HPET WAET SSDT",
		"numa":         "RSDT XSDT FACP DSDT FACS APIC HPET WAET SRAT SLIT",
		"full microvm": "RSDT XSDT FACP DSDT APIC WAET",
		"bare microvm": "RSDT XSDT FACP DSDT APIC WAET",
	}
	for name, tables := range machines(t) {
		t.Run(name, func(t *testing.T) {
			if got := signatures(place(t, tables)); got != want[name] {
				t.Errorf("tables %s, want %s", got, want[name])
			}
		})
	}
}

// The tables that firmware makes of the loader script are those that Place
// makes for the same addresses.
func TestLoaderScript(t *testing.T) {
	for name, tables := range machines(t) {
		t.Run(name, func(t *testing.T) {
			files := map[string][]byte{}
			for _, f := range tables.LoaderFiles() {
				files[f.Name] = f.Data
			}
			mem, rsdp, err := acpitest.RunLoader(files)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := acpitest.Walk(mem, rsdp); err != nil {
				t.Fatal(err)
			}
			for base, data := range mem {
				if base == rsdp {
					continue
				}
				p, err := tables.Place(base, rsdp)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(p.Tables, data) || !bytes.Equal(p.RSDP, mem[rsdp]) {
					t.Error("loader and Place disagree")
				}
			}
		})
	}
}

func TestIASLAccepts(t *testing.T) {
	for name, tables := range machines(t) {
		t.Run(name, func(t *testing.T) {
			for _, f := range place(t, tables) {
				if f.Signature == "SSDT" {
					continue // an empty one: nothing to compile
				}
				source := acpitest.Disassemble(t, f, "Legacy Processor() keyword")
				if f.Signature == "DSDT" && !strings.Contains(source, "Device (COM1)") && strings.HasPrefix(name, "full") {
					t.Error("no COM1 in the disassembly")
				}
			}
		})
	}
}

// buffers are the contents of the buffers that a run of Execute has shown.
func buffers(out string) (list []string) {
	for _, line := range strings.Split(out, "\n") {
		if _, text, ok := strings.Cut(line, "0000: "); ok && strings.Contains(line, "[Buffer]") {
			text, _, _ = strings.Cut(text, " //")
			list = append(list, strings.TrimSpace(text))
		}
	}
	return list
}

// All that a system looks for when it starts can be evaluated. The interpreter
// calls _SRS with a number, for want of resources to set.
func TestPredefinedNames(t *testing.T) {
	except := regexp.MustCompile(`_SRS|Field \[IRQN\]`)
	for _, name := range []string{"full pc", "full microvm"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the interpreter sleeps much of the time
			dsdt, _ := place(t, machines(t)[name]).Get("DSDT")
			out := acpitest.Execute(t, dsdt, 0, except, "execute predefined")
			if !strings.Contains(out, "predefined names in the namespace") {
				t.Errorf("nothing was evaluated:\n%s", out)
			}
		})
	}
}

func TestInterruptLinks(t *testing.T) {
	t.Parallel()
	const (
		irq10 = "89 06 00 09 01 0A 00 00 00 79 00"
		none  = "89 06 00 09 01 00 00 00 00 79 00"
		lnkb  = `execute \_SB.LNKB.`
	)
	dsdt, _ := place(t, machines(t)["full pc"]).Get("DSDT")
	out := acpitest.Execute(t, dsdt, 0x80, nil, lnkb+"_STA", lnkb+"_CRS",
		lnkb+"_SRS ("+irq10+")", lnkb+"_STA", lnkb+"_CRS", lnkb+"_DIS", lnkb+"_STA", lnkb+"_CRS", `execute \_SB.LNKC._STA`)
	if got, want := buffers(out), []string{none, irq10, none}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("interrupts %q, want %q", got, want)
	}
	var status []string
	for _, line := range strings.Split(out, "\n") {
		if _, v, ok := strings.Cut(line, "[Integer] = "); ok {
			status = append(status, strings.TrimLeft(strings.TrimSpace(v), "0"))
		}
	}
	if got := strings.Join(status, " "); got != "9 B 9 9" {
		t.Errorf("states %s, want 9 B 9 9", got)
	}
}

func TestPowerButtonEvent(t *testing.T) {
	t.Parallel()
	dsdt, _ := place(t, machines(t)["full microvm"]).Get("DSDT")
	const notified = "Received a Device Notify on [PWRB]"
	for fill, want := range map[byte]bool{0: false, acpi.GEDPowerButton: true} {
		out := acpitest.Execute(t, dsdt, fill, nil, `execute \_SB.GED._EVT 9`)
		if got := strings.Contains(out, notified); got != want {
			t.Errorf("events %#x: the power button is told of: %v, want %v\n%s", fill, got, want, out)
		}
	}
}

func TestBadPlaces(t *testing.T) {
	tables := machines(t)["full pc"]
	for _, at := range []struct{ tables, rsdp uint64 }{
		{0x7fe0000, 0xd0000}, {0x7fe0000, 0xffff0}, {0x7fe0000, 0x100000}, {0x7fe0000, 0xe0008},
		{0x7fe0020, 0xe0000}, {0, 0xe0000}, {0xffffffc0, 0xe0000}, {1 << 32, 0xe0000}, {^uint64(0) - 63, 0xe0000},
		{0xe0000, 0xe0040},
	} {
		if _, err := tables.Place(at.tables, at.rsdp); err == nil {
			t.Errorf("tables at %#x, root pointer at %#x: accepted", at.tables, at.rsdp)
		}
	}
}

func TestBadMachines(t *testing.T) {
	for name, change := range map[string]func(*acpi.PC){
		"no CPU":         func(c *acpi.PC) { c.CPUs = nil },
		"too many CPUs":  func(c *acpi.PC) { c.CPUs = cpus(5000, 5000) },
		"long OEM id":    func(c *acpi.PC) { c.OEM.ID = "SEVENTY" },
		"long table id":  func(c *acpi.PC) { c.OEM.TableID = "NINELONGX" },
		"empty window":   func(c *acpi.PC) { c.PCIWindows[0].Last = 0 },
		"high window":    func(c *acpi.PC) { c.PCIWindows[0].Last = 1 << 32 },
		"low window64":   func(c *acpi.PC) { c.PCIWindow64.First = 0 },
		"no PM register": func(c *acpi.PC) { c.PM.Base = 0 },
	} {
		c := fullPC()
		change(&c)
		if _, err := acpi.NewPC(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	m := fullMicroVM()
	m.VirtioMMIO[3].Base = 1 << 32
	if _, err := acpi.NewMicroVM(m); err == nil {
		t.Error("virtio-mmio above 4 GiB: accepted")
	}
}

func TestFADT(t *testing.T) {
	f, _ := place(t, machines(t)["full pc"]).Get("FACP")
	if len(f.Data) != 244 || f.Data[8] != 3 {
		t.Errorf("FADT of the pc: %d bytes, revision %d", len(f.Data), f.Data[8])
	}
	if flags := le.Uint32(f.Data[112:]); flags != 0x84a5 {
		t.Errorf("flags %#x", flags)
	}
	if le.Uint64(f.Data[120:]) != 0xcf9 || f.Data[116] != 1 || f.Data[128] != 6 {
		t.Error("reset register is not port 0xcf9, value 6")
	}
	f, _ = place(t, machines(t)["full microvm"]).Get("FACP")
	if len(f.Data) != 276 || f.Data[8] != 6 {
		t.Errorf("FADT of microvm: %d bytes, revision %d", len(f.Data), f.Data[8])
	}
	for at, want := range map[int]uint64{120: 0xfea00202, 248: 0xfea00200, 260: 0xfea00201} {
		if got := le.Uint64(f.Data[at:]); got != want {
			t.Errorf("register at offset %d: %#x, want %#x", at, got, want)
		}
	}
}

func TestMADT(t *testing.T) {
	entries := func(name string) map[byte]int {
		f, _ := place(t, machines(t)[name]).Get("APIC")
		n := map[byte]int{}
		for b := f.Data[44:]; len(b) > 0; b = b[b[1]:] {
			n[b[0]]++
			if b[0] == 0 && le.Uint32(b[4:]) == 1 {
				n[0x80]++
			}
		}
		return n
	}
	for name, want := range map[string]map[byte]int{
		"full pc":      {0: 4, 0x80: 2, 1: 1, 2: 5, 4: 1},
		"300 CPUs":     {0: 255, 0x80: 255, 1: 1, 2: 5, 4: 1, 9: 45, 10: 1},
		"full microvm": {0: 2, 0x80: 2, 1: 2, 2: 1, 4: 1},
	} {
		if got := entries(name); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: entries %v, want %v", name, got, want)
		}
	}
}

func TestSlotPIRQ(t *testing.T) {
	for _, tt := range []struct{ slot, pin, want int }{{0, 0, 3}, {1, 0, 0}, {1, 3, 3}, {2, 0, 1}, {3, 0, 2}, {31, 3, 1}} {
		if got := acpi.SlotPIRQ(tt.slot, tt.pin); got != tt.want {
			t.Errorf("slot %d pin %d: wire %d, want %d", tt.slot, tt.pin, got, tt.want)
		}
	}
}

// What is said of nodes is what a disassembler reads.
func TestAffinity(t *testing.T) {
	all := place(t, machines(t)["numa"])
	for signature, wants := range map[string][]string{
		"SRAT": {"[Memory Affinity]", "[Processor Local APIC/SAPIC Affinity]", "[Processor Local x2APIC Affinity]",
			"Apic ID : 0000012C", "Proximity Domain : 00001234", "Base Address : 0000000100000000"},
		"SLIT": {"Localities : 0000000000000002", "Locality   0 : 0A 0B", "Locality   1 : 15 16"},
	} {
		f, ok := all.Get(signature)
		if !ok {
			t.Fatalf("no %s", signature)
		}
		source := acpitest.Disassemble(t, f)
		for _, want := range wants {
			if !strings.Contains(source, want) {
				t.Errorf("%s: no %q in\n%s", signature, want, source)
			}
		}
	}
}
