package smbios

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func files(m map[string]string) ReadFile {
	return func(name string) ([]byte, error) {
		if data, ok := m[name]; ok {
			return []byte(data), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
}

func pairs(option string) (out []Pair) {
	for _, p := range strings.Split(option, ",") {
		k, v, _ := strings.Cut(p, "=")
		out = append(out, Pair{k, v})
	}
	return out
}

func pc() *Config {
	return &Config{
		UUID:         [16]byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
		Manufacturer: "govmd", Product: "Standard PC (i440FX + PIIX, 1996)", Version: "pc-i440fx-7.2",
		Sockets: 2, Cores: 2, Threads: 4, ProcessorID: 0x078bfbfd00000f61,
		Memory: []Range{{0, 3 << 30}, {4 << 30, 20 << 30}},
	}
}

// decoded is a structure and its strings.
type decoded struct {
	kind    byte
	handle  uint16
	b       []byte
	strings []string
}

func (d decoded) string(at int) string {
	if n := int(d.b[at]); n > 0 && n <= len(d.strings) {
		return d.strings[n-1]
	}
	return ""
}

func decode(t *testing.T, table []byte) (out []decoded) {
	t.Helper()
	handles := map[uint16]bool{}
	for len(table) > 0 {
		s, rest, ok := next(table)
		if !ok {
			t.Fatalf("no structure at % x", table)
		}
		d := decoded{s[0], le.Uint16(s[2:]), s[:s[1]], nil}
		if handles[d.handle] {
			t.Errorf("handle %#x twice", d.handle)
		}
		handles[d.handle] = true
		for _, text := range bytes.Split(bytes.TrimRight(s[s[1]:], "\x00"), []byte{0}) {
			d.strings = append(d.strings, string(text))
		}
		out = append(out, d)
		table = rest
	}
	return out
}

func build(t *testing.T, c *Config) (*Tables, []decoded) {
	t.Helper()
	tables, err := c.Build()
	if err != nil {
		t.Fatal(err)
	}
	return tables, decode(t, tables.table)
}

func kinds(list []decoded) string {
	var s []string
	for _, d := range list {
		s = append(s, fmt.Sprint(d.kind))
	}
	return strings.Join(s, " ")
}

func TestDefaultTable(t *testing.T) {
	_, list := build(t, pc())
	if got, want := kinds(list), "1 3 4 4 16 17 17 19 19 32 127"; got != want {
		t.Fatalf("types %s, want %s", got, want)
	}
	// The lengths of section 7 for version 2.8.
	for i, want := range []int{27, 22, 42, 42, 23, 40, 40, 31, 31, 11, 4} {
		if len(list[i].b) != want {
			t.Errorf("type %d is %d bytes long, want %d", list[i].kind, len(list[i].b), want)
		}
	}
	system := list[0]
	if got := []string{system.string(4), system.string(5), system.string(6)}; fmt.Sprint(got) !=
		"[govmd Standard PC (i440FX + PIIX, 1996) pc-i440fx-7.2]" {
		t.Errorf("system: %q", got)
	}
	if got := fmt.Sprintf("%x", system.b[8:24]); got != "33221100554477668899aabbccddeeff" {
		t.Errorf("UUID on the wire: %s", got)
	}
	if cpu := list[3]; cpu.string(4) != "CPU 1" || cpu.b[35] != 2 || cpu.b[37] != 4 || le.Uint64(cpu.b[8:]) != 0x078bfbfd00000f61 {
		t.Errorf("processor: % x", cpu.b)
	}
	if array := list[4]; le.Uint32(array.b[7:]) != 23<<20 || le.Uint16(array.b[13:]) != 2 {
		t.Errorf("memory array: % x", array.b)
	}
	if dimm := list[6]; dimm.string(16) != "DIMM 1" || le.Uint16(dimm.b[12:]) != 7<<10 {
		t.Errorf("second DIMM: %q, % x", dimm.string(16), dimm.b)
	}
	if r := list[8]; le.Uint32(r.b[4:]) != 4<<20 || le.Uint32(r.b[8:]) != 24<<20-1 {
		t.Errorf("second range: % x", r.b)
	}
}

func TestHugeMachine(t *testing.T) {
	c := pc()
	c.Entry = Entry64
	c.Cores, c.Threads = 300, 600
	c.Memory = []Range{{0, 3 << 30}, {4 << 30, 5 << 40}}
	_, list := build(t, c)
	for _, d := range list {
		switch {
		case d.kind == 4:
			if len(d.b) != 48 || d.b[35] != 255 || le.Uint16(d.b[42:]) != 300 || le.Uint16(d.b[46:]) != 600 {
				t.Errorf("processor: % x", d.b)
			}
		case d.kind == 16:
			if le.Uint32(d.b[7:]) != 0x80000000 || le.Uint64(d.b[15:]) != 3<<30+5<<40 {
				t.Errorf("memory array: % x", d.b)
			}
		case d.handle == 0x1100:
			if le.Uint16(d.b[12:]) != 16<<10 || le.Uint32(d.b[28:]) != 0 {
				t.Errorf("first DIMM: % x", d.b)
			}
		case d.handle == 0x1301:
			if le.Uint32(d.b[8:]) != 0xffffffff || le.Uint64(d.b[23:]) != 4<<30+5<<40-1 {
				t.Errorf("second range: % x", d.b)
			}
		}
	}
}

// The handles of DIMMs end where those of memory ranges begin.
func TestManyDIMMs(t *testing.T) {
	c := pc()
	c.Entry = Entry64
	c.Memory = []Range{{0, 1 << 46}}
	_, list := build(t, c)
	n := 0
	for _, d := range list {
		if d.kind == 17 {
			n++
			if le.Uint16(d.b[12:]) != 0x7fff || le.Uint32(d.b[28:]) != 256<<10 {
				t.Fatalf("DIMM: % x", d.b)
			}
		}
	}
	if n != 256 {
		t.Errorf("%d DIMMs", n)
	}
}

func TestEntryPoints(t *testing.T) {
	for _, entry := range []EntryPoint{Entry32, Entry64} {
		c := pc()
		c.Entry = entry
		tables, list := build(t, c)
		p, err := tables.Place(0xf0000, 0xf0020)
		if err != nil {
			t.Fatal(err)
		}
		a := p.Anchor
		if sum(a) != 0 {
			t.Errorf("entry point %d: wrong checksum", entry)
		}
		if entry == Entry64 {
			if string(a[:5]) != "_SM3_" || le.Uint64(a[16:]) != 0xf0020 || le.Uint32(a[12:]) != uint32(len(p.Table)) || len(a) != 24 {
				t.Errorf("entry point: % x", a)
			}
			continue
		}
		if string(a[:4]) != "_SM_" || string(a[16:21]) != "_DMI_" || sum(a[16:]) != 0 || len(a) != 31 ||
			le.Uint32(a[24:]) != 0xf0020 || int(le.Uint16(a[22:])) != len(p.Table) || int(le.Uint16(a[28:])) != len(list) {
			t.Errorf("entry point: % x", a)
		}
	}
	tables, _ := build(t, pc())
	for _, at := range [][2]uint64{{0xe0000, 0xf0000}, {0xf0008, 0xf0100}, {0xffff0, 0xf0000}, {0x100000, 0xf0000},
		{0xf0000, 0}, {0xf0000, 1<<32 - 1}, {0xf0000, ^uint64(0)}, {0xf0000, 0xf0010}} {
		if _, err := tables.Place(at[0], at[1]); err == nil {
			t.Errorf("entry point at %#x, table at %#x: accepted", at[0], at[1])
		}
	}
	for _, f := range tables.Files() {
		if f.Name == AnchorFile && sum(f.Data) != 0 || f.Name == TableFile && !bytes.Equal(f.Data, tables.table) {
			t.Errorf("%s: wrong", f.Name)
		}
	}
}

func TestOptions(t *testing.T) {
	c := pc()
	c.PCIDevice = func(id string) (bus, devfn uint8, ok bool) { return 0, 3 << 3, id == "net0" }
	read := files(map[string]string{"note": "from a file"})
	for _, option := range []string{
		"type=0,vendor=V,version=1,date=04/01/2014,release=1.16,uefi=on",
		"type=1,manufacturer=ACME,serial=1",
		"type=1,serial=2,uuid=a0B1c2d3-0001-0203-0405-060708090a0b,sku=s,family=f",
		"type=2,asset=A,location=L",
		"type=3,sku=K",
		"type=4,sock_pfx=S,max-speed=0x1000,current-speed=3000,processor-id=5,part=P",
		"type=8,internal_reference=I,external_reference=E,connector_type=1,port_type=3",
		"type=11,value=a,value=b,path=note",
		"type=11,value=",
		"type=17,loc_pfx=M,bank=B,speed=3200",
		"type=41,designation=D,kind=ethernet,instance=1,pcidev=net0",
		"type=41",
	} {
		if err := c.Add(pairs(option), read); err != nil {
			t.Fatalf("%s: %v", option, err)
		}
	}
	_, list := build(t, c)
	if got, want := kinds(list), "0 1 2 3 4 4 8 11 16 17 17 19 19 32 41 41 127"; got != want {
		t.Fatalf("types %s, want %s", got, want)
	}
	bios, system, board, cpu, port, oem, dimm, nic := list[0], list[1], list[2], list[4], list[6], list[7], list[9], list[14]
	for _, tt := range []struct{ what, got, want string }{
		{"vendor", bios.string(4), "V"}, {"date", bios.string(8), "04/01/2014"},
		{"release", fmt.Sprint(bios.b[20:22]), "[1 16]"}, {"flags", fmt.Sprint(bios.b[18:20]), "[0 28]"},
		{"manufacturer", system.string(4), "ACME"}, {"serial", system.string(7), "2"},
		{"uuid", fmt.Sprintf("%x", system.b[8:24]), "d3c2b1a0010003020405060708090a0b"},
		{"sku", system.string(25), "s"}, {"family", system.string(26), "f"},
		{"board maker", board.string(4), "govmd"}, {"location", board.string(10), "L"},
		{"socket", cpu.string(4), "S 0"}, {"speeds", fmt.Sprintf("%x", cpu.b[20:24]), "0010b80b"},
		{"connector", fmt.Sprint(port.string(4), port.string(6), port.b[7:9]), "IE[1 3]"},
		{"strings", fmt.Sprint(oem.b[4], oem.strings), "4 [a b from a file  ]"},
		{"locator", dimm.string(16), "M 0"}, {"bank", dimm.string(17), "B"}, {"speed", fmt.Sprint(le.Uint16(dimm.b[21:])), "3200"},
		{"device", fmt.Sprintf("%s %x", nic.string(4), nic.b[5:]), "D 8501000000" + "18"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, tt.got, tt.want)
		}
	}
	if err := c.Add(pairs("type=41,pcidev=net1,designation=X"), read); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Build(); err == nil || err.Error() != "No PCI device net1 for SMBIOS type 41 entry X" {
		t.Errorf("missing device: %v", err)
	}
}

func TestOptionErrors(t *testing.T) {
	read := files(map[string]string{
		"system": "\x01\x05\x00\x10\x01x\x00\x00", "oem": "\x0b\x05\x00\x10\x01x\x00\x00",
		"cut": "\x0b\x05\x00\x10\x01x\x00", "end": "\x7f\x04\x00\x10\x00\x00", "empty": "", "zero": "a\x00b",
		"giant": strings.Repeat("x", maxFile+1),
	})
	tests := []struct{ option, want string }{
		{"type=5,foo=bar", "Don't know how to build fields for SMBIOS type 5"},
		{"type=1,foo=bar", "Invalid parameter 'foo'"},
		{"type=abc", "Parameter 'type' expects a number"},
		{"type=256", "out of range!"},
		{"type=-1", "out of range!"},
		{"serial=1", "Must specify type= or file="},
		{"file=missing", "Cannot read SMBIOS file missing"},
		{"file=empty", "Cannot read SMBIOS file empty"},
		{"file=oem,foo=1", "Invalid parameter 'foo'"},
		{"file=cut", "no complete structure at offset 0"},
		{"file=end", "end-of-table structure (type 127) at offset 0"},
		{"file=giant", "more than 65536"},
		{"type=0,release=1", "Invalid release"},
		{"type=0,uefi=maybe", "Parameter 'uefi' expects 'on' or 'off'"},
		{"type=1,uuid=zzz", "Invalid UUID"},
		{"type=1,uuid=a0b1c2d3x0001-0203-0405-060708090a0b", "Invalid UUID"},
		{"type=1,uuid=a0b1c2d3-0001-0203-0405-060708090a0x", "Invalid UUID"},
		{"type=4,max-speed=70000", "SMBIOS CPU speed is too large (> 65535)"},
		{"type=4,max-speed=x", "Parameter 'max-speed' expects a number"},
		{"type=17,speed=70000", "too large"},
		{"type=8,port_type=256", "too large"},
		{"type=41,kind=zz", "invalid parameter value: zz"},
		{"type=11,path=missing", "Could not open 'missing': file does not exist"},
		{"type=11,path=zero", "zero byte"},
		{"type=1,serial=a\x00b", "zero byte"},
	}
	for _, tt := range tests {
		err := pc().Add(pairs(tt.option), read)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.option, err, tt.want)
		}
	}
	for _, tt := range []struct{ first, second, want string }{
		{"file=system", "type=1,serial=x", "can't add fields, binary file already loaded!"},
		{"type=1,serial=x", "file=system", "can't load type 1 struct, fields already specified!"},
	} {
		c := pc()
		if err := c.Add(pairs(tt.first), read); err != nil {
			t.Fatal(err)
		}
		if err := c.Add(pairs(tt.second), read); err == nil || err.Error() != tt.want {
			t.Errorf("%s then %s: %v, want %s", tt.first, tt.second, err, tt.want)
		}
	}
}

func TestStructureFromFileReplacesOurs(t *testing.T) {
	c := pc()
	name := t.TempDir() + "/system"
	data := []byte("\x01\x05\x00\x80\x01theirs\x00\x00\x0b\x05\x00\x81\x01x\x00\x00")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(pairs("file="+name), os.ReadFile); err != nil {
		t.Fatal(err)
	}
	_, list := build(t, c)
	if got, want := kinds(list), "1 11 3 4 4 16 17 17 19 19 32 127"; got != want {
		t.Fatalf("types %s, want %s", got, want)
	}
	if list[0].string(4) != "theirs" {
		t.Errorf("system: %q", list[0].strings)
	}
}

func TestLimits(t *testing.T) {
	c := pc()
	c.Sockets = 0
	if _, err := c.Build(); err == nil {
		t.Error("no socket: accepted")
	}
	c = pc()
	for range 3 {
		if err := c.Add(pairs("type=11,value="+strings.Repeat("x", 30000)), files(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Build(); err == nil || !strings.Contains(err.Error(), "smbios-entry-point-type=64") {
		t.Errorf("table of 90000 bytes at a 32-bit entry point: %v", err)
	}
	c.Entry = Entry64
	if _, err := c.Build(); err != nil {
		t.Errorf("table of 90000 bytes at a 64-bit entry point: %v", err)
	}
	for range 256 {
		if err := c.Add(pairs("type=11,value=x"), files(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Build(); err == nil {
		t.Error("259 OEM strings: accepted")
	}
}

// Whatever a structure file holds: refused, or a table that decodes again.
func FuzzFile(f *testing.F) {
	f.Add([]byte("\x01\x05\x00\x10\x01x\x00\x00"))
	f.Add([]byte("\x01\x04\x00\x10\x00\x00\x02\x05\x00\x11\x00\x00\x00"))
	f.Add([]byte("\x01\xff\x00\x10\x00\x00"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := pc()
		c.Entry = Entry64
		if c.Add([]Pair{{"file", "x"}}, func(string) ([]byte, error) { return data, nil }) != nil {
			return
		}
		tables, err := c.Build()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for b := tables.table; len(b) > 0; n++ {
			_, rest, ok := next(b)
			if !ok {
				t.Fatalf("no structure at % x", b)
			}
			b = rest
		}
		if n != tables.count {
			t.Errorf("%d structures, said to be %d", n, tables.count)
		}
	})
}

func FuzzOption(f *testing.F) {
	f.Add("type=1,serial=x")
	f.Add("type=0,release=1.2,uefi=on")
	f.Add("type=41,kind=video,instance=3")
	f.Add("type=11,value=a,path=b")
	f.Fuzz(func(t *testing.T, option string) {
		c := pc()
		if c.Add(pairs(option), files(map[string]string{"b": "text"})) != nil {
			return
		}
		if tables, err := c.Build(); err == nil {
			decode(t, tables.table)
		}
	})
}
