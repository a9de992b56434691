package machine

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"govmd/internal/kvm"
	"govmd/internal/qmp"
)

// tables is guest memory with page tables in it.
type tables [0x10000]byte

func (m *tables) read(addr uint64, b []byte) error {
	if addr+uint64(len(b)) > uint64(len(m)) {
		return errNoAccess
	}
	copy(b, m[addr:])
	return nil
}

func (m *tables) set32(table, i, e uint64) { binary.LittleEndian.PutUint32(m[table+4*i:], uint32(e)) }
func (m *tables) set64(table, i, e uint64) { binary.LittleEndian.PutUint64(m[table+8*i:], e) }

// shown is what `info mem` and `info tlb` say of the tables.
func (m *tables) shown(t *testing.T, s *kvm.Sregs) (ranges, pages string) {
	t.Helper()
	p := pagingOf(s)
	walk := func(visit func(mapping) error) error { return p.walk(context.Background(), m.read, visit) }
	var a, b strings.Builder
	if err := showRanges(&a, p, walk); err != nil {
		t.Error(err)
	}
	if err := showPages(&b, p, walk); err != nil {
		t.Error(err)
	}
	return a.String(), b.String()
}

func expectShown(t *testing.T, m *tables, s *kvm.Sregs, ranges, pages string) {
	t.Helper()
	gotRanges, gotPages := m.shown(t, s)
	if gotRanges != ranges {
		t.Errorf("info mem:\n%s\nwant\n%s", gotRanges, ranges)
	}
	if gotPages != pages {
		t.Errorf("info tlb:\n%s\nwant\n%s", gotPages, pages)
	}
}

func TestPaging32(t *testing.T) {
	var m tables
	m.set32(0x1000, 0, 0x2007)        // user, writable
	m.set32(0x1000, 1, 0x00c00083)    // 4 MiB
	m.set32(0x1000, 2, 0xfff00003)    // a table that is not there
	m.set32(0x1000, 1023, 0x2005)     // user, not writable
	m.set32(0x2000, 0, 0x5067)        // dirty, accessed
	m.set32(0x2000, 1, 0x6003|1<<8)   // supervisor
	m.set32(0x2000, 1023, 0xfffff01f) // no caches
	s := &kvm.Sregs{CR0: cr0Paging, CR3: 0x1018, CR4: cr4PSE}
	expectShown(t, &m, s, `0000000000000000-0000000000001000 0000000000001000 urw
0000000000001000-0000000000002000 0000000000001000 -rw
00000000003ff000-0000000000400000 0000000000001000 urw
0000000000400000-0000000000800000 0000000000400000 -rw
00000000ffc00000-00000000ffc01000 0000000000001000 ur-
00000000ffc01000-00000000ffc02000 0000000000001000 -r-
00000000fffff000-0000000100000000 0000000000001000 ur-
`, `0000000000000000: 0000000000005000 ---DA--UW
0000000000001000: 0000000000006000 -G------W
00000000003ff000: 00000000fffff000 -----CTUW
0000000000400000: 0000000000c00000 --P-----W
00000000ffc00000: 0000000000005000 ---DA--UW
00000000ffc01000: 0000000000006000 -G------W
00000000fffff000: 00000000fffff000 -----CTUW
`)
	// Without PSE the large page is a table.
	s.CR4 = 0
	m.set32(0x1000, 1, 0x2083)
	if _, pages := m.shown(t, s); !strings.Contains(pages, "0000000000400000: 0000000000005000 ---DA--UW\n") {
		t.Errorf("info tlb without PSE:\n%s", pages)
	}
}

func TestPagingPAE(t *testing.T) {
	var m tables
	m.set64(0x1020, 1, 0x2001) // says nothing of who may access
	m.set64(0x1020, 3, 0x2001)
	m.set64(0x2000, 0, 0x3007)
	m.set64(0x2000, 511, 1<<63|0x12_34600_087)
	m.set64(0x3000, 2, 0x7_89abc_007)
	expectShown(t, &m, &kvm.Sregs{CR0: cr0Paging, CR3: 0x1020, CR4: cr4PAE},
		`0000000040002000-0000000040003000 0000000000001000 urw
000000007fe00000-0000000080000000 0000000000200000 urw
00000000c0002000-00000000c0003000 0000000000001000 urw
00000000ffe00000-0000000100000000 0000000000200000 urw
`, `0000000040002000: 0000000789abc000 -------UW
000000007fe00000: 0000001234600000 X-P----UW
00000000c0002000: 0000000789abc000 -------UW
00000000ffe00000: 0000001234600000 X-P----UW
`)
}

func TestPagingLong(t *testing.T) {
	var m tables
	m.set64(0x1000, 256, 0x2003)
	m.set64(0x1000, 511, 0x2007)
	m.set64(0x2000, 0, 0x40000087) // 1 GiB
	m.set64(0x2000, 1, 0x3007)
	m.set64(0x3000, 0, 0x200083)
	m.set64(0x3000, 1, 0x4003)
	m.set64(0x4000, 0, 0x5001)
	s := &kvm.Sregs{CR0: cr0Paging, CR3: 0x1000, CR4: cr4PAE, EFER: eferLong}
	expectShown(t, &m, s, `ffff800000000000-ffff800040200000 0000000040200000 -rw
ffff800040200000-ffff800040201000 0000000000001000 -r-
ffffff8000000000-ffffff8040000000 0000000040000000 urw
ffffff8040000000-ffffff8040200000 0000000000200000 -rw
ffffff8040200000-ffffff8040201000 0000000000001000 -r-
`, `ffff800000000000: 0000000040000000 --P----UW
ffff800040000000: 0000000000200000 --P-----W
ffff800040200000: 0000000000005000 ---------
ffffff8000000000: 0000000040000000 --P----UW
ffffff8040000000: 0000000000200000 --P-----W
ffffff8040200000: 0000000000005000 ---------
`)
	// Five levels.
	m.set64(0x6000, 511, 0x1007)
	s.CR3, s.CR4 = 0x6000, cr4PAE|cr4LA57
	if ranges, _ := m.shown(t, s); !strings.HasPrefix(ranges, "ffff800000000000-ffff800040200000 0000000040200000 -rw\n") {
		t.Errorf("info mem, of five levels\n%s", ranges)
	}
	m.set64(0x6000, 511, 0)
	m.set64(0x6000, 256, 0x1007)
	if ranges, _ := m.shown(t, s); !strings.HasPrefix(ranges, "ff00800000000000-ff00800040200000 0000000040200000 -rw\n") {
		t.Errorf("info mem, of five levels\n%s", ranges)
	}
}

// Tables that refer to themselves map more than anybody can wait for.
func TestPagingWithoutEnd(t *testing.T) {
	var m tables
	for i := range uint64(512) {
		m.set64(0x1000, i, 0x1007)
	}
	p := pagingOf(&kvm.Sregs{CR0: cr0Paging, CR3: 0x1000, CR4: cr4PAE | cr4LA57, EFER: eferLong})
	p.maxTables = 1000
	walk := func(visit func(mapping) error) error { return p.walk(context.Background(), m.read, visit) }
	var out strings.Builder
	if err := showRanges(&out, p, walk); !errors.Is(err, errTooManyTables) || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%v after %q", err, out.String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err := p.walk(ctx, m.read, func(mapping) error {
		if n++; n == 5 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, errInterrupted) || n != 512 {
		t.Errorf("%v after %d pages", err, n)
	}
	if err := showPages(failing{}, p, walk); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v of an output that fails", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestBootSet(t *testing.T) {
	image := rom(t, 0xf4)
	r := newRig(t, func(_ *Config, b Board) { b.common().firmware = image })
	commands := new(qmp.HumanRegistry)
	commands.Add(r.HumanCommands()...)
	for _, c := range []struct{ devices, want string }{
		{"nc", "boot device list now set to nc\n"}, {"z", "Invalid boot device 'z'\n"}, {"cc", "Boot device 'c' was given twice\n"},
		{"e", "Invalid boot device for PC: 'e'\n"}, {"acdn", "Too many boot devices for PC\n"},
	} {
		var out strings.Builder
		r.do(func() error {
			return commands.Lookup("boot_set").Run(&qmp.Context{}, qmp.HumanArgs{"bootdevice": c.devices}, &out)
		})
		if out.String() != c.want {
			t.Errorf("%s: %q, want %q", c.devices, out.String(), c.want)
		}
	}
	if got := r.Boot.Devices(false); got != "nc" {
		t.Errorf("the order is %q", got)
	}
}
