package pci_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/pci"
	"govmd/internal/state"
)

const msixTable = 0xfd000000

// withMSIX returns a function whose MSI-X table is mapped and enabled.
func withMSIX(t testing.TB) (*bed, *probe) {
	b := newBed(t)
	p := b.probe("addr", "4")
	b.setCfg32(4, 0x14, msixTable)
	b.command(4, pci.CommandMemory|pci.CommandMaster)
	return b, p
}

func (b *bed) msixControl(p *probe, v uint16) { b.setCfg16(4, p.FindCapability(pci.CapMSIX)+2, v) }

func (b *bed) program(i int, addr uint64, data uint32, masked bool) {
	at := uint64(msixTable + 16*i)
	b.Write64(at, addr)
	b.Write32(at+8, data)
	m := uint32(0)
	if masked {
		m = 1
	}
	b.Write32(at+12, m)
}

const (
	enable = 1 << 15
	fmask  = 1 << 14
)

func (b *bed) sent(t *testing.T, what string, want ...device.MSIMessage) {
	t.Helper()
	got := b.MSI.Sent()
	if len(got) != len(want) {
		t.Errorf("%s: sent %v, want %v", what, got, want)
		return
	}
	for i := range got {
		equal(t, what, got[i], want[i])
	}
}

func TestMSIX(t *testing.T) {
	b, p := withMSIX(t)
	off := p.FindCapability(pci.CapMSIX)
	equal(t, "table size", b.cfg16(4, off+2), 4)
	equal(t, "table", b.cfg32(4, off+4), 1)
	equal(t, "pending bits", b.cfg32(4, off+8), 2048+1)
	equal(t, "mask at start", b.Read32(msixTable+12), 1)

	p.MSIX(0).Notify()
	b.sent(t, "while disabled")
	b.program(0, 0xfee00000, 0x41, false)
	b.program(1, 0x1_fee01000, 0x42, true)
	equal(t, "address", b.Read64(msixTable+16), 0x1_fee01000)
	equal(t, "data", b.Read32(msixTable+24), 0x42)
	b.msixControl(p, enable)
	b.sent(t, "after enabling")
	p.MSIX(0).Notify()
	b.sent(t, "open", device.MSIMessage{Addr: 0xfee00000, Data: 0x41})

	p.MSIX(1).Notify()
	p.MSIX(1).Notify()
	b.sent(t, "masked")
	equal(t, "pending", b.Read32(msixTable+2048), 2)
	b.program(1, 0xfee01000, 0x43, false)
	b.sent(t, "unmasked", device.MSIMessage{Addr: 0xfee01000, Data: 0x43})
	equal(t, "pending", b.Read32(msixTable+2048), 0)

	b.msixControl(p, enable|fmask)
	p.MSIX(0).Notify()
	b.sent(t, "function masked")
	equal(t, "pending", b.Read32(msixTable+2048), 1)
	b.Write32(msixTable+2048, 0)
	equal(t, "pending bits are read-only", b.Read32(msixTable+2048), 1)
	b.msixControl(p, enable)
	b.sent(t, "function unmasked", device.MSIMessage{Addr: 0xfee00000, Data: 0x41})

	b.command(4, pci.CommandMemory)
	p.MSIX(0).Notify()
	b.command(4, pci.CommandMemory|pci.CommandMaster)
	b.sent(t, "not bus master")

	b.msixControl(p, enable|fmask)
	p.MSIX(0).Notify()
	b.msixControl(p, 0)
	b.msixControl(p, enable)
	b.sent(t, "disabled while pending")

	if p.MSIX(5) != nil || p.MSIX(-1) != nil {
		t.Error("there is a vector beyond the table")
	}
	b.Reset(p)
	equal(t, "enabled after a reset", p.MSIXEnabled(), false)
	b.setCfg32(4, 0x14, msixTable)
	b.command(4, pci.CommandMemory)
	equal(t, "mask after a reset", b.Read32(msixTable+12), 1)
	equal(t, "data after a reset", b.Read32(msixTable+8), 0)
}

func TestMSI(t *testing.T) {
	b := newBed(t)
	p := b.probe("addr", "4")
	off := p.FindCapability(pci.CapMSI)
	equal(t, "control", b.cfg16(4, off+2), 0x0184)
	b.command(4, pci.CommandMaster)
	b.setCfg32(4, off+4, 0xfee00003)
	b.setCfg32(4, off+8, 0)
	b.setCfg16(4, off+12, 0x57)
	p.MSI(0).Notify()
	b.sent(t, "disabled")
	b.setCfg16(4, off+2, 1|1<<4) // two of four
	equal(t, "enabled", p.MSIEnabled(), 2)
	p.MSI(0).Notify()
	p.MSI(1).Notify()
	p.MSI(2).Notify()
	b.sent(t, "two vectors", device.MSIMessage{Addr: 0xfee00000, Data: 0x56}, device.MSIMessage{Addr: 0xfee00000, Data: 0x57})
	b.setCfg16(4, off+2, 1) // one: its data is used as it is
	p.MSI(0).Notify()
	b.sent(t, "one vector", device.MSIMessage{Addr: 0xfee00000, Data: 0x57})
	b.setCfg16(4, off+2, 1|7<<4) // more than there are
	equal(t, "enabled", p.MSIEnabled(), 4)
	b.setCfg32(4, off+16, 0xffffffff)
	equal(t, "mask bits", b.cfg32(4, off+16), 0xf)
	p.MSI(3).Notify()
	b.sent(t, "masked")
	equal(t, "pending", b.cfg32(4, off+20), 8)
	equal(t, "pending, a byte", b.cfg8(4, off+20), 8)
	b.setCfg32(4, off+16, 7)
	b.sent(t, "unmasked", device.MSIMessage{Addr: 0xfee00000, Data: 0x57})
	equal(t, "pending", b.cfg32(4, off+20), 0)
}

func TestNotifyDoesNotAllocate(t *testing.T) {
	b, p := withMSIX(t)
	b.program(0, 0xfee00000, 0x41, false)
	b.msixControl(p, enable)
	v := p.MSIX(0)
	for range 2000 { // fills what the test records
		v.Notify()
	}
	devtest.NoAllocs(t, "Notify", v.Notify)
	high := false
	devtest.NoAllocs(t, "SetINTx", func() { high = !high; p.SetINTx(high) })
	b.Out32(pci.PortConfigAddress, 1<<31|4<<11|0x3c)
	port := b.Env.IO
	var buf [4]byte
	devtest.NoAllocs(t, "configuration access", func() {
		port.ReadIO(pci.PortConfigData, buf[:])
		port.WriteIO(pci.PortConfigData, buf[:])
	})
}

func BenchmarkNotify(b *testing.B) {
	m, p := withMSIX(b)
	m.program(0, 0xfee00000, 0x41, false)
	m.msixControl(p, enable)
	v := p.MSIX(0)
	b.ReportAllocs()
	for b.Loop() {
		v.Notify()
	}
}

// routes is an interrupt controller with eventfds.
type routes struct {
	devtest.MSI
	list []*route
}

type route struct {
	fd     int
	msg    device.MSIMessage
	masked bool
	closed bool
}

func (r *routes) NewRoute() (device.MSIRoute, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	x := &route{fd: fd}
	r.list = append(r.list, x)
	return x, nil
}

func (r *route) EventFD() int                     { return r.fd }
func (r *route) Update(m device.MSIMessage) error { r.msg = m; return nil }
func (r *route) SetMasked(masked bool) error      { r.masked = masked; return nil }
func (r *route) Close()                           { r.closed = true; _ = unix.Close(r.fd) }

func TestVectorEventFD(t *testing.T) {
	b, p := withMSIX(t)
	if _, err := p.MSIX(0).EventFD(); err != device.ErrNoIRQFD {
		t.Errorf("without routes: %v", err)
	}
	c := &routes{}
	b.Env.MSI = c
	b.program(0, 0xfee00000, 0x41, false)
	b.msixControl(p, enable)
	changes := 0
	p.MSIX(0).OnChange(func() { changes++ })
	fd, err := p.MSIX(0).EventFD()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := p.MSIX(0).EventFD(); again != fd || len(c.list) != 1 {
		t.Error("a second descriptor was made")
	}
	r := c.list[0]
	equal(t, "message", r.msg, device.MSIMessage{Addr: 0xfee00000, Data: 0x41})
	equal(t, "masked", r.masked, false)
	b.Write32(msixTable+12, 1)
	equal(t, "masked", r.masked, true)
	equal(t, "changes", changes, 1)
	if _, err := unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	equal(t, "pending", b.Read32(msixTable+2048), 1)
	b.Write32(msixTable+8, 0x99)
	equal(t, "message", r.msg.Data, 0x99)
	b.msixControl(p, enable|fmask)
	b.Write32(msixTable+12, 0)
	equal(t, "masked by the function", r.masked, true)
	b.msixControl(p, enable)
	equal(t, "open", r.masked, false)
	b.Unplug(p)
	equal(t, "closed", r.closed, true)
}

func TestState(t *testing.T) {
	for _, c := range []struct {
		name  string
		drive func(b *bed, p *probe)
		check func(t *testing.T, b *bed, p *probe)
	}{
		{"idle", func(*bed, *probe) {}, func(*testing.T, *bed, *probe) {}},
		{"mapped", func(b *bed, p *probe) {
			b.setCfg32(4, 0x18, 0xfe000000)
			b.command(4, pci.CommandMemory|pci.CommandMaster)
			p.SetINTx(true)
		}, func(t *testing.T, b *bed, p *probe) {
			equal(t, "memory", b.Read8(0xfe000000), 0)
			equal(t, "pin", b.intx[1], true)
			equal(t, "bus master", p.DMA().Enabled(), true)
		}},
		{"MSI-X", func(b *bed, p *probe) {
			b.setCfg32(4, 0x14, msixTable)
			b.command(4, pci.CommandMemory|pci.CommandMaster)
			b.program(0, 0xfee00000, 0x41, false)
			b.program(3, 0xfee00000, 0x44, true)
			b.msixControl(p, enable)
			p.MSIX(3).Notify()
		}, func(t *testing.T, b *bed, p *probe) {
			b.sent(t, "loading")
			p.MSIX(0).Notify()
			b.Write32(msixTable+3*16+12, 0)
			b.sent(t, "loaded", device.MSIMessage{Addr: 0xfee00000, Data: 0x41}, device.MSIMessage{Addr: 0xfee00000, Data: 0x44})
		}},
		{"MSI", func(b *bed, p *probe) {
			off := p.FindCapability(pci.CapMSI)
			b.command(4, pci.CommandMaster)
			b.setCfg32(4, off+4, 0xfee00000)
			b.setCfg32(4, off+16, 2)
			b.setCfg16(4, off+2, 1|2<<4)
			p.MSI(1).Notify()
		}, func(t *testing.T, b *bed, p *probe) {
			b.setCfg32(4, p.FindCapability(pci.CapMSI)+16, 0)
			b.sent(t, "loaded", device.MSIMessage{Addr: 0xfee00000, Data: 1})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var beds []*bed
			var probes []*probe
			_, _ = devtest.RoundTrip(t, func(m *devtest.Machine) {
				b := onto(m)
				beds, probes = append(beds, b), append(probes, b.probe("addr", "4"))
			}, func(*devtest.Machine) { c.drive(beds[0], probes[0]) })
			beds[0].MSI.Sent()
			c.check(t, beds[1], probes[1])
		})
	}
}

func fuzzBed(m *devtest.Machine) (b *bed, probes [2]*probe) {
	b = onto(m)
	probes = [2]*probe{b.probe("addr", "4", "vectors", "70"), b.probe("addr", "5")}
	for _, slot := range []int{4, 5} {
		b.setCfg32(slot, 0x10, uint32(0xc000+32*slot))
		b.setCfg32(slot, 0x14, uint32(0xfd000000+0x10000*slot))
		b.command(slot, pci.CommandIO|pci.CommandMemory|pci.CommandMaster)
	}
	return b, probes
}

var fuzzRanges = []devtest.Range{
	devtest.Ports(pci.PortConfigAddress, 8), devtest.Ports(pci.PortConfigData, 4), devtest.Ports(0xc000, 0x100),
	devtest.MMIO(0xfd040000, 0x2000), devtest.MMIO(0xfd050000, 0x1000),
}

// TestPastIsForgotten loads a state into a function with an interrupt of its own
// pending, as loading a snapshot into a machine that has run does.
func TestPastIsForgotten(t *testing.T) {
	var beds [2]*bed
	var probes [2]*probe
	for i := range beds {
		beds[i] = newBed(t)
		b := beds[i]
		probes[i] = b.probe("addr", "4")
		off := probes[i].FindCapability(pci.CapMSI)
		b.command(4, pci.CommandMaster)
		b.setCfg32(4, off+4, 0xfee00000)
		b.setCfg32(4, off+16, 2)
		b.setCfg16(4, off+2, 1|2<<4)
	}
	probes[1].MSI(1).Notify()
	equal(t, "pending", beds[1].cfg32(4, probes[1].FindCapability(pci.CapMSI)+20), 2)
	beds[0].Do(func() {
		if err := state.RoundTrip(beds[0].Env.State, beds[1].Env.State); err != nil {
			t.Error(err)
		}
	})
	equal(t, "pending", beds[1].cfg32(4, probes[1].FindCapability(pci.CapMSI)+20), 0)
}

func TestTwin(t *testing.T) {
	ranges := []devtest.Range{
		devtest.Ports(pci.PortConfigAddress, 8), devtest.Ports(pci.PortConfigData, 4),
		devtest.MMIO(0xfd040000, 0x2000), devtest.MMIO(0xfd050000, 0x1000),
	}
	devtest.Twin(t, func(m *devtest.Machine) {
		b, probes := fuzzBed(m)
		pick := func(n uint64) *probe { return probes[n&1] }
		m.AddWatch(func() any { return b.intx })
		m.AddWatch(func() any { return [2]bool{probes[0].DMA().Enabled(), probes[1].DMA().Enabled()} })
		m.AddAction(func(next func(int) uint64) uint64 {
			devfn, off := uint8(4+next(1)&1)<<3, int(next(1))
			b.pci.WriteConfig(0, devfn, off, 1, uint32(next(1)))
			return uint64(b.pci.ReadConfig(0, devfn, off&^3, 4))
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			n := next(1)
			pick(n).SetINTx(n&2 != 0)
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 { // bring the function back into a usable condition
			n := next(1)
			slot := 4 + int(n&1)
			p := pick(n)
			b.command(slot, uint16(n>>1)&pci.CommandINTxDisable|pci.CommandIO|pci.CommandMemory|pci.CommandMaster)
			b.setCfg32(slot, 0x14, uint32(0xfd000000+0x10000*slot))
			b.setCfg16(slot, p.FindCapability(pci.CapMSIX)+2, uint16(next(1))<<8)
			b.setCfg16(slot, p.FindCapability(pci.CapMSI)+2, uint16(next(1)))
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			p := pick(next(1))
			p.MSIX(int(next(1)) % p.MSIXVectors()).Notify()
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			pick(next(1)).MSI(int(next(1)) & 3).Notify()
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 { // mask bits
			n := next(1)
			b.setCfg32(4+int(n&1), pick(n).FindCapability(pci.CapMSI)+16, uint32(next(1)))
			return uint64(b.cfg32(4+int(n&1), pick(n).FindCapability(pci.CapMSI)+20))
		})
	}, ranges...)
}

func FuzzAccess(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { fuzzBed(m) }, fuzzRanges...)
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) { fuzzBed(m) }, fuzzRanges...)
}

// FuzzConfig aims at the functions' own registers, which random addresses miss.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("\x40\x10\x00\x00\x00\xfd\x40\x04\x06\x00\x00\x00\x48\x18\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBed(t)
		p := b.probe("addr", "0")
		for i := 0; i < 500 && len(data) >= 6; i++ {
			size := 1 << (data[0] & 3 % 3)
			off := int(data[1]) &^ (size - 1)
			v := uint32(data[2]) | uint32(data[3])<<8 | uint32(data[4])<<16 | uint32(data[5])<<24
			b.pci.WriteConfig(0, 0, off, size, v)
			b.pci.ReadConfig(0, 0, off, size)
			switch data[0] >> 4 {
			case 1:
				p.MSIX(int(data[5]) % 5).Notify()
			case 2:
				p.MSI(int(data[5]) % 4).Notify()
			case 3:
				p.SetINTx(data[5]&1 != 0)
			case 4:
				b.Reset(p)
			}
			data = data[6:]
		}
		b.Advance(time.Second)
		b.Unplug(p)
		if b.intx != ([4]bool{}) {
			t.Error("a pin is high without a device")
		}
	})
}
