package ahci_test

import (
	"encoding/binary"
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/ahci"
	"govmd/internal/device/devtest"
	"govmd/internal/device/drive/drivetest"
	"govmd/internal/device/pci"
)

const (
	base = 0xfe000000
	slot = 4 << 3

	// Where the guest keeps what belongs to port 0; that of port 1 is pageSize on.
	list     = 0x10000
	received = 0x11000
	tables   = 0x12000 // one for each slot, 0x400 apart
	perPort  = 0x20000
	dmaMem   = 0x100000

	diskSize = 1 << 20
)

type rig struct {
	*devtest.Machine
	pci    *pci.Bus
	dev    device.Device
	hd, cd *drivetest.Drive
}

func newRig(t testing.TB, props ...string) *rig { return full(devtest.New(t), props...) }

func full(m *devtest.Machine, props ...string) *rig {
	r := &rig{Machine: m}
	var bus *device.Bus
	m.Do(func() {
		mem := m.Env.Memory.NewContainer("pci", 0)
		if err := m.Env.Mem.Root().AddOverlap(0, mem, -1); err != nil {
			m.TB.Fatal(err)
		}
		r.pci = pci.NewRoot(pci.RootConfig{Name: "pci.0", Mem: mem, IO: m.Env.IO.Root()})
		line := m.IRQ[11].Pin.Connect("pci")
		r.pci.RouteINTx(func(_ int, high bool) { line.SetLevel(high) })
		bus = device.NewRootBus(pci.BusKind, "pci.0", r.pci)
	})
	r.dev = m.Plug(bus, ahci.TypeName, "sata", "addr", "4")
	r.hd = drivetest.New(m, "disk0", drivetest.Pattern(diskSize))
	r.cd = drivetest.New(m, "cd0", drivetest.Pattern(256<<10))
	buses := r.dev.Dev().ChildBuses()
	m.Plug(buses[0], "ide-hd", "", append([]string{"drive", "disk0"}, props...)...)
	m.Plug(buses[1], "ide-cd", "", "drive", "cd0")
	r.setup()
	return r
}

// setup does what firmware and a driver do.
func (r *rig) setup() {
	r.pci.WriteConfig(0, slot, 0x24, 4, base)
	r.pci.WriteConfig(0, slot, 4, 2, 6)
	r.Write32(base+4, 1<<31|2)
	for n := range uint64(2) {
		r.px(int(n), 0x00, uint32(list+n*perPort))
		r.px(int(n), 0x08, uint32(received+n*perPort))
		r.px(int(n), 0x18, 0x16) // FRE
		r.px(int(n), 0x30, 0xffffffff)
		r.px(int(n), 0x10, 0xffffffff)
		r.px(int(n), 0x14, 0x7dc0007f)
		r.px(int(n), 0x18, 0x17)
	}
	r.Write32(base+8, 0xffffffff)
}

// px writes a port's register, get reads it.
func (r *rig) px(n int, reg uint64, v uint32) { r.Write32(base+0x100+uint64(n)*0x80+reg, v) }
func (r *rig) get(n int, reg uint64) uint32   { return r.Read32(base + 0x100 + uint64(n)*0x80 + reg) }
func (r *rig) fis(n int, at uint64, size int) []byte {
	return r.ReadMem(received+uint64(n)*perPort+at, size)
}

// command is a command to be put into a slot.
type command struct {
	cmd     byte
	feature byte
	lba     int64
	count   int
	device  byte
	write   bool
	packet  []byte
	raw     []byte   // the FIS, if it is none of the usual
	regions []uint32 // address and size, and so on
}

// fill writes a command into a slot.
func (r *rig) fill(n, s int, c command) {
	table := uint64(tables + n*perPort + s*0x400)
	flags := uint16(5)
	if c.write {
		flags |= 1 << 6
	}
	if c.packet != nil {
		flags |= 1 << 5
	}
	h := binary.LittleEndian.AppendUint16(nil, flags)
	h = binary.LittleEndian.AppendUint16(h, uint16(len(c.regions)/2))
	h = binary.LittleEndian.AppendUint32(h, 0)
	h = binary.LittleEndian.AppendUint64(h, table)
	r.WriteMem(uint64(list+n*perPort+s*32), h)
	f := make([]byte, 0x80)
	f[0], f[1], f[2], f[3] = 0x27, 0x80, c.cmd, c.feature
	f[4], f[5], f[6], f[7] = byte(c.lba), byte(c.lba>>8), byte(c.lba>>16), c.device|0x40
	f[8], f[9], f[10] = byte(c.lba>>24), byte(c.lba>>32), byte(c.lba>>40)
	f[12], f[13] = byte(c.count), byte(c.count>>8)
	if c.raw != nil {
		copy(f, c.raw)
	}
	copy(f[0x40:], c.packet)
	for i := 0; i < len(c.regions); i += 2 {
		f = binary.LittleEndian.AppendUint32(f, c.regions[i])
		f = binary.LittleEndian.AppendUint64(f, 0)
		f = binary.LittleEndian.AppendUint32(f, c.regions[i+1]-1)
	}
	r.WriteMem(table, f)
}

// queue fills a slot with a queued command, whose tag is the slot's number.
func (r *rig) queue(s int, write bool, lba int64, sectors int, regions ...uint32) {
	c := command{cmd: 0x60, lba: lba, count: s << 3, feature: byte(sectors), write: write, regions: regions}
	if write {
		c.cmd = 0x61
	}
	r.fill(0, s, c)
}

// run executes a command and returns the status and error.
func (r *rig) run(n int, c command) (status, err byte) {
	r.fill(n, 0, c)
	r.px(n, 0x38, 1)
	tfd := r.get(n, 0x20)
	return byte(tfd), byte(tfd >> 8)
}

// recover does what a driver does after an error.
func (r *rig) recover(n int) {
	r.TB.Helper()
	r.px(n, 0x18, 0x16)
	if v := r.get(n, 0x18); v&(1<<15) != 0 {
		r.TB.Errorf("the list still runs: %#x", v)
	}
	r.px(n, 0x30, 0xffffffff)
	r.px(n, 0x10, 0xffffffff)
	r.px(n, 0x18, 0x17)
}
