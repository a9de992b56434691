package serial

import (
	"strings"
	"testing"
	"time"

	"govmd/internal/chardev"
	"govmd/internal/device/devtest"
)

const base = 0x3f8

func mkCOM1(m *devtest.Machine) {
	m.AddChardev("c0")
	m.Plug(m.ISA, ISAType, "", "chardev", "c0")
}

func newCOM1(t *testing.T) (*devtest.Machine, *devtest.Chardev, *ISA) {
	t.Helper()
	m := devtest.New(t)
	c := m.AddChardev("c0")
	d := m.Plug(m.ISA, ISAType, "", "chardev", "c0")
	return m, c, d.(*ISA)
}

func TestResetValues(t *testing.T) {
	m, _, d := newCOM1(t)
	check := func() {
		t.Helper()
		for reg, want := range map[uint16]uint8{
			regIER: 0, regIIR: iirNone, regLCR: 0, regMCR: mcrOut2, regLSR: lsrTHRE | lsrTEMT, regMSR: CTS | DSR | DCD,
		} {
			m.CheckIn8(base+reg, want, "after reset")
		}
	}
	check()
	m.Out8(base+regIER, 0x0f)
	m.Out8(base+regLCR, 0x1b)
	m.Out8(base+regMCR, 0x1b)
	m.Out8(base+regIIR, 0xc1)
	m.Out8(base+regSCR, 0x55)
	m.Reset(d)
	check()
	if m.IRQ[4].Level() {
		t.Error("interrupt is high after a reset")
	}
}

func TestDivisorLatch(t *testing.T) {
	m, c, _ := newCOM1(t)
	m.Out8(base+regLCR, lcrDLAB|3)
	m.Out8(base, 0x34)
	m.Out8(base+1, 0x12)
	m.CheckIn8(base, 0x34, "DLL")
	m.CheckIn8(base+1, 0x12, "DLM")
	m.Out8(base, 1)
	m.Out8(base+1, 0)
	m.Out8(base+regLCR, 0x1f)
	m.CheckIn8(base+1, 0, "IER")
	want := chardev.LineParams{Speed: 115200, Parity: 'E', DataBits: 8, StopBits: 2}
	if got := c.Params(); got != want {
		t.Errorf("line parameters %+v, want %+v", got, want)
	}
}

func TestWordAccessReachesTwoRegisters(t *testing.T) {
	m, _, _ := newCOM1(t)
	m.Out8(base+regLCR, lcrDLAB)
	m.Out16(base, 0x1234)
	if got := m.In16(base); got != 0x1234 {
		t.Errorf("divisor %#x, want 0x1234", got)
	}
}

func TestTransmit(t *testing.T) {
	m, c, _ := newCOM1(t)
	for _, b := range []byte("hello") {
		m.Out8(base, b)
		m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT, "after a byte")
	}
	if got := c.Output(); got != "hello" {
		t.Errorf("output %q", got)
	}
}

// Drivers find out whether enabling THRI again repeats the interrupt.
func TestTHREmptyInterrupt(t *testing.T) {
	m, _, _ := newCOM1(t)
	m.Out8(base+regIER, ierTHRI)
	if !m.IRQ[4].Level() {
		t.Fatal("enabling THRI while the transmitter is empty raises no interrupt")
	}
	m.CheckIn8(base+regIIR, iirTHRI, "first read of IIR")
	if m.IRQ[4].Level() {
		t.Error("interrupt stays after IIR was read")
	}
	m.CheckIn8(base+regIIR, iirNone, "second read of IIR")
	m.Out8(base+regIER, 0)
	m.Out8(base+regIER, ierTHRI)
	m.CheckIn8(base+regIIR, iirTHRI, "after enabling again")
	m.Out8(base, 'x')
	m.CheckIn8(base+regIIR, iirTHRI, "after a byte has left")
	m.Out8(base+regIER, 0)
	m.CheckIn8(base+regIIR, iirNone, "disabled")
}

func TestBackPressure(t *testing.T) {
	m, c, _ := newCOM1(t)
	m.Out8(base+regIIR, fcrEnable)
	m.Out8(base+regIER, ierTHRI)
	m.In8(base + regIIR)
	c.SetRoom(2)
	m.Out8(base, 'a')
	m.Out8(base, 'b')
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT, "while there is room")
	m.In8(base + regIIR)
	m.Out8(base, 'c')
	m.CheckIn8(base+regLSR, 0, "back end full")
	if m.IRQ[4].Level() {
		t.Error("interrupt though the transmitter holds a byte")
	}
	for range 30 { // more than fits
		m.Out8(base, 'd')
	}
	m.Out8(base, 'e')
	c.SetRoom(-1)
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT, "room again")
	if !m.IRQ[4].Level() {
		t.Error("no interrupt when the transmitter has become empty")
	}
	if got, want := c.Output(), "abc"+strings.Repeat("d", 14)+"e"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}

func TestBackPressurePartialWrite(t *testing.T) {
	m, c, _ := newCOM1(t)
	m.Out8(base+regIIR, fcrEnable)
	c.SetRoom(0)
	for _, b := range []byte("0123456789") {
		m.Out8(base, b)
	}
	c.SetRoom(4)
	m.CheckIn8(base+regLSR, 0, "some left")
	c.SetRoom(-1)
	if got := c.Output(); got != "0123456789" {
		t.Errorf("output %q", got)
	}
	c.SetRoom(0)
	m.Out8(base, 'x')
	m.Out8(base+regIIR, fcrEnable|fcrClearTX)
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT, "transmitter cleared")
	c.SetRoom(-1)
	if got := c.Output(); got != "" {
		t.Errorf("cleared bytes came out: %q", got)
	}
}

func TestReceiveWithoutFIFO(t *testing.T) {
	m, c, _ := newCOM1(t)
	m.Out8(base+regIER, ierRDI)
	c.Input('a', 'b')
	if c.Pending() != 1 {
		t.Errorf("%d bytes not taken, want 1", c.Pending())
	}
	m.CheckIn8(base+regIIR, iirRDI, "one byte there")
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT|lsrDR, "one byte there")
	m.CheckIn8(base, 'a', "first")
	m.CheckIn8(base, 'b', "second")
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT, "empty")
	if m.IRQ[4].Level() {
		t.Error("interrupt though there is nothing to read")
	}
}

func TestReceiveTriggerAndTimeout(t *testing.T) {
	m, c, _ := newCOM1(t)
	m.Out8(base+regLCR, lcrDLAB|3)
	m.Out16(base, 1)
	m.Out8(base+regLCR, 3)
	m.Out8(base+regIIR, 0x80|fcrEnable) // trigger at 8
	m.Out8(base+regIER, ierRDI)
	c.Input([]byte("1234567")...)
	m.CheckIn8(base+regIIR, iirFIFO|iirNone, "below the trigger")
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT|lsrDR, "below the trigger")
	// Ten bits at 115200 baud, four times.
	m.Advance(300 * time.Microsecond)
	m.CheckIn8(base+regIIR, iirFIFO|iirNone, "before the time-out")
	m.Advance(50 * time.Microsecond)
	m.CheckIn8(base+regIIR, iirFIFO|iirTimeout, "after the time-out")
	m.CheckIn8(base, '1', "data")
	m.CheckIn8(base+regIIR, iirFIFO|iirNone, "a read restarts the time-out")
	c.Input('8', '9')
	m.CheckIn8(base+regIIR, iirFIFO|iirRDI, "at the trigger")
	m.CheckIn8(base, '2', "data")
	m.CheckIn8(base+regIIR, iirFIFO|iirNone, "below it again")
	m.Advance(time.Second)
	m.CheckIn8(base+regIIR, iirFIFO|iirTimeout, "after the time-out")
	for _, want := range []byte("3456789") {
		m.CheckIn8(base, want, "data")
	}
	m.Advance(time.Second)
	m.CheckIn8(base+regIIR, iirFIFO|iirNone, "empty")
}

func TestFIFOBoundsInput(t *testing.T) {
	m, c, _ := newCOM1(t)
	m.Out8(base+regIIR, 0xc0|fcrEnable)
	for i := range 40 {
		c.Input(byte(i))
	}
	if c.Pending() != 24 {
		t.Errorf("%d bytes wait, want 24", c.Pending())
	}
	for i := range 40 {
		m.CheckIn8(base, byte(i), "data")
	}
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT, "no overrun")
}

func TestFIFOSwitchClears(t *testing.T) {
	m, c, _ := newCOM1(t)
	m.Out8(base+regIIR, fcrEnable)
	c.Input('a', 'b')
	m.Out8(base+regIIR, 0)
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT, "off")
	m.CheckIn8(base+regIIR, iirNone, "off")
	m.Out8(base+regIIR, 0xc0) // the trigger needs the enable bit
	m.Out8(base+regIIR, fcrEnable)
	m.Out8(base+regIER, ierRDI)
	c.Input('c')
	m.CheckIn8(base+regIIR, iirFIFO|iirRDI, "trigger 1")
}

func TestBreak(t *testing.T) {
	m, c, _ := newCOM1(t)
	m.Out8(base+regIIR, fcrEnable)
	m.Out8(base+regIER, ierRLSI)
	c.Input('a')
	c.Event(chardev.Break)
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT|lsrDR|lsrFIFOErr, "break behind a character")
	m.CheckIn8(base, 'a', "character")
	m.CheckIn8(base+regIIR, iirFIFO|iirRLSI, "break is next")
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT|lsrDR|lsrBI|lsrFIFOErr, "break is next")
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT|lsrDR, "a read clears it")
	m.CheckIn8(base+regIIR, iirFIFO|iirNone, "a read clears it")
	m.CheckIn8(base, 0, "the break's character")

	m.Out8(base+regLCR, lcrBreak)
	m.Out8(base+regLCR, lcrBreak)
	m.Out8(base+regLCR, 0)
	if c.Breaks() != 1 {
		t.Errorf("%d breaks sent, want 1", c.Breaks())
	}
}

func TestModemLines(t *testing.T) {
	m, _, d := newCOM1(t)
	m.Out8(base+regIER, ierMSI)
	d.SetModemLines(RI | CTS)
	m.CheckIn8(base+regIIR, iirMSI, "lines have changed")
	if !m.IRQ[4].Level() {
		t.Error("no interrupt")
	}
	m.CheckIn8(base+regMSR, RI|CTS|msrDDSR|msrDDCD, "DSR and DCD fell; a ring that begins is no event")
	m.CheckIn8(base+regMSR, RI|CTS, "a read clears the deltas")
	m.CheckIn8(base+regIIR, iirNone, "a read clears the interrupt")
	d.SetModemLines(CTS | DSR | DCD)
	m.CheckIn8(base+regMSR, CTS|DSR|DCD|msrTERI|msrDDSR|msrDDCD, "the ring ends")
}

// The guest's modem lines are those of a real line, where there is one.
func TestRealModemLines(t *testing.T) {
	m, c, _ := newCOM1(t)
	m.Out8(base+regMCR, mcrDTR|mcrRTS)
	m.CheckIn8(base+regMSR, CTS|DSR|DCD, "without a line all are on")
	c.SetModemLines(chardev.CTS)
	m.CheckIn8(base+regMSR, CTS|msrDDSR|msrDDCD, "DSR and DCD fell")
	m.Out8(base+regMCR, mcrRTS)
	if lines, _ := c.Modem(); lines != chardev.CTS|chardev.RTS {
		t.Errorf("lines %b", lines)
	}
	m.Out8(base+regMCR, mcrDTR|mcrLoop) // both are off while the UART talks to itself
	if lines, _ := c.Modem(); lines != chardev.CTS {
		t.Errorf("lines %b", lines)
	}
}

func TestLoopback(t *testing.T) {
	m, c, _ := newCOM1(t)
	// This is how Linux finds out that there is a UART at all.
	m.Out8(base+regMCR, mcrLoop|mcrOut2|mcrRTS)
	m.CheckIn8(base+regMSR, DCD|CTS|msrDDSR, "loopback")
	m.Out8(base, 'x')
	c.Input('y')
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT|lsrDR, "loopback")
	m.CheckIn8(base, 'x', "loopback")
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT, "not connected")
	if c.Output() != "" {
		t.Error("a byte left in loopback")
	}
	m.Out8(base+regMCR, mcrOut2)
	m.CheckIn8(base, 'y', "connected again")
}

func TestLoopbackOverrun(t *testing.T) {
	m, _, _ := newCOM1(t)
	m.Out8(base+regMCR, mcrLoop)
	m.Out8(base, 'a')
	m.Out8(base, 'b')
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT|lsrDR|lsrOE, "overrun")
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT|lsrDR, "a read clears it")
	m.CheckIn8(base, 'b', "the register is overwritten")

	m.Out8(base+regIIR, fcrEnable)
	for i := range 17 {
		m.Out8(base, byte(i))
	}
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT|lsrDR|lsrOE, "FIFO overrun")
	for i := range 16 {
		m.CheckIn8(base, byte(i), "the FIFO is not overwritten")
	}
}

func TestIndexes(t *testing.T) {
	m := devtest.New(t)
	for i, want := range ports {
		d := m.Plug(m.ISA, ISAType, "").(*ISA)
		if d.Index() != i || uint32(d.IOBase()) != want.iobase || uint32(d.IRQ()) != want.irq {
			t.Errorf("port %d is %d at %#x, interrupt %d", i, d.Index(), d.IOBase(), d.IRQ())
		}
		m.CheckIn8(d.IOBase()+regLSR, lsrTHRE|lsrTEMT, "mapped")
	}
	if _, err := m.TryPlug(m.ISA, ISAType, ""); err == nil ||
		err.Error() != "Max. supported number of ISA serial ports is 4." {
		t.Errorf("fifth port: %v", err)
	}
}

func TestBadProperties(t *testing.T) {
	for _, props := range [][]string{
		{"iobase", "0x3f8", "chardev", "none-such"},
		{"iobase", "0x10000"},
		{"irq", "16"},
		{"baudbase", "0"},
	} {
		m := devtest.New(t)
		if d, err := m.TryPlug(m.ISA, ISAType, "", props...); err == nil {
			t.Errorf("%v: no error", props)
		} else if d.Dev().Realized() {
			t.Errorf("%v: realized", props)
		}
		m.CheckIn8(base+regLSR, 0xff, "nothing is left behind")
	}
}

func TestUnplug(t *testing.T) {
	m, c, d := newCOM1(t)
	m.Out8(base+regIER, ierTHRI)
	m.Unplug(d)
	if c.Attached() {
		t.Error("the character device is still held")
	}
	if m.IRQ[4].Level() {
		t.Error("the interrupt is still high")
	}
	m.CheckIn8(base+regLSR, 0xff, "unmapped")
}

func TestStoppedMachine(t *testing.T) {
	m, c, _ := newCOM1(t)
	c.SetRoom(0)
	m.Out8(base, 'x')
	m.Do(func() { _ = m.Env.Run.Stop("paused") })
	c.SetRoom(-1)
	c.Input('y')
	if c.Output() != "" || c.Pending() != 1 {
		t.Error("data flows while the machine is stopped")
	}
	m.Do(func() { _ = m.Env.Run.Start() })
	m.CheckIn8(base+regLSR, lsrTHRE|lsrTEMT, "going on")
	if c.Output() != "x" {
		t.Error("held output did not leave")
	}
	m.CheckIn8(base, 'y', "held input")
}

func TestWakeup(t *testing.T) {
	m := devtest.New(t)
	c := m.AddChardev("c0")
	m.Plug(m.ISA, ISAType, "", "chardev", "c0", "wakeup", "on")
	m.Env.Run.RequestSuspend()
	m.Sync()
	c.Input('x')
	if got := strings.Join(m.Calls(), " "); got != "suspend wakeup other" {
		t.Errorf("calls: %s", got)
	}
}

func TestRoundTrip(t *testing.T) {
	_, to := devtest.RoundTrip(t, mkCOM1, func(m *devtest.Machine) {
		c := m.Chardev("c0")
		m.Out8(base+regLCR, lcrDLAB|3)
		m.Out16(base, 7)
		m.Out8(base+regLCR, 3)
		m.Out8(base+regIIR, 0xc1)
		m.Out8(base+regIER, 0x0f)
		m.Out8(base+regSCR, 0x5a)
		c.Input('a', 'b', 'c')
		c.Event(chardev.Break)
		c.SetRoom(1)
		m.Out8(base, 'x')
		m.Out8(base, 'y')
		m.Out8(base, 'z')
	})
	to.CheckIn8(base+regSCR, 0x5a, "loaded")
	to.CheckIn8(base+regLSR, lsrDR|lsrFIFOErr, "loaded")
	to.Advance(time.Second)
	to.CheckIn8(base+regIIR, iirFIFO|iirTimeout, "the time-out was armed")
	to.CheckIn8(base, 'a', "loaded")
	to.Do(func() { _ = to.Env.Run.Stop("paused"); _ = to.Env.Run.Start() })
	if got := to.Chardev("c0").Output(); got != "yz" {
		t.Errorf("held output %q, want yz", got)
	}
}

// TestLastByteIsSaved has an empty receiver, which reads as what was read last.
func TestLastByteIsSaved(t *testing.T) {
	_, to := devtest.RoundTrip(t, mkCOM1, func(m *devtest.Machine) {
		m.Chardev("c0").Input('q')
		m.CheckIn8(base, 'q', "received")
		m.CheckIn8(base, 'q', "again")
	})
	to.CheckIn8(base, 'q', "loaded")
}

// TestParamsAfterReset has the other side follow what a reset makes of the line.
func TestParamsAfterReset(t *testing.T) {
	m, c, _ := newCOM1(t)
	start := c.Params()
	if start.Speed != 9600 {
		t.Errorf("at start: %v", start)
	}
	m.Out8(base+regLCR, lcrDLAB|3)
	m.Out16(base, 1)
	m.Out8(base+regLCR, 3)
	if p := c.Params(); p.Speed != 115200 || p.DataBits != 8 {
		t.Errorf("as programmed: %v", p)
	}
	m.ResetAll()
	if p := c.Params(); p != start {
		t.Errorf("after a reset: %v, want %v", p, start)
	}
}

func TestNoAllocs(t *testing.T) {
	_, _, d := newCOM1(t)
	devtest.NoAllocs(t, "a byte in loopback", func() {
		d.WriteIO(regMCR, 1, mcrLoop)
		d.WriteIO(regData, 1, 'x')
		d.ReadIO(regLSR, 1)
		d.ReadIO(regData, 1)
		d.ReadIO(regIIR, 1)
	})
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		m.AddChardev("c0")
		d := m.Plug(m.ISA, ISAType, "", "chardev", "c0").(*ISA)
		m.AddAction(func(next func(int) uint64) uint64 {
			d.SetModemLines(uint8(next(1)))
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 { // turns the FIFOs on, or almost so
			m.Out8(base+regIIR, uint8(next(1))&^(fcrClearRX|fcrClearTX)|fcrEnable)
			return 0
		})
	}, devtest.Ports(base, NumRegs))
}

func TestConcurrent(t *testing.T) { devtest.Concurrent(t, mkCOM1, devtest.Ports(base, NumRegs)) }

func FuzzIO(f *testing.F) { devtest.FuzzIO(f, mkCOM1, devtest.Ports(base, NumRegs)) }

func FuzzState(f *testing.F) { devtest.FuzzState(f, mkCOM1, devtest.Ports(base, NumRegs)) }
