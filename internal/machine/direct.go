package machine

import (
	"io"

	"govmd/internal/machine/boot"
	"govmd/internal/machine/smbios"
	"govmd/internal/memory"
)

// directBoot starts a kernel without firmware: at each reset it sets the board
// up, copies kernel, initrd and tables into memory again, and enters the kernel.
type directBoot struct {
	m     *Machine
	setup func()
	mem   *guestMemory
	plans []*boot.Plan
	entry *boot.Entry
	cpu   int
	facs  uint64
	fresh bool // memory is as it was mapped: all zeros
}

// planDirect decides what goes where. The files stay open as long as the machine
// lives, for it may be reset when they have long been deleted or replaced.
func (m *Machine) planDirect(p bootParts, sm *smbios.Tables) error {
	mem := boot.DirectMap(p.layout.below, p.layout.above)
	tables, err := boot.PlaceTables(&mem, p.tables, sm)
	if err != nil {
		return err
	}
	c := m.Board.common()
	k := boot.Kernel{Cmdline: p.cmdline, Memory: mem, RSDP: tables.RSDP}
	if k.Image, err = m.openImage("kernel image", c.kernel); err != nil {
		return err
	}
	if c.initrd != "" {
		if k.Initrd, err = m.openImage("initrd", c.initrd); err != nil {
			return err
		}
	}
	plan, err := k.Plan()
	if err != nil {
		return err
	}
	d := &directBoot{
		m: m, setup: p.setup, facs: tables.FACS, entry: plan.Entry, cpu: plan.CPU, fresh: true,
		mem:   &guestMemory{m.mem.NewDMA("boot")},
		plans: []*boot.Plan{{Segments: append(tables.Segments, boot.ResetStub())}, plan},
	}
	m.boot = d
	return nil
}

func (m *Machine) openImage(what, name string) (*boot.Image, error) {
	img, f, err := boot.OpenImage(what, name)
	if err != nil {
		return nil, err
	}
	m.onClose(func() { _ = f.Close() })
	return img, nil
}

// reset implements bootSource.
func (d *directBoot) reset() error {
	if d.setup != nil {
		d.setup()
	}
	for _, p := range d.plans {
		if err := p.Load(d.mem, d.fresh); err != nil {
			return err
		}
	}
	d.fresh = false
	return d.enter(d.cpu, d.entry)
}

// wake implements bootSource: memory is the guest's own.
func (d *directBoot) wake() error {
	if d.setup != nil {
		d.setup()
	}
	entry, err := boot.Wake(d.mem, d.facs)
	if err != nil {
		return err
	}
	return d.enter(0, entry)
}

// enter sets the interrupt controllers and every vCPU up as firmware would have, and one of them to begin.
func (d *directBoot) enter(cpu int, e *boot.Entry) error {
	if err := d.m.Accel.MaskPICs(); err != nil {
		return err
	}
	for _, c := range d.m.cpus {
		if err := c.withoutFirmware(); err != nil {
			return err
		}
	}
	return d.m.cpus[cpu].enter(e)
}

// guestMemory is guest-physical memory as files are.
type guestMemory struct{ dma *memory.DMA }

// WriteAt implements boot.Memory.
func (g *guestMemory) WriteAt(p []byte, addr int64) (int, error) {
	if err := g.dma.Write(uint64(addr), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ReadAt implements io.ReaderAt.
func (g *guestMemory) ReadAt(p []byte, addr int64) (int, error) {
	if err := g.dma.Read(uint64(addr), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// LoadFile implements boot.FileLoader: it reads straight into guest memory.
func (g *guestMemory) LoadFile(addr uint64, file io.ReaderAt, offset, size int64) error {
	pieces, err := g.dma.BorrowVec(addr, uint64(size), true, nil)
	if err != nil {
		return err
	}
	for _, b := range pieces {
		n := 0
		if err == nil {
			n, err = file.ReadAt(b.Bytes(), offset)
			if n == len(b.Bytes()) {
				err = nil
			}
			offset += int64(n)
		}
		b.Release(uint64(n))
	}
	return err
}
