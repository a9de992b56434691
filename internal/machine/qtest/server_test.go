package qtest

import (
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"govmd/internal/device"
	"govmd/internal/object"
)

func init() {
	device.Register(object.Type{Name: "qtest-output", New: func() object.Object { return &output{} }})
}

func TestPorts(t *testing.T) {
	c := newClient(t)
	c.expect("outb 0x21 0xa5", "OK")
	c.expect("inb 0x21", "OK 0x00a5")
	c.expect("outw 0x20 0x5a0b", "OK") // two bytes: OCW3 and the mask
	c.expect("inb 33", "OK 0x005a")
	c.expect("inw 0x20", "OK 0x5a00")
	c.expect("inl 0x1234", "OK 0xffffffff")
	c.expect("outl 0x1234 1", "OK")
	c.fails("inq 0x20", "Unknown command 'inq'")
	c.fails("outq 0x20 1", "Unknown command 'outq'")
}

func TestMemoryWords(t *testing.T) {
	c := newClient(t)
	c.expect("writeq 0x1000 0x1122334455667788", "OK")
	c.expect("readb 0x1000", "OK 0x0000000000000088")
	c.expect("readw 0x1001", "OK 0x0000000000006677")
	c.expect("readl 0x1004", "OK 0x0000000011223344")
	c.expect("readq 0x1000", "OK 0x1122334455667788")
	c.expect("writeb 0x1000 0x1ff", "OK")
	c.expect("writew 0x1002 0xabcd", "OK")
	c.expect("writel 4100 010", "OK") // as C has it, 010 is 8
	c.expect("read 0x1000 8", "OK 0xff77cdab08000000")
	// Devices' registers are words, not memory.
	c.expect("writel 0xfec00000 1", "OK")
	c.expect("readl 0xfec00010", "OK 0x0000000000170020")
	c.expect("endianness", "OK little")
}

func TestMemoryBlocks(t *testing.T) {
	c := newClient(t)
	c.expect("memset 0x2000 4 0xee", "OK")
	c.expect("write 0x2001 2 0x0102", "OK")
	c.expect("read 0x2000 0x5", "OK 0xee0102ee00")
	c.expect("write 0x2000 4 0xAB", "OK") // what is missing is zero
	c.expect("read 0x2000 4", "OK 0xab000000")
	c.expect("write 0x2000 2 0x01020304", "OK")
	c.expect("read 0x2000 4", "OK 0x01020000")
	c.expect("b64write 0x2000 5 "+base64.StdEncoding.EncodeToString([]byte("hello")), "OK")
	c.expect("b64read 0x2000 5", "OK aGVsbG8=")
	c.expect("memset 0x2000 0 1", "OK")
	c.expect("write 0x2000 0 0x", "OK")
	c.expect("read 0x2000 5", "OK 0x68656c6c6f")
	c.expect("memset 0x3ffffe 4 0x11", "OK") // the end of RAM
	c.expect("readw 0x3ffffe", "OK 0x0000000000001111")

	c.fails("write 0x2000 2 0102", "data is not hexadecimal")
	c.fails("write 0x2000 2 0x012", "data is not hexadecimal")
	c.fails("write 0x2000 2 0xzz", "data is not hexadecimal")
	c.fails("write 0x2000 2", "'write' takes more arguments")
	c.fails("b64write 0x2000 2 %%", "data is not base64")
	c.fails("read 0x2000 0xffffffffffffffff", "18446744073709551615 bytes are more than the 16777216 of one transfer")
	c.fails("b64read 0 16777217", "16777217 bytes are more")
	c.fails("memset 0 0x100000000 0", "4294967296 bytes are more")
	c.expect("read 0x2000 2", "OK 0x6865") // nothing of all that was written
}

func TestLargeTransfers(t *testing.T) {
	c := newClient(t)
	c.expect("memset 0 0x1000000 0xa5", "OK") // as much as can be, and more than there is
	c.expect("readw 0x3ffffe", "OK 0x000000000000a5a5")
	const size = 1 << 20
	go func() { // the pipe has no buffer
		_, _ = io.WriteString(c.conn, "write 0x100000 0x100000 0x"+strings.Repeat("5a", size)+"\n")
	}()
	if got := c.reply(); got != "OK" {
		t.Errorf("%.80q", got)
	}
	c.expect("read 0x1ffffe 4", "OK 0x5a5aa5a5")
	if got := c.do("b64read 0x100000 0x100000"); len(got) != 3+base64.StdEncoding.EncodedLen(size) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestClock(t *testing.T) {
	c := newClient(t)
	c.expect("clock_step 1000", "OK 1000")
	c.expect("clock_set 5000", "OK 5000")
	c.expect("clock_set 10", "OK 5000") // it never goes back
	c.expect("clock_step 0", "OK 5000")
	c.expect("outb 0x43 0x30", "OK") // mode 0: an interrupt after 1001 ticks
	c.expect("outb 0x40 0xe8", "OK")
	c.expect("outb 0x40 0x03", "OK")
	c.expect("clock_step", "OK 5029")   // to the tick that loads the count
	c.expect("clock_step", "OK 843124") // 1000 ticks after that
	c.expect("clock_step", "OK 843124") // no timer is armed
	c.fails("clock_step 0x8000000000000000", "the clock cannot go beyond")
	c.fails("clock_step 9223372036854775807", "the clock cannot go beyond")
	c.fails("clock_set 18446744073709551615", "the clock cannot go beyond")
	c.fails("clock_set", "'clock_set' takes more arguments")
	c.fails("clock_step soon", "'soon' is not a number")
	c.expect("clock_step 1", "OK 843125")
	c.expect("clock_set 9223372036854775807", "OK 9223372036854775807")
	c.fails("clock_step 1", "the clock cannot go beyond")
}

func TestInterceptInputs(t *testing.T) {
	c := newClient(t)
	c.expect("outb 0x43 0x34", "OK")
	c.expect("outb 0x40 0xa9", "OK")
	c.expect("outb 0x40 0x04", "OK")
	c.expect("clock_step 10000000", "OK 10000000")
	c.reports()
	c.expect("irq_intercept_in ioapic", "OK")
	c.expect("irq_intercept_in /machine/unattached/ioapic", "OK") // again
	c.reports()
	c.expect("clock_step 1000000", "OK 11000000")
	c.reports("lower 0", "lower 2", "raise 0", "raise 2")
	c.fails("irq_intercept_in i8259", "IRQ intercept already enabled")
	c.fails("irq_intercept_out ioapic", "IRQ intercept already enabled")
	// Intercepted interrupts arrive all the same.
	c.expect("outb 0x20 0x0a", "OK")
	c.expect("inb 0x20", "OK 0x0001")
	// The next peer begins anew.
	c.hangUp()
	c = connect(c.Machine, c.srv)
	c.expect("clock_step 10000000", "OK 21000000")
	c.reports()
	c.expect("irq_intercept_in i8259", "OK")
	c.expect("clock_step 1000000", "OK 22000000")
	c.reports("lower 0", "raise 0")
}

func TestInterceptOutputs(t *testing.T) {
	c := newClient(t)
	d := c.Plug(nil, "qtest-output", "out0").(*output)
	c.expect("irq_intercept_out /machine/peripheral/out0", "OK")
	d.lines[1].SetLevel(true)
	c.expect("endianness", "OK little")
	c.reports("raise 1")
	d.lines[0].Pulse()
	d.lines[1].SetLevel(false)
	c.expect("endianness", "OK little")
	c.reports("raise 0", "lower 0", "lower 1")
	c.hangUp()
	d.lines[0].SetLevel(true) // there is nobody to tell
}

// TestReportWithoutRequest: a report comes when the interrupt does.
func TestReportWithoutRequest(t *testing.T) {
	c := newClient(t)
	d := c.Plug(nil, "qtest-output", "out0").(*output)
	c.expect("irq_intercept_out out0", "OK")
	d.lines[0].SetLevel(true)
	if line, err := c.in.ReadString('\n'); line != "IRQ raise 0\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestSetIRQ(t *testing.T) {
	c := newClient(t)
	c.expect("outb 0x20 0x11", "OK") // forgets the timer's output, which rose at the reset
	c.expect("irq_intercept_in i8259", "OK")
	c.expect("set_irq_in i8259 unnamed-gpio-in 5 1", "OK")
	c.expect("set_irq_in i8259 unnamed-gpio-in 5 1", "OK")
	c.expect("set_irq_in /machine/unattached/i8259 unnamed-gpio-in 5 0", "OK")
	c.reports("raise 5", "lower 5")
	c.expect("outb 0x20 0x0a", "OK")
	c.expect("inb 0x20", "OK 0x0020")
	c.fails("set_irq_in i8259 unnamed-gpio-in 16 1", "'i8259' has no input 16 of that name")
	c.fails("set_irq_in i8259 unnamed-gpio-in 0xffffffffffffffff 1", "'i8259' has no input")
	c.fails("set_irq_in i8259 reset 0 1", "'i8259' has no input 0 of that name")
	c.fails("set_irq_in i8259 unnamed-gpio-in x 1", "'x' is not a number")
	c.fails("set_irq_in i8259 unnamed-gpio-in 1", "'set_irq_in' takes more arguments")
	c.fails("set_irq_in nothing unnamed-gpio-in 1 1", "Unknown device 'nothing'")
}

func TestUnknownDevices(t *testing.T) {
	c := newClient(t)
	c.fails("irq_intercept_in /machine/nothing", "Unknown device '/machine/nothing'")
	c.fails("irq_intercept_out /machine", "Unknown device '/machine'") // no device
	c.fails("irq_intercept_in", "'irq_intercept_in' takes more arguments")
	c.fails("irq_intercept_in "+strings.Repeat("/x", 1000), "Unknown device '/x/x")
	c.expect("irq_intercept_in ioapic", "OK") // none of that was in force
}

func TestGarbage(t *testing.T) {
	c := newClient(t)
	c.send("")
	c.send(" \t \r")
	c.fails("\x00\xff\xfe", "Unknown command '\x00\xff\xfe'")
	c.fails("INB 0x20", "Unknown command 'INB'")
	c.fails("in 0x20", "Unknown command 'in'")
	c.fails("readbb 0x20", "Unknown command 'readbb'")
	c.fails("inb", "'inb' takes more arguments")
	c.fails("inb -1", "'-1' is not a number")
	c.fails("inb 0x", "'0x' is not a number")
	c.fails("inb 99999999999999999999", "'99999999999999999999' is not a number")
	c.fails("outb 1", "'outb' takes more arguments")
	c.fails("writel 0", "'writel' takes more arguments")
	c.fails("read 0", "'read' takes more arguments")
	c.fails("memset 0 1", "'memset' takes more arguments")
	c.fails(strings.Repeat("x", 1<<20), "Unknown command 'xxx")
	if got := c.do("inb %s", strings.Repeat("9", 1<<20)); len(got) > 200 {
		t.Errorf("a reply of %d bytes", len(got))
	}
	c.expect("inb  \t0x21   extra words\r", "OK 0x0000")
	c.expect("readq 0xffffffffffffffff", "OK 0xffffffffffffffff")
	c.expect("writeq 0xffffffffffffffff 1", "OK")
	c.expect("read 0xfffffffffffffffe 4", c.do("read 0xfffffffffffffffe 4"))
}

func TestEndlessLine(t *testing.T) {
	c := newClient(t)
	chunk := []byte(strings.Repeat("x", 1<<20))
	for range maxLine/len(chunk) + 2 {
		if _, err := c.conn.Write(chunk); err != nil {
			break // it has hung up, as it should
		}
	}
	<-c.done
	if c.err == nil {
		t.Error("a line without end was taken")
	}
}

// TestPeerThatDoesNotRead: its interrupts neither block nor pile up.
func TestPeerThatDoesNotRead(t *testing.T) {
	c := newClient(t)
	d := c.Plug(nil, "qtest-output", "out0").(*output)
	c.expect("irq_intercept_out out0", "OK")
	for range maxReports / len("IRQ raise 0\n") {
		d.lines[0].Pulse()
	}
	c.Sync()
	c.hangUp()
	if c.err != nil && !errors.Is(c.err, io.ErrClosedPipe) && !errors.Is(c.err, errSlowPeer) && !errors.Is(c.err, net.ErrClosed) {
		t.Error(c.err)
	}
	c = connect(c.Machine, c.srv)
	c.expect("irq_intercept_out out0", "OK")
	d.lines[0].Pulse()
	c.expect("endianness", "OK little")
	c.reports("raise 0", "lower 0")
}

func TestMachineThatHasEnded(t *testing.T) {
	c := newClient(t)
	c.Env.Lane.Close()
	<-c.Env.Lane.Done()
	c.fails("irq_intercept_in ioapic", "control lane is closed")
	c.expect("inb 0x21", "OK 0x0000")
	_ = c.conn.Close()
	<-c.done
}
