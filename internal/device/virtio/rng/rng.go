// Package rng is virtio-rng, the entropy device (virtio 1.2, section 5.4): the
// driver adds buffers, the device fills them with random bytes.
package rng

import (
	"errors"
	"math"
	"sync"
	"time"

	"govmd/internal/clock"
	"govmd/internal/device/rngbackend"
	"govmd/internal/device/virtio"
	"govmd/internal/object"
	"govmd/internal/state"
)

const (
	deviceID  = 4
	queueSize = 8
)

// Device is the entropy device.
type Device struct {
	virtio.Core

	// properties
	maxBytes uint64 // that the guest gets in a period
	period   uint32 // milliseconds
	source   string // ID of the back end, "" for one of its own

	conn  rngbackend.Conn
	queue *virtio.Queue
	timer *clock.Timer

	mu    sync.Mutex // guards what follows; the timer and the back end take it too
	quota uint64     // bytes that are left in the period
	armed bool       // the period has begun
	have  int        // random bytes in buf
	asks  bool       // take looks at have when its request returns
	buf   [rngbackend.MaxRequest]byte

	out [rngbackend.MaxRequest]byte // the handler's: bytes that are used up, while buf is filled again
}

var (
	errPeriod   = errors.New("'period' parameter expects a positive integer")
	errMaxBytes = errors.New("'max-bytes' parameter must be non-negative, and less than 2^63")
)

// Realize implements device.Device.
func (d *Device) Realize() (err error) {
	switch {
	case d.period == 0:
		return errPeriod
	case d.maxBytes > math.MaxInt64:
		return errMaxBytes
	}
	backend, err := d.backend()
	if err != nil {
		return err
	}
	if err := d.Init(virtio.Info{ID: deviceID}); err != nil {
		return err
	}
	d.queue = d.AddQueue(queueSize, d.fill)
	if d.conn, err = backend.Connect(d.deliver); err != nil {
		return err
	}
	d.timer = d.Env().Clock.Virtual.NewTimer("virtio-rng period", d.nextPeriod)
	d.quota, d.armed, d.have = d.maxBytes, false, 0
	return nil
}

func (d *Device) backend() (rngbackend.Backend, error) {
	if d.source != "" {
		return rngbackend.Find(d.UseObject, d.source)
	}
	o, err := object.New("rng-builtin")
	if err != nil {
		return nil, err
	}
	if err := object.Add(d, o, "default-backend"); err != nil {
		return nil, err
	}
	d.Defer(func() { object.Remove(o) })
	return o.(rngbackend.Backend), nil
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {
	d.Core.Unrealize()
	d.timer.Close()
	d.conn.Close()
}

// fill is the queue's handler.
func (d *Device) fill(q *virtio.Queue) {
	if !d.Ready() {
		return
	}
	pushed := false
	for {
		e := q.Pop()
		if e == nil {
			break
		}
		n, ok := d.take(e.WritableLen())
		if !ok {
			q.Unpop(e)
			break
		}
		n, err := e.WriteAt(d.out[:n], 0)
		if err != nil {
			d.GuestErrorf("%v", err)
		}
		q.Push(e, uint32(n))
		pushed = true
	}
	if pushed {
		q.Notify()
	}
}

// take has up to n random bytes at the start of out and reports how many, or
// that they come later. They are used up.
func (d *Device) take(n uint64) (int, bool) {
	if n == 0 {
		return 0, true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n = min(n, d.quota, uint64(len(d.buf)))
	if n == 0 {
		return 0, false // the timer goes on
	}
	if d.have == 0 {
		// What is there at once is delivered before Request returns.
		d.asks = true
		d.mu.Unlock()
		d.conn.Request(int(n))
		d.mu.Lock()
		d.asks = false
		if d.have == 0 {
			return 0, false
		}
	}
	n = min(n, uint64(d.have))
	copy(d.out[:n], d.buf[:])
	d.have = 0 // a rest is not worth keeping
	d.spend(n)
	return int(n), true
}

// spend takes n bytes of the quota. The period begins with the first.
func (d *Device) spend(n uint64) {
	d.quota -= n
	if !d.armed {
		d.armed = true
		d.timer.Set(d.Env().Clock.Virtual.Now() + int64(d.period)*int64(time.Millisecond))
	}
}

// deliver takes what the back end has read.
func (d *Device) deliver(p []byte) {
	d.mu.Lock()
	d.have = copy(d.buf[:], p)
	kick := !d.asks
	d.mu.Unlock()
	if kick {
		d.queue.Kick()
	}
}

// nextPeriod is the timer's function.
func (d *Device) nextPeriod() {
	d.mu.Lock()
	d.quota, d.armed = d.maxBytes, false
	d.mu.Unlock()
	d.queue.Kick()
}

// savedRNG is the saved state.
type savedRNG struct {
	Quota    uint64 `cbor:"quota"`
	Armed    bool   `cbor:"armed"`
	Deadline int64  `cbor:"deadline"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	return append(d.Core.States(), state.Of("", 1, d.save, d.load))
}

func (d *Device) save() savedRNG {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := savedRNG{Quota: d.quota, Armed: d.armed}
	if d.armed {
		s.Deadline, _ = d.timer.Deadline()
	}
	return s
}

func (d *Device) load(s *savedRNG) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quota, d.armed, d.have = min(s.Quota, d.maxBytes), s.Armed, 0
	if d.armed {
		d.timer.Set(s.Deadline)
	} else {
		d.timer.Stop()
	}
	return nil
}

func init() {
	virtio.Register(virtio.Kind{
		Name: "virtio-rng", ID: deviceID, Description: "entropy device",
		New: func() object.Object { return &Device{} },
		Props: []object.Property{
			object.Int("max-bytes", func(d *Device) *uint64 { return &d.maxBytes }, math.MaxInt64, "bytes that the guest gets in a period"),
			object.Int("period", func(d *Device) *uint32 { return &d.period }, 1<<16, "milliseconds"),
			object.Link("rng", "link<rng-backend>", func(d *Device) *string { return &d.source }, "source of the random bytes"),
		},
		PCI: virtio.PCI{Class: 0x00ff, Transitional: 0x1005, Vectors: virtio.VectorsForQueues},
	})
}
