package i8257

import (
	"bytes"
	"testing"

	"govmd/internal/device/devtest"
)

func mk(m *devtest.Machine) { m.Plug(m.ISA, TypeName, "") }

func newDMA(t *testing.T) (*devtest.Machine, *Device) {
	t.Helper()
	m := devtest.New(t)
	return m, m.Plug(m.ISA, TypeName, "").(*Device)
}

// port returns the port of a register of the controller that has channel n.
func port(n int, reg uint16) uint16 {
	if n >= perChip {
		return secondPort + reg<<1
	}
	return firstPort + reg
}

// setUp programs channel n as a driver does, and unmasks it.
func setUp(m *devtest.Machine, n int, mode uint8, page uint8, addr, count uint16) {
	i := uint16(n % perChip)
	m.Out8(port(n, regSingleMask), selectSet|uint8(i))
	m.Out8(port(n, regFlipFlop), 0)
	m.Out8(port(n, regMode), mode|uint8(i))
	m.Out8(port(n, i<<1), uint8(addr))
	m.Out8(port(n, i<<1), uint8(addr>>8))
	m.Out8(pagePort+uint16(pageOf[n]), page)
	m.Out8(port(n, i<<1|1), uint8(count))
	m.Out8(port(n, i<<1|1), uint8(count>>8))
	m.Out8(port(n, regSingleMask), uint8(i))
}

func word(m *devtest.Machine, p uint16) uint16 {
	lo := m.In8(p)
	return uint16(m.In8(p))<<8 | uint16(lo)
}

func checkWord(m *devtest.Machine, p, want uint16, what string) {
	m.TB.Helper()
	if got := word(m, p); got != want {
		m.TB.Errorf("%s: port %#x = %#04x, want %#04x", what, p, got, want)
	}
}

func channel(t *testing.T, d *Device, n int) *Channel {
	t.Helper()
	c, err := d.Channel(n)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func transfer(t *testing.T, c *Channel, p []byte, n int, terminal bool) {
	t.Helper()
	if gotN, gotT := c.Transfer(p); gotN != n || gotT != terminal {
		t.Errorf("transfer of %d bytes: %d, terminal count %v, want %d, %v", len(p), gotN, gotT, n, terminal)
	}
}

func TestAddressAndCount(t *testing.T) {
	m, _ := newDMA(t)
	for n := range channels {
		for i := range uint16(2) {
			p := port(n, uint16(n%perChip)<<1|i)
			v := uint16(n)<<12 | i<<8 | 0x5a
			m.Out8(p, uint8(v))
			m.Out8(p, uint8(v>>8))
		}
	}
	for n := range channels {
		for i := range uint16(2) {
			checkWord(m, port(n, uint16(n%perChip)<<1|i), uint16(n)<<12|i<<8|0x5a, "register")
		}
	}
}

func TestFlipFlop(t *testing.T) {
	m, _ := newDMA(t)
	for _, n := range []int{2, 6} {
		p := port(n, 4)
		m.Out8(p, 0x34)
		m.Out8(p, 0x12)
		m.CheckIn8(p, 0x34, "lower")
		m.Out8(port(n, regFlipFlop), 0xff)
		m.CheckIn8(p, 0x34, "lower again")
		m.CheckIn8(port(n, 5), 0, "one flip-flop for all registers")
		m.Out8(p, 0x78)
		m.Out8(port(n, regMaster), 0)
		m.CheckIn8(p, 0x78, "master clear resets the flip-flop")
		m.CheckIn8(p, 0x12, "and keeps addresses")
	}
}

func TestMask(t *testing.T) {
	m, d := newDMA(t)
	m.CheckIn8(port(0, regAllMask), 0x0f, "new")
	m.Out8(port(0, regSingleMask), 2)
	m.CheckIn8(port(0, regAllMask), 0x0b, "channel 2 unmasked")
	m.Out8(port(0, regAllMask), 0xf6)
	m.CheckIn8(port(0, regAllMask), 0x06, "all written")
	m.CheckIn8(port(4, regAllMask), 0x0f, "the other controller")
	m.Out8(port(0, regClearMask), 0)
	m.CheckIn8(port(0, regAllMask), 0, "cleared")
	m.Out8(port(0, regSingleMask), selectSet|1)
	m.CheckIn8(port(0, regAllMask), 2, "channel 1 masked")
	m.Out8(port(0, regMaster), 0)
	m.CheckIn8(port(0, regAllMask), 0x0f, "master clear")
	m.Out8(port(0, regClearMask), 0)
	m.Out8(pagePort+1, 7)
	m.Reset(d)
	m.CheckIn8(port(0, regAllMask), 0x0f, "reset")
	m.CheckIn8(pagePort+1, 0, "reset")
}

func TestOddPortsOfSecond(t *testing.T) {
	m, _ := newDMA(t)
	m.Out8(secondPort+regAllMask<<1+1, 5)
	m.CheckIn8(secondPort+regAllMask<<1, 5, "odd port")
}

func TestPages(t *testing.T) {
	m, _ := newDMA(t)
	for p := range uint16(pages) {
		m.Out8(pagePort+p, uint8(0xf0-p))
	}
	for p := range uint16(pages) {
		m.CheckIn8(pagePort+p, uint8(0xf0-p), "page")
	}
}

func TestStatus(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 1)
	setUp(m, 1, modeWrite, 0, 0x1000, 0)
	c.SetRequest(true)
	m.Out8(port(0, regRequest), selectSet|3)
	m.CheckIn8(port(0, regStatus), 0xa0, "requests")
	m.Out8(port(0, regRequest), 3)
	transfer(t, c, []byte{1}, 1, true)
	m.CheckIn8(port(0, regStatus), 0x22, "terminal count")
	m.CheckIn8(port(0, regStatus), 0x20, "read")
	c.SetRequest(false)
	m.CheckIn8(port(0, regStatus), 0, "no request")
	setUp(m, 1, modeWrite, 0, 0x1000, 0)
	m.Out8(port(0, regRequest), selectSet|1)
	transfer(t, c, []byte{1}, 1, true)
	m.CheckIn8(port(0, regStatus), 2, "the terminal count ends a request by the guest")
}

func TestToMemory(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 2)
	setUp(m, 2, modeWrite, 0x12, 0x3456, 9)
	if dir := c.Direction(); dir != ToMemory {
		t.Errorf("direction %d", dir)
	}
	transfer(t, c, []byte("abcd"), 4, false)
	checkWord(m, 4, 0x345a, "address")
	checkWord(m, 5, 5, "count")
	transfer(t, c, []byte("efghijkl"), 6, true)
	if got := m.ReadMem(0x123455, 12); string(got) != "\x00abcdefghij\x00" {
		t.Errorf("memory %q", got)
	}
	checkWord(m, 4, 0x3460, "address")
	checkWord(m, 5, 0xffff, "count")
	m.CheckIn8(port(2, regAllMask), 0x0f, "masked by the terminal count")
	transfer(t, c, []byte("m"), 0, false)
	if dir := c.Direction(); dir != Off {
		t.Errorf("direction %d after the end", dir)
	}
}

func TestFromMemory(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 3)
	m.WriteMem(0x20000, []byte("0123456789"))
	setUp(m, 3, modeRead, 2, 0, 9)
	p := make([]byte, 20)
	transfer(t, c, p, 10, true)
	if string(p[:11]) != "0123456789\x00" {
		t.Errorf("read %q", p)
	}
}

func TestAutoInit(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 0)
	setUp(m, 0, modeWrite|modeAutoInit, 0, 0x2000, 3)
	transfer(t, c, []byte("abcdef"), 4, true)
	checkWord(m, 0, 0x2000, "address")
	checkWord(m, 1, 3, "count")
	transfer(t, c, []byte("ef"), 2, false)
	if got := m.ReadMem(0x2000, 5); string(got) != "efcd\x00" {
		t.Errorf("memory %q", got)
	}
}

func TestWords(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 5)
	setUp(m, 5, modeWrite, 0x13, 0x8000, 2) // bit 0 of the page counts for nothing
	transfer(t, c, []byte("abc"), 2, false)
	transfer(t, c, []byte("x"), 0, false)
	transfer(t, c, []byte("cdefgh"), 4, true)
	if got := m.ReadMem(0x130000, 7); string(got) != "abcdef\x00" {
		t.Errorf("memory %q", got)
	}
}

func TestDecrement(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 1)
	setUp(m, 1, modeWrite|modeDecrement, 1, 2, 4)
	transfer(t, c, []byte("abcde"), 5, true)
	if got := m.ReadMem(0x10000, 3); string(got) != "cba" {
		t.Errorf("memory %q", got)
	}
	if got := m.ReadMem(0x1fffe, 2); string(got) != "ed" {
		t.Errorf("memory at the end of the page %q", got)
	}
	c = channel(t, d, 7)
	setUp(m, 7, modeWrite|modeDecrement, 2, 1, 1)
	transfer(t, c, []byte("abcd"), 4, true)
	if got := m.ReadMem(0x20000, 4); string(got) != "cdab" {
		t.Errorf("words %q", got)
	}
}

func TestWrapsInPage(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 2)
	setUp(m, 2, modeWrite, 3, 0xfffe, 3)
	transfer(t, c, []byte("abcd"), 4, true)
	if got := m.ReadMem(0x3fffe, 3); string(got) != "ab\x00" {
		t.Errorf("end of the page %q", got)
	}
	if got := m.ReadMem(0x30000, 2); string(got) != "cd" {
		t.Errorf("start of the page %q", got)
	}
	whole := bytes.Repeat([]byte{7}, 1<<16)
	setUp(m, 2, modeWrite, 3, 0x1234, 0xffff)
	transfer(t, c, whole, 1<<16, true)
	if !bytes.Equal(m.ReadMem(0x30000, 1<<16), whole) || m.Read8(0x40000) != 0 || m.Read8(0x2ffff) != 0 {
		t.Error("a whole page is written, and nothing else")
	}
}

func TestVerify(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 2)
	setUp(m, 2, modeVerify, 0, 0x5000, 3)
	if dir := c.Direction(); dir != Verify {
		t.Errorf("direction %d", dir)
	}
	p := []byte("abcd")
	transfer(t, c, p, 4, true)
	if string(p) != "abcd" || m.Read32(0x5000) != 0 {
		t.Errorf("verifying moved data: %q, %#x", p, m.Read32(0x5000))
	}
	checkWord(m, 4, 0x5004, "address")
}

func TestWithoutRAM(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 2)
	m.WriteMem(devtest.RAMSize-2, []byte("ab"))
	const page = devtest.RAMSize>>16 - 1
	setUp(m, 2, modeRead, page+1, 0, 3)
	p := make([]byte, 4)
	transfer(t, c, p, 4, true)
	if string(p) != "\xff\xff\xff\xff" {
		t.Errorf("read %q where there is nothing", p)
	}
	c = channel(t, d, 5) // its pages are of 128 KiB, but RAM ends with one
	setUp(m, 5, modeWrite, page+1, 0, 1)
	transfer(t, c, p, 4, true)
	if got := m.ReadMem(devtest.RAMSize-2, 2); string(got) != "ab" {
		t.Errorf("end of RAM %q", got)
	}
}

func TestNotReady(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 6)
	off := func(what string) {
		t.Helper()
		if dir := c.Direction(); dir != Off {
			t.Errorf("%s: direction %d", what, dir)
		}
		transfer(t, c, make([]byte, 2), 0, false)
	}
	off("new")
	setUp(m, 6, modeWrite, 0, 0, 9)
	m.Out8(port(6, regCommand), commandDisable)
	off("controller disabled")
	m.Out8(port(6, regCommand), 0)
	transfer(t, c, make([]byte, 2), 2, false)
	m.Out8(port(6, regMode), modeCascade|2)
	off("cascade")
	m.Out8(port(6, regMode), modeTransfer|2)
	off("illegal transfer")
}

func TestOnReady(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 2)
	calls := 0
	c.OnReady(func() { calls++; c.Transfer(make([]byte, 1)) })
	check := func(want int, what string) {
		t.Helper()
		if calls != want {
			t.Errorf("%s: %d calls, want %d", what, calls, want)
		}
	}
	setUp(m, 2, modeWrite, 0, 0x1000, 9)
	check(0, "no request")
	if !c.SetRequest(true) {
		t.Error("not ready at once")
	}
	m.Out8(port(2, regSingleMask), selectSet|2)
	if c.SetRequest(true) {
		t.Error("ready while masked")
	}
	check(0, "masked")
	m.Out8(port(2, regSingleMask), 2)
	check(1, "unmasked")
	m.Out8(port(2, regSingleMask), 2)
	check(1, "unmasked again")
	m.Out8(port(2, regCommand), commandDisable)
	m.Out8(port(2, regCommand), 0)
	check(2, "controller enabled")
	checkWord(m, 5, 7, "the function may transfer")
	c.OnReady(nil)
	m.Out8(port(2, regSingleMask), selectSet|2)
	m.Out8(port(2, regClearMask), 0)
	check(2, "nobody to tell")
}

func TestChannelNumbers(t *testing.T) {
	_, d := newDMA(t)
	for _, n := range []int{-1, 4, 8} {
		if _, err := d.Channel(n); err == nil {
			t.Errorf("channel %d is handed out", n)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	from, to := devtest.RoundTrip(t, mk, func(m *devtest.Machine) {
		d := m.Devices()[0].(*Device)
		setUp(m, 2, modeWrite|modeAutoInit, 0x12, 0x3456, 9)
		setUp(m, 6, modeRead|modeDecrement, 0x02, 0x0010, 1)
		for _, n := range []int{2, 6} {
			c := channel(t, d, n)
			c.SetRequest(true)
			c.Transfer(make([]byte, 4))
		}
		m.Out8(port(0, regRequest), selectSet|1)
		m.Out8(pagePort, 0x55)
		m.In8(port(0, 4))
	})
	for _, m := range []*devtest.Machine{from, to} {
		m.CheckIn8(port(0, 4), 0x34, "the upper byte is next")
		checkWord(m, port(0, 5), 5, "count")
		m.CheckIn8(port(6, regStatus), 0x44, "status")
		m.CheckIn8(port(0, regStatus), 0x60, "status")
		m.CheckIn8(pagePort, 0x55, "page")
		transfer(t, channel(t, m.Devices()[0].(*Device), 2), make([]byte, 100), 6, true)
		checkWord(m, port(0, 4), 0x3456, "begun anew")
	}
}

func TestNoAllocations(t *testing.T) {
	m, d := newDMA(t)
	c := channel(t, d, 2)
	setUp(m, 2, modeWrite|modeAutoInit, 1, 0x8000, 511)
	p := make([]byte, 512)
	regs := controller{d, 0, 0}
	devtest.NoAllocs(t, "a transfer", func() { c.Transfer(p) })
	devtest.NoAllocs(t, "an access", func() { regs.WriteIO(regFlipFlop, 1, 0); regs.ReadIO(4, 1) })
}

var ranges = []devtest.Range{devtest.Ports(firstPort, 16), devtest.Ports(secondPort, 32), devtest.Ports(pagePort, pages)}

// fuzzed is a machine whose devices want all channels at once.
func fuzzed(m *devtest.Machine) {
	d := m.Plug(m.ISA, TypeName, "").(*Device)
	buf := make([]byte, 600)
	for _, n := range []int{0, 1, 2, 3, 5, 6, 7} {
		c, err := d.Channel(n)
		if err != nil {
			m.TB.Fatal(err)
		}
		c.OnReady(func() { c.Transfer(buf) })
		c.SetRequest(true)
	}
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		d := m.Plug(m.ISA, TypeName, "").(*Device)
		for _, n := range []int{0, 1, 2, 3, 5, 6, 7} {
			c, err := d.Channel(n)
			if err != nil {
				m.TB.Fatal(err)
			}
			m.AddAction(func(next func(int) uint64) uint64 {
				if c.SetRequest(next(1)&1 != 0) {
					n, _ := c.Transfer(make([]byte, next(1)))
					return uint64(n)
				}
				return 0
			})
		}
	}, ranges...)
}

func TestConcurrent(t *testing.T) {
	devtest.Concurrent(t, func(m *devtest.Machine) { m.Plug(m.ISA, TypeName, "") }, ranges...)
}

func FuzzRegisters(f *testing.F) { devtest.FuzzIO(f, fuzzed, ranges...) }

func FuzzState(f *testing.F) { devtest.FuzzState(f, fuzzed, ranges...) }
