// Package qtest drives whole machines register by register, under the
// accelerator in which nothing executes.
package qtest

import (
	"testing"
	"time"
)

// boards are the machines that have what every PC has.
var boards = []string{"pc", "microvm"}

func onBoards(t *testing.T, fn func(t *testing.T, m *machine)) {
	for _, board := range boards {
		t.Run(board, func(t *testing.T) { fn(t, start(t, board)) })
	}
}

func TestRuns(t *testing.T) {
	onBoards(t, func(t *testing.T, m *machine) {
		for m.Status() == "prelaunch" {
			// It answers before it runs.
		}
		check(t, "status", m.Status(), "running")
		check(t, "time at the start", m.do("clock_step 0"), "0")
		check(t, "byte order", m.do("endianness"), "little")
		m.do("write 0x100000 4 0x12345678")
		check(t, "RAM", m.do("read 0x100000 6"), "0x123456780000")
		m.Execute("stop", nil, nil)
		check(t, "status", m.Status(), "paused")
		m.Execute("cont", nil, nil)
		m.Execute("quit", nil, nil)
		m.ExpectExit(0)
	})
}

func TestTimerTick(t *testing.T) {
	onBoards(t, func(t *testing.T, m *machine) {
		m.do("irq_intercept_in ioapic")
		m.outb(0x43, 0x34) // 1 kHz, nearly
		m.outb(0x40, 0xa9)
		m.outb(0x40, 0x04)
		m.rises(2)
		m.rises(0)
		m.step(100 * time.Millisecond)
		if n := m.rises(2); n != 99 && n != 100 {
			t.Errorf("%d interrupts in 100 ms", n)
		}
		if n := m.rises(0); n != 99 && n != 100 {
			t.Errorf("%d of ISA interrupt 0 in 100 ms", n)
		}
		before := m.do("clock_step 0")
		if after := m.do("clock_step"); after == before {
			t.Errorf("a step to the next timer ends at %s, where it began", after)
		}
	})
}

func TestInterruptControllers(t *testing.T) {
	onBoards(t, func(t *testing.T, m *machine) {
		check(t, "I/O APIC version", m.ioapic(1), 0x00170020)
		check(t, "a masked entry", m.ioapic(0x10+2*5), 1<<16)
		for i, v := range []uint8{0x11, 0x20, 0x04, 0x01, 0x00} { // ICW1 to ICW4, OCW1
			m.outb(0x20+uint16(min(i, 1)), v)
		}
		m.do("set_irq_in i8259 unnamed-gpio-in 5 1")
		m.outb(0x20, 0x0a)
		check(t, "IRR", m.inb(0x20), 1<<5)
		m.outb(0x20, 0x0c)
		check(t, "poll", m.inb(0x20), 0x85)
	})
}

func TestReset(t *testing.T) {
	onBoards(t, func(t *testing.T, m *machine) {
		m.writel(0xfec00000, 0x10+2*5)
		m.writel(0xfec00010, 0x55)
		m.outb(0x21, 0xfb)
		check(t, "redirection entry", m.ioapic(0x10+2*5), 0x55)
		m.Execute("system_reset", nil, nil)
		m.ExpectEvent("RESET")
		check(t, "redirection entry after a reset", m.ioapic(0x10+2*5), 1<<16)
		check(t, "interrupt mask after a reset", m.inb(0x21), 0)
	})
}

func TestSerialLoopback(t *testing.T) {
	onBoards(t, func(t *testing.T, m *machine) {
		const port = 0x3f8
		m.do("irq_intercept_in ioapic")
		m.outb(port+4, 0x18) // loopback, and OUT2 lets interrupts through
		m.outb(port+1, 0x01) // of received data
		m.outb(port, 0x5a)
		for range 10 {
			if m.inb(port+5)&1 != 0 {
				break
			}
			m.step(time.Millisecond)
		}
		check(t, "line status", m.inb(port+5)&1, 1)
		check(t, "received", m.inb(port), 0x5a)
		check(t, "line status", m.inb(port+5)&1, 0)
		m.outb(port+4, 0x1f)
		check(t, "modem status", m.inb(port+6)&0xf0, 0xf0)
		// And the other way: to the console.
		m.outb(port+4, 0)
		for _, c := range []byte("over\n") {
			m.outb(port, c)
			m.step(time.Millisecond)
		}
		m.Expect("over")
	})
}

func TestSerialInterrupt(t *testing.T) {
	onBoards(t, func(t *testing.T, m *machine) {
		const port = 0x3f8
		m.do("irq_intercept_in ioapic")
		m.outb(port+4, 0x08)
		m.outb(port+1, 0x02) // the transmitter is empty
		check(t, "rises", m.rises(4), 1)
		check(t, "identification", m.inb(port+2)&0x0f, 0x02)
		check(t, "high after that", m.high[4], false)
	})
}

func TestClock(t *testing.T) {
	onBoards(t, func(t *testing.T, m *machine) {
		m.do("irq_intercept_in ioapic")
		got := []uint8{}
		for _, reg := range []uint8{0x32, 9, 8, 7, 4, 2, 0} {
			got = append(got, m.rtc(reg))
		}
		check(t, "the date", text(got), text([]uint8{0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58}))
		m.step(3 * time.Second)
		got = got[:0]
		for _, reg := range []uint8{0x32, 9, 8, 7, 4, 2, 0} {
			got = append(got, m.rtc(reg))
		}
		check(t, "the date 3 s later", text(got), text([]uint8{0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x01}))
		m.rtc(0x0c)
		m.rises(8)
		m.setRTC(0x0b, 0x12) // interrupt at each update, 24 hours
		m.step(time.Second)
		check(t, "update interrupts in a second", m.rises(8), 1)
		check(t, "flags", m.rtc(0x0c)&0x90, 0x90)
		check(t, "high when it has been read", m.high[8], false)
	})
}

func TestFirmwareConfiguration(t *testing.T) {
	onBoards(t, func(t *testing.T, m *machine) {
		read := func(key uint16, n int) (s string) {
			m.do("outw 0x510 %#x", key)
			for range n {
				s += string(rune(m.inb(0x511)))
			}
			return s
		}
		check(t, "signature", read(0, 4), "QEMU")
		check(t, "features", read(1, 4), "\x03\x00\x00\x00")
		check(t, "processors", read(5, 2), "\x01\x00")
		check(t, "RAM", read(3, 8), "\x00\x00\x00\x04\x00\x00\x00\x00")
		check(t, "DMA signature", m.inl(0x514), 0x554d4551)
		check(t, "DMA signature", m.inl(0x518), 0x47464320)
	})
}

func TestProcessorsAndMemory(t *testing.T) {
	m := start(t, "pc", "-smp", "3")
	var cpus []struct {
		Index int `json:"cpu-index"`
	}
	m.Execute("query-cpus-fast", nil, &cpus)
	check(t, "vCPUs", len(cpus), 3)
	m.do("memset 0x3fffff0 0x10 0xee")
	check(t, "the end of RAM", m.do("read 0x3fffffe 2"), "0xeeee")
}

func TestPCIConfiguration(t *testing.T) {
	m := start(t, "pc")
	check(t, "host bridge", m.config(0, 0, 0), 0x12378086)
	check(t, "ISA bridge", m.config(1, 0, 0), 0x70008086)
	check(t, "power management", m.config(1, 3, 0), 0x71138086)
	check(t, "nothing", m.config(31, 0, 0), 0xffffffff)
	check(t, "host bridge's class", m.config(0, 0, 8)>>16, 0x0600)
	m.outl(0xcf8, 1<<31)
	check(t, "address register", m.inl(0xcf8), 1<<31)
	check(t, "high half", m.number("inw 0xcfe"), 0x1237)
	n := start(t, "microvm")
	n.outl(0xcf8, 1<<31)
	check(t, "microvm's PCI", n.inl(0xcfc), 0xffffffff)
}

func TestPMTimer(t *testing.T) {
	const base, hz = 0x600, 3579545
	m := start(t, "pc")
	m.setConfig(1, 3, 0x40, base|1)
	m.setConfig(1, 3, 0x80, 1)
	first := m.inl(base + 8)
	check(t, "while time stands still", m.inl(base+8), first)
	m.step(time.Second)
	if ticks := (m.inl(base+8) - first) & 0xffffff; ticks < hz-1 || ticks > hz+1 {
		t.Errorf("%d ticks in a second, want %d", ticks, hz)
	}
}

func TestPowerButton(t *testing.T) {
	m := start(t, "microvm")
	m.do("irq_intercept_in ioapic")
	m.Execute("system_powerdown", nil, nil)
	m.ExpectEvent("POWERDOWN")
	check(t, "GED event", m.readl(0xfea00000), 1<<1)
	check(t, "GED interrupts", m.rises(9), 1)
	m.do("writeb 0xfea00200 0x34") // S5
	m.ExpectEvent("SHUTDOWN")
	m.ExpectExit(0)

	m = start(t, "pc")
	const base = 0x600
	m.setConfig(1, 3, 0x40, base|1)
	m.setConfig(1, 3, 0x80, 1)
	m.do("irq_intercept_in ioapic")
	m.do("outw %#x 0x100", base+2) // the power button's event
	m.do("outw %#x 1", base+4)     // SCI_EN
	m.Execute("system_powerdown", nil, nil)
	m.ExpectEvent("POWERDOWN")
	check(t, "power button status", m.number("inw %#x", base)&0x100, 0x100)
	check(t, "SCI", m.high[9], true)
	m.do("outw %#x 0x100", base)
	check(t, "SCI after it was taken", m.high[9], false)
	m.do("outw %#x 0x2001", base+4) // S5
	m.ExpectEvent("SHUTDOWN")
	m.ExpectExit(0)
}

func TestVirtioMMIO(t *testing.T) {
	m := start(t, "microvm", "-device", "virtio-rng-device")
	found := 0
	for i := range uint64(8) {
		if m.readl(0xfeb00000+i*512) == 0x74726976 && m.readl(0xfeb00000+i*512+8) == 4 {
			found++
		}
	}
	check(t, "entropy devices", found, 1)
}

func TestHPET(t *testing.T) {
	const base = 0xfed00000
	m := start(t, "pc")
	m.do("irq_intercept_in ioapic")
	check(t, "capabilities", m.readl(base), 0x8086a201)
	m.writel(base+0x10, 1) // run
	m.step(time.Millisecond)
	check(t, "counter", m.readl(base+0xf0), 100000)
	m.writel(base+0x10, 0)
	// Legacy replacement: the timer's interrupt is the HPET's, not the 8254's.
	m.writel(base+0x10, 3)
	m.step(100 * time.Millisecond)
	m.rises(2)
	m.outb(0x43, 0x34)
	m.outb(0x40, 0xa9)
	m.outb(0x40, 0x04)
	m.step(100 * time.Millisecond)
	check(t, "interrupts of the 8254", m.rises(2), 0)
	m.do("writeq %#x %d", base+0x108, 20_100_000+100_000)
	m.writel(base+0x100, 1<<2)
	m.step(10 * time.Millisecond)
	check(t, "interrupts of the HPET", m.rises(2), 1)
}

// The clock's alarm ends suspend to RAM, if the guest has enabled that.
func TestAlarmWakes(t *testing.T) {
	const base, rtcEvent, wakeStatus = 0x600, 1 << 10, 1 << 15
	m := start(t, "pc")
	mapPM := func() {
		m.setConfig(1, 3, 0x40, base|1)
		m.setConfig(1, 3, 0x80, 1)
	}
	alarm := func() { // at the third second from 23:59:58
		m.setRTC(0x01, 0x01)
		m.setRTC(0x03, 0xff)
		m.setRTC(0x05, 0xff)
		m.setRTC(0x0b, 0x22)
	}
	m.QMP() // for events
	mapPM()
	m.do("irq_intercept_in ioapic")
	alarm()
	m.step(4 * time.Second)
	check(t, "status of an alarm that is not enabled", m.number("inw %#x", base)&rtcEvent, rtcEvent)
	check(t, "SCI", m.high[9], false)
	m.do("outw %#x %#x", base, rtcEvent)
	m.do("outw %#x %#x", base+2, rtcEvent)
	m.rtc(0x0c)
	m.do("outw %#x 0x2401", base+4) // S3
	m.ExpectEvent("SUSPEND")
	check(t, "run state", m.Status(), "suspended")
	m.step(50 * time.Second)
	check(t, "run state before the alarm", m.Status(), "suspended")
	m.step(10 * time.Second)
	m.ExpectEvent("WAKEUP")
	check(t, "run state", m.Status(), "running")
	mapPM() // as firmware does again
	check(t, "status", m.number("inw %#x", base), rtcEvent|wakeStatus)
}
