package virtio

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"govmd/internal/device"
	"govmd/internal/device/virtio/virtq"
	"govmd/internal/iothread"
	"govmd/internal/memory"
	"govmd/internal/runstate"
	"govmd/internal/worker"
)

// Core is the part of device code that is the same in all. Device code embeds it.
type Core struct {
	device.Base

	info      Info
	common    uint64 // features chosen by properties
	transport Transport
	dma       *memory.DMA
	worker    *worker.Worker
	queues    []*Queue

	mu       sync.Mutex // guards the registers: all below but the atomics' readers
	offered  uint64
	wanted   uint64 // what the driver has written
	features uint64 // what is in force
	status   uint8
	active   bool // the transport has been told that queues are in use

	started    atomic.Bool // the worker has its thread
	live       atomic.Bool // queues may be served
	broken     atomic.Bool
	held       atomic.Bool   // the machine is stopped, or the device goes
	gone       bool          // Quiesce has been called; the lane's
	epoch      atomic.Uint32 // counts resets
	generation atomic.Uint32

	configMu sync.Mutex // guards the two buffers; before device code's lock
	config   []byte
	scratch  [8]byte
}

// Info is what device code says about itself.
type Info struct {
	ID         uint16 // the device's number (5)
	Features   uint64 // the device's own feature bits
	ConfigSize int    // of the configuration space, in bytes
	// Worker is the thread that serves the queues, others' too; nil for one of the
	// device's own.
	Worker *worker.Worker
}

// runPriority is where queues stand among those who act on starts and stops.
const runPriority = 10

// Virtio returns c, which makes what embeds it a Device.
func (c *Core) Virtio() *Core { return c }

func (c *Core) self() Device { return c.Object().(Device) }

// Init begins the life of the device; it comes first in Realize. What it makes
// ends with the device.
func (c *Core) Init(info Info) error {
	bus := BusOf(c)
	if bus == nil {
		return fmt.Errorf("%s: no '%s' bus found", c.Describe(), BusKind)
	}
	if err := c.checkProperties(); err != nil {
		return err
	}
	c.info = info
	c.config = make([]byte, info.ConfigSize)
	c.transport = bus.transport
	c.dma = bus.transport.DMA()
	w := info.Worker
	if w == nil {
		var err error
		if w, err = worker.New(c.Title()); err != nil {
			return err
		}
	}
	c.worker = w
	c.started.Store(info.Worker != nil)
	c.queues = nil
	c.Defer(func() {
		c.closeWorker()
		for _, q := range c.queues {
			q.ring.Reset()
		}
	})
	c.offered = info.Features | c.common
	run := c.Env().Run
	c.held.Store(!run.Running())
	c.gone = false
	c.Defer(run.AddNotifier(runPriority, c.runChanged(run.Running())))
	return nil
}

// FindThread returns the worker of the iothread of that ID, which is in use then as
// long as the device; nil, for a thread of the device's own, when id is "".
func (c *Core) FindThread(id string) (*worker.Worker, error) {
	if id == "" {
		return nil, nil
	}
	switch o := c.UseObject(id).(type) {
	case nil:
		return nil, fmt.Errorf("Device '%s' not found", id)
	case *iothread.Thread:
		return o.Worker(), nil
	}
	return nil, errors.New("Invalid parameter type for 'iothread', expected: iothread")
}

// runChanged returns what follows the run state: while the machine is stopped
// nothing is taken from the queues.
func (c *Core) runChanged(running bool) func(bool, runstate.State) {
	return func(now bool, _ runstate.State) {
		if now == running {
			return
		}
		running = now
		if now {
			c.held.Store(false)
			c.KickAll()
		} else {
			// What is under way may still complete on the thread, but nothing is begun.
			c.worker.Exclude(func() { c.held.Store(true) })
		}
	}
}

// closeWorker ends the device's part of its thread: when it has returned no queue
// handler runs or will run.
func (c *Core) closeWorker() {
	if c.info.Worker == nil {
		c.worker.Close()
		return
	}
	for _, q := range c.queues {
		q.close()
	}
}

func (c *Core) checkProperties() error {
	switch {
	case c.common>>FeaturePacked&1 != 0:
		return fmt.Errorf("%s: packed virtqueues are not supported: leave out packed=on", c.Describe())
	case c.common>>FeatureRingReset&1 != 0:
		return fmt.Errorf("%s: reset of single queues is not supported: leave out queue_reset=on", c.Describe())
	}
	return nil
}

// Worker returns the thread that serves the device's queues.
func (c *Core) Worker() *worker.Worker { return c.worker }

// DMA returns the memory that the device may access.
func (c *Core) DMA() *memory.DMA { return c.dma }

// VirtioID returns the device's number (5).
func (c *Core) VirtioID() uint16 { return c.info.ID }

// ConfigSize returns the size of the configuration space.
func (c *Core) ConfigSize() int { return c.info.ConfigSize }

// AddQueue gives the device its next queue, of at most max elements (a power of
// two). handler runs on the worker's thread when the driver has added elements
// or Queue.Kick was called. It is called in Realize.
func (c *Core) AddQueue(max uint16, handler func(*Queue)) *Queue {
	q := &Queue{core: c, index: len(c.queues), max: max, handler: handler}
	q.ring = virtq.NewSplit(c.dma, q.Kick)
	q.regs.Size = max
	c.queues = append(c.queues, q)
	return q
}

// Queues returns the device's queues. The caller must not change the list.
func (c *Core) Queues() []*Queue { return c.queues }

// Queue returns queue n, or nil.
func (c *Core) Queue(n int) *Queue {
	if n < 0 || n >= len(c.queues) {
		return nil
	}
	return c.queues[n]
}

// Ready reports whether the driver runs the device: it has said so, has not
// broken it, and the machine runs. Device code asks before it works for anybody
// but the driver.
func (c *Core) Ready() bool {
	return c.live.Load() && c.Status()&StatusDriverOK != 0
}

// Status returns the device status.
func (c *Core) Status() uint8 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// SetStatus is the driver's write to the device status. It must not be called
// with a lock held that a queue handler takes.
func (c *Core) SetStatus(v uint8) {
	if v == 0 {
		c.Reset()
		return
	}
	c.mu.Lock()
	old := c.status
	if v&^old&StatusFeaturesOK != 0 && !c.acceptLocked() {
		v &^= StatusFeaturesOK
	}
	c.status = v | old&StatusNeedsReset
	status, features := c.status, c.features
	change := c.updateLocked()
	c.mu.Unlock()
	if traceStatus.On() {
		traceStatus.Emit(c.Title(), old, status)
	}

	self := c.self()
	if status&^old&StatusFeaturesOK != 0 {
		if u, ok := self.(FeatureUser); ok {
			u.FeaturesChanged(features)
		}
	}
	c.follow(change)
	if u, ok := self.(StatusUser); ok && status != old {
		u.StatusChanged(status)
	}
	if status&^old&StatusDriverOK != 0 {
		c.KickAll()
	}
}

// change is what the transport is to be told about the use of queues.
type change int

const (
	unchanged change = iota
	nowActive
	nowInactive
)

// updateLocked recomputes what follows from the registers.
func (c *Core) updateLocked() change {
	ok := c.status&StatusDriverOK != 0
	// Old drivers use queues before they say that they are ready (3.1.2).
	legacy := c.features>>FeatureVersion1&1 == 0
	c.live.Store((ok || legacy) && !c.broken.Load())
	if ok == c.active {
		return unchanged
	}
	c.active = ok
	if ok {
		return nowActive
	}
	return nowInactive
}

func (c *Core) follow(ch change) {
	switch ch {
	case nowActive:
		c.start()
		c.transport.QueuesActive(c, true)
	case nowInactive:
		c.transport.QueuesActive(c, false)
	}
}

// start gives the worker its thread: a device that is not used costs none.
func (c *Core) start() {
	if !c.started.Load() {
		c.worker.Start()
		c.started.Store(true)
	}
}

// Quiesce is the first half of Unrealize: when it has returned no driver and no
// queue handler is there, nor will be. Device code with requests that complete on
// the worker's thread waits for them then, before it calls Unrealize.
func (c *Core) Quiesce() {
	if c.gone {
		return
	}
	c.gone = true
	c.mu.Lock()
	c.epoch.Add(1)
	c.mu.Unlock()
	c.transport.DeviceUnplugged(c)
	c.worker.Exclude(func() { c.held.Store(true) })
}

// Unrealize implements device.Device. Device code with an Unrealize of its own
// calls this one first: from then on no driver and no queue handler is there.
func (c *Core) Unrealize() {
	c.Quiesce()
	c.closeWorker()
}

// KickAll has every queue served.
func (c *Core) KickAll() {
	for _, q := range c.queues {
		if q.ring.Ready() {
			q.Kick()
		}
	}
}

// Reset brings the device back to where it was when the machine was made. When
// it returns, no queue handler is at work with what was before. It must not be
// called with a lock held that a queue handler takes, nor from one.
func (c *Core) Reset() {
	if traceReset.On() {
		traceReset.Emit(c.Title())
	}
	c.worker.Exclude(func() {
		c.mu.Lock()
		c.epoch.Add(1)
		c.status, c.wanted, c.features = 0, 0, 0
		c.broken.Store(false)
		c.generation.Store(0)
		for _, q := range c.queues {
			q.regs = Ring{Size: q.max}
		}
		ch := c.updateLocked()
		c.mu.Unlock()
		for _, q := range c.queues {
			q.ring.Reset()
		}
		c.follow(ch)
		if r, ok := c.self().(Resetter); ok {
			r.ResetDevice()
		}
	})
}

// ResetEnter implements device.ResetEnterer.
func (c *Core) ResetEnter() { c.Reset() }

// Broken marks the device broken by its driver: no queue is served until the
// driver resets it, of which need it is told (2.1.2). It is called by anyone, with
// at most device code's lock held.
func (c *Core) Broken(err error) { c.brokenIn(c.epoch.Load(), err) }

func (c *Core) brokenIn(epoch uint32, err error) {
	c.mu.Lock()
	if epoch != c.epoch.Load() || c.broken.Load() {
		c.mu.Unlock()
		return
	}
	c.broken.Store(true)
	tell := false
	if c.features>>FeatureVersion1&1 != 0 {
		c.status |= StatusNeedsReset
		tell = c.status&StatusDriverOK != 0
	}
	c.updateLocked() // DRIVER_OK is as it was: only live changes
	if tell {
		c.generation.Add(1)
		c.transport.ConfigInterrupt()
	}
	c.mu.Unlock()
	if traceBroken.On() {
		traceBroken.Emit(c.Title(), err)
	}
	c.GuestErrorf("%v; the device is stopped until the driver resets it", err)
}

// interrupt tells the driver of used elements, if it is the driver of that
// epoch. A reset waits for c.mu before the transport lowers the interrupt: one
// that comes too late would stay high with nobody to acknowledge it.
func (c *Core) interrupt(epoch uint32, queue int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch == c.epoch.Load() && !c.broken.Load() {
		if traceInterrupt.On() {
			traceInterrupt.Emit(c.Title(), queue)
		}
		c.transport.QueueInterrupt(queue)
	}
}
