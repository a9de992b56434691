package virtiotest

import (
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/virtio"
	"govmd/internal/device/virtio/mmio"
	"govmd/internal/object"
)

// MMIOBase is where a rig's virtio-mmio transport has its registers.
const MMIOBase = 0xfeb00000

// PlugMMIO adds a virtio-mmio transport to a machine.
func PlugMMIO(m *devtest.Machine, base uint64, legacy bool) (*mmio.Transport, *devtest.Probe) {
	m.TB.Helper()
	d, err := device.Create("virtio-mmio", "")
	if err != nil {
		m.TB.Fatal(err)
	}
	t := d.(*mmio.Transport)
	line := devtest.NewProbe("mmio")
	t.Base, t.Pin = base, line.Pin
	if err := object.Set(t, "force-legacy", legacy); err != nil {
		m.TB.Fatal(err)
	}
	if err := m.Insert(nil, t); err != nil {
		m.TB.Fatal(err)
	}
	m.TB.Cleanup(func() { m.Unplug(t) }) // the device's thread ends
	return t, line
}

// NewMMIO returns a rig with a virtio-mmio transport and a device on it.
func NewMMIO(tb testing.TB, legacy bool, kind string, props ...string) *Rig {
	tb.Helper()
	return MMIOOn(devtest.New(tb), legacy, kind, props...)
}

// MMIOOn is NewMMIO on a machine that exists.
func MMIOOn(m *devtest.Machine, legacy bool, kind string, props ...string) *Rig {
	m.TB.Helper()
	t, line := PlugMMIO(m, MMIOBase, legacy)
	d := m.Plug(t.Bus(), kind+"-device", "dev0", props...)
	return &Rig{
		Machine: m, Core: d.(virtio.Device).Virtio(), Outer: d, Line: line,
		Driver: &MMIO{M: m, Base: MMIOBase, Legacy: legacy},
	}
}

// MMIO drives virtio-mmio.
type MMIO struct {
	M      *devtest.Machine
	Base   uint64
	Legacy bool
}

// Reg reads a register.
func (d *MMIO) Reg(off uint64) uint32 { return d.M.Read32(d.Base + off) }

// SetReg writes a register.
func (d *MMIO) SetReg(off uint64, v uint32) { d.M.Write32(d.Base+off, v) }

// Modern implements Driver.
func (d *MMIO) Modern() bool { return !d.Legacy }

// DeviceID implements Driver.
func (d *MMIO) DeviceID() uint32 { return d.Reg(0x008) }

// Status implements Driver.
func (d *MMIO) Status() uint8 { return uint8(d.Reg(0x070)) }

// SetStatus implements Driver.
func (d *MMIO) SetStatus(v uint8) { d.SetReg(0x070, uint32(v)) }

// Offered implements Driver.
func (d *MMIO) Offered() uint64 {
	d.SetReg(0x014, 1)
	hi := d.Reg(0x010)
	d.SetReg(0x014, 0)
	return uint64(hi)<<32 | uint64(d.Reg(0x010))
}

// Accept implements Driver.
func (d *MMIO) Accept(f uint64) {
	d.SetReg(0x024, 1)
	d.SetReg(0x020, uint32(f>>32))
	d.SetReg(0x024, 0)
	d.SetReg(0x020, uint32(f))
}

// QueueMax implements Driver.
func (d *MMIO) QueueMax(n int) uint16 {
	d.SetReg(0x030, uint32(n))
	return uint16(d.Reg(0x034))
}

// Setup implements Driver.
func (d *MMIO) Setup(n int, r *Ring) {
	d.SetReg(0x030, uint32(n))
	d.SetReg(0x038, uint32(r.Size))
	if d.Legacy {
		d.SetReg(0x028, 4096)
		d.SetReg(0x03c, 4096)
		d.SetReg(0x040, uint32(r.Desc>>12))
		return
	}
	for off, addr := range map[uint64]uint64{0x080: r.Desc, 0x090: r.Avail, 0x0a0: r.Used} {
		d.SetReg(off, uint32(addr))
		d.SetReg(off+4, uint32(addr>>32))
	}
	d.SetReg(0x044, 1)
}

// Notify implements Driver.
func (d *MMIO) Notify(n int) { d.SetReg(0x050, uint32(n)) }

// ISR implements Driver.
func (d *MMIO) ISR() uint8 {
	v := d.Reg(0x060)
	d.SetReg(0x064, v)
	return uint8(v)
}

// ReadConfig implements Driver.
func (d *MMIO) ReadConfig(off uint64, size int) uint64 {
	switch size {
	case 1:
		return uint64(d.M.Read8(d.Base + 0x100 + off))
	case 2:
		return uint64(d.M.Read16(d.Base + 0x100 + off))
	case 8:
		return d.M.Read64(d.Base + 0x100 + off)
	}
	return uint64(d.M.Read32(d.Base + 0x100 + off))
}

// WriteConfig implements Driver.
func (d *MMIO) WriteConfig(off uint64, size int, v uint64) {
	switch size {
	case 1:
		d.M.Write8(d.Base+0x100+off, uint8(v))
	case 2:
		d.M.Write16(d.Base+0x100+off, uint16(v))
	case 8:
		d.M.Write64(d.Base+0x100+off, v)
	default:
		d.M.Write32(d.Base+0x100+off, uint32(v))
	}
}
