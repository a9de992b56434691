package ide_test

import (
	"encoding/binary"
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/drive/drivetest"
	"govmd/internal/device/ide"
	"govmd/internal/device/pci"
)

const (
	primary   = 0x1f0
	secondary = 0x170
	bmBase    = 0xc000
	slot      = 1<<3 | 1

	prdTable = 0x1000
	dmaMem   = 0x100000
)

// rig is a machine with a PIIX3's IDE function, whose bus-master ports are mapped.
type rig struct {
	*devtest.Machine
	pci *pci.Bus
	fn  ide.Function
	hd  *drivetest.Drive // ide.0, unit 0
	cd  *drivetest.Drive // ide.1, unit 0
}

func onto(m *devtest.Machine) *rig {
	r := &rig{Machine: m}
	var bus *device.Bus
	m.Do(func() {
		mem := m.Env.Memory.NewContainer("pci", 0)
		if err := m.Env.Mem.Root().AddOverlap(0, mem, -1); err != nil {
			m.TB.Fatal(err)
		}
		r.pci = pci.NewRoot(pci.RootConfig{Name: "pci.0", Mem: mem, IO: m.Env.IO.Root()})
		bus = device.NewRootBus(pci.BusKind, "pci.0", r.pci)
	})
	d, err := m.Create(ide.PIIX3Type, "", "addr", "1.1")
	if err != nil {
		m.TB.Fatal(err)
	}
	r.fn = d.(ide.Function)
	r.fn.SetIRQs(m.IRQ[14].Pin, m.IRQ[15].Pin)
	if err := m.Insert(bus, d); err != nil {
		m.TB.Fatal(err)
	}
	r.setup()
	return r
}

// setup does what firmware does.
func (r *rig) setup() {
	r.pci.WriteConfig(0, slot, 0x20, 4, bmBase)
	r.pci.WriteConfig(0, slot, 4, 2, 5)
}

const diskSize = 1 << 20

// newRig has a disk of 1 MiB and a CD-ROM of 256 KiB.
func newRig(t testing.TB, props ...string) *rig { return full(devtest.New(t), props...) }

func full(m *devtest.Machine, props ...string) *rig {
	r := onto(m)
	r.hd = drivetest.New(m, "disk0", drivetest.Pattern(diskSize))
	r.cd = drivetest.New(m, "cd0", drivetest.Pattern(256<<10))
	m.Plug(r.fn.IDEBus(0), "ide-hd", "", append([]string{"drive", "disk0"}, props...)...)
	m.Plug(r.fn.IDEBus(1), "ide-cd", "", "drive", "cd0")
	return r
}

func (r *rig) status(base uint16) uint8 { return r.In8(base + 7) }

// command writes the registers of a 28-bit command to drive 0 and starts it.
func (r *rig) command(base uint16, cmd byte, lba, count int) {
	r.Out8(base+6, 0xe0|byte(lba>>24))
	r.Out8(base+2, byte(count))
	r.Out8(base+3, byte(lba))
	r.Out8(base+4, byte(lba>>8))
	r.Out8(base+5, byte(lba>>16))
	r.Out8(base+7, cmd)
}

// ext is command with 48 bits.
func (r *rig) ext(base uint16, cmd byte, lba int64, count int) {
	r.Out8(base+6, 0xe0)
	for _, shift := range []int{24, 0} {
		r.Out8(base+2, byte(count>>(8*(shift/24))))
		r.Out8(base+3, byte(lba>>shift))
		r.Out8(base+4, byte(lba>>(shift+8)))
		r.Out8(base+5, byte(lba>>(shift+16)))
	}
	r.Out8(base+7, cmd)
}

// in reads n bytes from the data port.
func (r *rig) in(base uint16, n int) []byte {
	var p []byte
	for len(p) < n {
		p = binary.LittleEndian.AppendUint16(p, r.In16(base))
	}
	return p
}

func (r *rig) out(base uint16, p []byte) {
	for ; len(p) > 0; p = p[2:] {
		r.Out16(base, binary.LittleEndian.Uint16(p))
	}
}

// expect checks the status, which acknowledges the interrupt.
func (r *rig) expect(base uint16, want uint8, what string) {
	r.TB.Helper()
	if got := r.status(base); got != want {
		r.TB.Fatalf("%s: status %#02x, error %#02x; want %#02x", what, got, r.In8(base+1), want)
	}
}

// irq checks that the channel's interrupt has come n times since the last call.
func (r *rig) irq(n, want int, what string) {
	r.TB.Helper()
	if got := r.IRQ[n].Rises(); got != want {
		r.TB.Fatalf("%s: %d interrupts, want %d", what, got, want)
	}
}

// prd writes a table of regions: address and size, and so on.
func (r *rig) prd(regions ...uint32) {
	var p []byte
	for i := 0; i < len(regions); i += 2 {
		p = binary.LittleEndian.AppendUint32(p, regions[i])
		size := regions[i+1] & 0xffff
		if i+2 == len(regions) {
			size |= 1 << 31
		}
		p = binary.LittleEndian.AppendUint32(p, size)
	}
	r.WriteMem(prdTable, p)
}

func channelOf(base uint16) uint16 {
	if base == secondary {
		return 8
	}
	return 0
}

// dma starts the bus master; toGuest is the direction.
func (r *rig) dma(base uint16, toGuest bool) {
	bm := bmBase + channelOf(base)
	r.Out32(bm+4, prdTable)
	cmd := uint8(0)
	if toGuest {
		cmd = 8
	}
	r.Out8(bm, cmd)
	r.Out8(bm+2, 6)
	r.Out8(bm, cmd|1)
}

func (r *rig) bmStatus(base uint16) uint8 { return r.In8(bmBase + channelOf(base) + 2) }

// packet sends a packet and leaves its data phase to the caller.
func (r *rig) packet(code ...byte) { r.packetOn(false, code...) }

func (r *rig) packetOn(dma bool, code ...byte) {
	r.TB.Helper()
	r.Out8(secondary+6, 0xa0)
	feature := byte(0)
	if dma {
		feature = 1
	}
	r.Out8(secondary+1, feature)
	r.Out8(secondary+4, 0xfe)
	r.Out8(secondary+5, 0xff)
	r.Out8(secondary+7, 0xa0)
	r.expect(secondary, 0x58, "a packet is wanted")
	r.out(secondary, append(code, make([]byte, 12-len(code))...))
}

// reply sends a packet and reads all of its reply by PIO; nil means that it failed.
func (r *rig) reply(code ...byte) []byte {
	r.TB.Helper()
	r.packet(code...)
	var p []byte
	for {
		switch s := r.status(secondary); {
		case s&1 != 0:
			return nil
		case s&8 == 0:
			if p == nil {
				p = []byte{}
			}
			return p
		}
		n := int(r.In8(secondary+4)) | int(r.In8(secondary+5))<<8
		if n == 0 || len(p) > 1<<20 {
			r.TB.Fatalf("a block of %d bytes after %d", n, len(p))
		}
		p = append(p, r.in(secondary, n)[:n]...)
	}
}

// sense fetches sense key and additional code.
func (r *rig) sense() (key, asc byte) {
	r.TB.Helper()
	p := r.reply(3, 0, 0, 0, 18)
	return p[2] & 15, p[12]
}
