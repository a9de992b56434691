package qtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"govmd/test/vmtest"
)

// TestMain has the tests run the program as it is now, unless GOVMD names one.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getenv("GOVMD") != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "qtest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "govmd")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "govmd/cmd/govmd")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "building govmd: %v\n", err)
		return 1
	}
	os.Setenv("GOVMD", program)
	return m.Run()
}

// timeout bounds a test's whole life, and each wait in it.
const timeout = time.Minute

// machine is a machine in which nothing executes, and its qtest connection.
type machine struct {
	*vmtest.VM
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	irqs map[int]int  // how often each interrupt rose since the last look
	high map[int]bool // interrupts that are high now
}

// start starts a machine of that type. Its firmware is an empty ROM, for it
// does not run.
func start(t *testing.T, board string, args ...string) *machine {
	t.Helper()
	if vmtest.IsQEMU() {
		t.Skip("distributions' QEMU has no qtest accelerator")
	}
	dir, err := os.MkdirTemp("", "qtest") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	rom := filepath.Join(dir, "rom")
	if err := os.WriteFile(rom, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := &machine{t: t, irqs: map[int]int{}, high: map[int]bool{}}
	m.VM = vmtest.Start(t, vmtest.Options{Timeout: timeout, Args: append([]string{
		"-M", board, "-accel", "qtest", "-qtest", "unix:" + path, "-bios", rom, "-m", "64",
		"-rtc", "base=2024-02-29T23:59:58,clock=vm",
	}, args...)})
	if err := l.SetDeadline(time.Now().Add(timeout)); err != nil {
		t.Fatal(err)
	}
	if m.conn, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.conn.Close() })
	if err := m.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		t.Fatal(err)
	}
	m.in = bufio.NewReader(m.conn)
	return m
}

// do sends a request and returns what the reply says after OK.
func (m *machine) do(format string, args ...any) string {
	m.t.Helper()
	request := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(m.conn, request); err != nil {
		m.t.Fatalf("%s: %v", request, err)
	}
	for {
		line, err := m.in.ReadString('\n')
		if err != nil {
			m.t.Fatalf("%s: %v", request, err)
		}
		line = strings.TrimSuffix(line, "\n")
		if m.interrupt(line) {
			continue
		}
		rest, ok := strings.CutPrefix(line, "OK")
		if !ok {
			m.t.Fatalf("%s: %s", request, line)
		}
		return strings.TrimPrefix(rest, " ")
	}
}

func (m *machine) interrupt(line string) bool {
	var what string
	var n int
	if _, err := fmt.Sscanf(line, "IRQ %s %d", &what, &n); err != nil {
		return false
	}
	m.high[n] = what == "raise"
	if m.high[n] {
		m.irqs[n]++
	}
	return true
}

// rises returns how often an interrupt rose since the last call.
func (m *machine) rises(n int) int {
	count := m.irqs[n]
	m.irqs[n] = 0
	return count
}

func (m *machine) number(format string, args ...any) uint64 {
	m.t.Helper()
	text := m.do(format, args...)
	v, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		m.t.Fatalf("%s is no number", text)
	}
	return v
}

func (m *machine) inb(port uint16) uint8     { m.t.Helper(); return uint8(m.number("inb %#x", port)) }
func (m *machine) inl(port uint16) uint32    { m.t.Helper(); return uint32(m.number("inl %#x", port)) }
func (m *machine) readl(addr uint64) uint32  { m.t.Helper(); return uint32(m.number("readl %#x", addr)) }
func (m *machine) outb(port uint16, v uint8) { m.t.Helper(); m.do("outb %#x %#x", port, v) }

func (m *machine) outl(port uint16, v uint32) { m.t.Helper(); m.do("outl %#x %#x", port, v) }

func (m *machine) writel(addr uint64, v uint32) { m.t.Helper(); m.do("writel %#x %#x", addr, v) }

// step lets guest time pass and returns what time it is.
func (m *machine) step(d time.Duration) time.Duration {
	m.t.Helper()
	return time.Duration(m.number("clock_step %d", d.Nanoseconds()))
}

// config reads a word of PCI configuration space.
func (m *machine) config(slot, function, offset uint32) uint32 {
	m.t.Helper()
	m.outl(0xcf8, 1<<31|slot<<11|function<<8|offset)
	return m.inl(0xcfc)
}

func (m *machine) setConfig(slot, function, offset, v uint32) {
	m.t.Helper()
	m.outl(0xcf8, 1<<31|slot<<11|function<<8|offset)
	m.outl(0xcfc, v)
}

// rtc reads a register of the clock.
func (m *machine) rtc(reg uint8) uint8 {
	m.t.Helper()
	m.outb(0x70, reg)
	return m.inb(0x71)
}

func (m *machine) setRTC(reg, v uint8) {
	m.t.Helper()
	m.outb(0x70, reg)
	m.outb(0x71, v)
}

// ioapic reads a register of the I/O APIC.
func (m *machine) ioapic(index uint32) uint32 {
	m.t.Helper()
	m.writel(0xfec00000, index)
	return m.readl(0xfec00010)
}

// check fails the test unless got is want.
func check[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %#v, want %#v", what, got, want)
	}
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
