// Package nvme is the device "nvme", an NVM Express 1.4 controller with one namespace.
// Section numbers are the specification's.
//
// A vCPU's write to a doorbell notes the value and wakes the controller's thread, which
// fetches and begins commands; those for the medium end on a goroutine of the block
// layer, or on the thread. Registers that make or unmake queues keep the thread out
// meanwhile (Worker.Exclude), and never wait for storage: a reset leaves requests that
// are under way to end by themselves.
//
// Locks: the thread's, then mu, then a completion queue's, then that of the interrupt.
package nvme

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/device/drive"
	"govmd/internal/device/pci"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/worker"
)

// TypeName is the device's type.
const TypeName = "nvme"

const (
	maxEntries  = 2048 // of a queue
	maxQueues   = 2048 // of a kind, the administrator's among them
	doorbells   = 0x1000
	namespaceID = 1

	vendorID        = 0x1b36 // Red Hat, of whom guests know this function
	subsystemVendor = 0x1af4

	msixTable = 0x2000 // in base address register 0; the pending bits are behind it
)

// Device is the controller.
type Device struct {
	pci.Device

	// properties
	conf         drive.Conf
	ioQueues     uint32
	vectors      uint16
	mdts         uint8 // the largest transfer: pages of 4 KiB, as a power of two
	aerLimit     uint8 // asynchronous event requests at once, less one
	aerMaxQueued uint32

	backend *block.Backend
	queue   *block.Queue
	worker  *worker.Worker
	wake    *worker.Source
	thread  *block.Thread
	dma     *memory.DMA
	cache   bool // the write cache as it is configured
	held    atomic.Bool
	pool    pool

	mu       sync.Mutex // guards what follows
	regs     registers
	features features
	sqs      []*submission // by number; changed with no queue being served, or on the thread
	cqs      []*completion
	events   events
	epoch    uint32 // counts resets

	irqMu   sync.Mutex // guards what follows
	masked  uint32     // INTMS
	pending []int      // entries that were not taken, of the vectors
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	if err := d.check(); err != nil {
		return err
	}
	if err := d.Setup(pci.Identity{Vendor: vendorID, Device: 0x0010, Revision: 2, Class: 0x010802, InterruptPin: 1}); err != nil {
		return err
	}
	b, err := d.conf.Open(&d.Base, medium{d}, drive.Needs{Resizable: true})
	if err != nil {
		return err
	}
	switch {
	case d.conf.Serial == "":
		return errors.New("serial property not set")
	case d.conf.LogicalBlock > 4096:
		return errors.New("logical_block_size must be 512 to 4096 for nvme")
	}
	b.EnableIOStatus()
	d.backend, d.cache = b, b.WriteCache()
	d.queue = b.NewQueue(d.Describe(), 0)
	d.Defer(func() { b.CloseQueue(d.queue) })
	if err := d.startThread(); err != nil {
		return err
	}
	d.dma = d.DMA()
	d.pool.device = d
	d.sqs = make([]*submission, d.ioQueues+1)
	d.cqs = make([]*completion, d.ioQueues+1)
	d.pending = make([]int, d.vectors)
	d.regs, d.features = registers{}, defaults()
	if err := d.layOut(); err != nil {
		return err
	}
	run := d.Env().Run
	d.held.Store(!run.Running())
	d.Defer(run.AddNotifier(runPriority, d.runChanged))
	return nil
}

func (d *Device) startThread() (err error) {
	if d.worker, err = worker.New(d.Describe()); err != nil {
		return err
	}
	d.Defer(d.worker.Close)
	if d.wake, err = d.worker.Add(d.serve); err != nil {
		return err
	}
	if d.thread, err = block.NewThread(d.worker); err != nil {
		return err
	}
	d.Defer(d.thread.Close)
	d.worker.Start()
	return nil
}

// runPriority is where queues stand among those who act on starts and stops.
const runPriority = 10

// layOut makes what the guest sees in base address register 0: registers and
// doorbells, and behind them the MSI-X table and its pending bits.
func (d *Device) layOut() error {
	end := uint32(doorbells + 8*(d.ioQueues+1))
	table := max(msixTable, (end+4095)&^4095)
	pba := table + (uint32(d.vectors)*16+4095)&^4095
	size := uint64(0x4000)
	for size < uint64(pba)+4096 {
		size *= 2
	}
	m := d.Env().Memory
	bar := m.NewContainer("nvme-bar0", size)
	io := m.NewIO("nvme", uint64(table), mmio{d}, memory.Spec{Min: 2, Max: 8, ImplMin: 4, ImplMax: 4})
	if err := bar.Add(0, io); err != nil {
		return err
	}
	if err := d.RegisterBAR(0, pci.BARMem64, bar); err != nil {
		return err
	}
	return d.EnableMSIX(int(d.vectors), 0, table, pba)
}

func (d *Device) check() error {
	switch {
	case d.conf.Drive == "":
		return errors.New("drive property not set")
	case d.ioQueues < 1 || d.ioQueues >= maxQueues:
		return fmt.Errorf("max_ioqpairs must be between 1 and %d", maxQueues-1)
	case d.vectors < 1 || d.vectors > 2048:
		return errors.New("msix_qsize must be between 1 and 2048")
	case d.mdts < 1 || d.mdts > 9:
		return errors.New("mdts must be between 1 and 9")
	case d.aerMaxQueued < 1 || d.aerMaxQueued > 1024:
		return errors.New("aer_max_queued must be between 1 and 1024")
	}
	return nil
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {
	d.Device.Unrealize()
	d.worker.Exclude(func() { d.held.Store(true) })
	d.backend.CancelParked()
	_ = d.queue.Wait(context.Background()) // it cannot end early
	d.worker.Exclude(d.disable)
}

// ResetEnter implements device.ResetEnterer.
func (d *Device) ResetEnter() {
	d.Device.ResetEnter()
	d.worker.Exclude(func() {
		d.disable()
		d.mu.Lock()
		d.regs = registers{}
		d.mu.Unlock()
	})
	d.backend.ResetIOStatus()
}

// runChanged follows the run state: while the machine is stopped nothing is taken from
// the queues.
func (d *Device) runChanged(running bool, _ runstate.State) {
	d.worker.Exclude(func() { d.held.Store(!running) })
	if running {
		d.wake.Kick()
	}
}

// BootIndex implements device.Booter.
func (d *Device) BootIndex() (index int, suffix string) {
	return int(d.conf.BootIndex), fmt.Sprintf("/namespace@%d,0", namespaceID)
}

// medium is what the drive calls.
type medium struct{ d *Device }

// BlockDeviceName implements block.Device.
func (m medium) BlockDeviceName() string { return drive.Name(m.d) }

// MediumChanged implements block.Device: the medium stays as long as the device.
func (m medium) MediumChanged(bool) {}

// MediumResized implements block.Device.
func (m medium) MediumResized() {
	if m.d.Realized() {
		m.d.namespaceChanged()
	}
}

func init() {
	conf := func(d *Device) *drive.Conf { return &d.conf }
	props := append(drive.Props(conf), drive.ErrorProps(conf)...)
	pci.Register(object.Type{
		Name: TypeName, UserCreatable: true, Hotpluggable: true, Description: "Non-Volatile Memory Express",
		New: func() object.Object { return &Device{} },
		Props: append(props, drive.SerialProp(conf), drive.BootIndexProp(conf),
			object.Int("max_ioqpairs", func(d *Device) *uint32 { return &d.ioQueues }, 64, "pairs of queues"),
			object.Int("msix_qsize", func(d *Device) *uint16 { return &d.vectors }, 65, "MSI-X vectors"),
			object.Int("mdts", func(d *Device) *uint8 { return &d.mdts }, 7, "largest transfer: pages of 4 KiB, as a power of two"),
			object.Int("aerl", func(d *Device) *uint8 { return &d.aerLimit }, 3, "asynchronous event requests at once, less one"),
			object.Int("aer_max_queued", func(d *Device) *uint32 { return &d.aerMaxQueued }, 64, "events that wait for a request"),
		),
	})
}
