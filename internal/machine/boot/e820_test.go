package boot

import (
	"fmt"
	"testing"

	"govmd/internal/machine/acpi"
	"govmd/internal/machine/smbios"
)

func show(m MemoryMap) (s string) {
	for _, r := range m {
		s += fmt.Sprintf("%x-%x:%d ", r.Addr, r.end(), r.Type)
	}
	return s
}

func TestDirectMap(t *testing.T) {
	tests := []struct {
		below, above uint64
		want         string
	}{
		{512 << 20, 0, "0-9fc00:1 9fc00-a0000:2 e0000-100000:2 100000-20000000:1 feffc000-ff000000:2 "},
		{3 << 30, 1 << 30, "0-9fc00:1 9fc00-a0000:2 e0000-100000:2 100000-c0000000:1 feffc000-ff000000:2 100000000-140000000:1 "},
		{64 << 10, 0, "0-10000:1 9fc00-a0000:2 e0000-100000:2 feffc000-ff000000:2 "},
	}
	for _, tt := range tests {
		if got := show(DirectMap(tt.below, tt.above)); got != tt.want {
			t.Errorf("%#x, %#x: %s, want %s", tt.below, tt.above, got, tt.want)
		}
	}
}

func TestMemoryMapSet(t *testing.T) {
	var m MemoryMap
	for _, step := range []struct {
		addr, size uint64
		kind       MemoryType
		want       string
	}{
		{0x1000, 0x1000, RAM, "1000-2000:1 "},
		{0x2000, 0x1000, RAM, "1000-3000:1 "},
		{0x1800, 0x400, Reserved, "1000-1800:1 1800-1c00:2 1c00-3000:1 "},
		{0x1800, 0x400, RAM, "1000-3000:1 "},
		{0x5000, 0, RAM, "1000-3000:1 "},
		{0, 0x2000, Reserved, "0-2000:2 2000-3000:1 "},
		{0x2800, ^uint64(0), ACPIData, "0-2000:2 2000-2800:1 2800-ffffffffffffffff:3 "},
		{0, ^uint64(0), RAM, "0-ffffffffffffffff:1 "},
	} {
		m.Set(step.addr, step.size, step.kind)
		if got := show(m); got != step.want {
			t.Errorf("after %#x+%#x: %s, want %s", step.addr, step.size, got, step.want)
		}
	}
}

func TestEncode(t *testing.T) {
	b := MemoryMap{{0x100000, 0x7ff00000, RAM}, {1 << 32, 1 << 31, Reserved}}.Encode()
	want := "00001000000000000000f07f000000000100000000000000010000000000008000000000" + "02000000"
	if got := fmt.Sprintf("%x", b); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzMemoryMap(f *testing.F) {
	f.Add(uint64(0), uint64(1<<20), uint64(4096), uint64(4096))
	f.Add(^uint64(0), ^uint64(0), uint64(1), ^uint64(0))
	f.Fuzz(func(t *testing.T, a, b, c, d uint64) {
		m := DirectMap(1<<30, 1<<30)
		m.Set(a, b, RAM)
		m.Set(c, d, Reserved)
		for i, r := range m {
			if r.Size == 0 || r.end() < r.Addr || i > 0 && m[i-1].end() > r.Addr {
				t.Fatalf("map %s", show(m))
			}
		}
		if at, ok := m.highest(b, pageSize, c); ok && (!m.contains(at, b) || at+b > c || at%pageSize != 0) {
			t.Errorf("%d bytes below %#x: at %#x in %s", b, c, at, show(m))
		}
	})
}

func TestPlaceTables(t *testing.T) {
	config := func(n int) (*acpi.Tables, *smbios.Tables) {
		var cpus []acpi.CPU
		for i := range n {
			cpus = append(cpus, acpi.CPU{APICID: uint32(i), Present: true})
		}
		a, err := acpi.NewPC(acpi.PC{CPUs: cpus, PM: acpi.DefaultPM})
		if err != nil {
			t.Fatal(err)
		}
		c := smbios.Config{Sockets: 1, Cores: n, Threads: n, Entry: smbios.Entry64}
		s, err := c.Build()
		if err != nil {
			t.Fatal(err)
		}
		return a, s
	}
	m := DirectMap(testRAM, 0)
	before := show(m)
	a, s := config(4)
	tables, err := PlaceTables(&m, a, s)
	if err != nil {
		t.Fatal(err)
	}
	if show(m) != before || tables.RSDP != 0xe0000 || tables.FACS != 0xe0040 || len(tables.Segments) != 4 {
		t.Errorf("tables %+v, map %s", tables, show(m))
	}
	for i, s := range tables.Segments {
		if s.Addr < 0xe0000 || s.Addr+s.Size > 1<<20 || i > 0 && tables.Segments[i-1].Addr+tables.Segments[i-1].Size > s.Addr {
			t.Errorf("%s at %#x, %d bytes", s.Name, s.Addr, s.Size)
		}
	}
	// Those of 2000 processors do not fit there.
	a, s = config(2000)
	if tables, err = PlaceTables(&m, a, s); err != nil {
		t.Fatal(err)
	}
	high := tables.Segments[1]
	last := m[len(m)-2]
	if tables.RSDP != 0xe0000 || high.Addr < 1<<20 || last.Type != ACPIData || high.Addr != last.Addr || last.end() != testRAM ||
		high.Size > last.Size || tables.FACS != high.Addr {
		t.Errorf("ACPI tables at %#x, %d bytes; map %s", high.Addr, high.Size, show(m))
	}
	m = DirectMap(1<<20, 0)
	if _, err := PlaceTables(&m, a, s); err == nil {
		t.Error("large tables in 1 MiB: accepted")
	}
	if tables, err = PlaceTables(&m, nil, nil); err != nil || len(tables.Segments) != 0 {
		t.Errorf("no tables: %v, %v", tables, err)
	}
}
