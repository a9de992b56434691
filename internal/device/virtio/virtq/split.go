package virtq

import (
	"errors"
	"fmt"
	"sort"
	"sync"

	"govmd/internal/memory"
)

// Split is a queue with split rings (virtio 1.2, section 2.7).
//
// Its lock is a leaf but for the memory system's: device code may call it with
// its own lock held.
type Split struct {
	mem  Memory
	wake func()

	mu    sync.Mutex // guards all below
	ready bool
	dead  bool // broken: nothing is taken or given until Reset
	cfg   Config
	mask  uint16
	gen   uint32
	seq   uint64

	desc, avail, used *memory.Window // nil until first used

	lastAvail uint16 // next to take
	availIdx  uint16 // the driver's index when last looked at
	usedIdx   uint16 // as the driver sees it
	usedNext  uint16 // with what has been pushed since the last flush
	signalled uint16 // usedIdx when the driver was last told, or would have been
	sigValid  bool
	noNotify  bool

	inflight []*Element // by head
	inuse    int        // how many there are in inflight
	again    []again    // to be popped before others, oldest first
	free     []*Element

	outstanding, segments int  // elements and their segments that are out, orphans included
	stalled               bool // Pop has refused because of too many

	table indirect
	raw   [descSize]byte
}

type again struct {
	head uint16
	seq  uint64
}

// Layout of the rings (2.7.5, 2.7.6, 2.7.8).
const (
	descSize      = 16
	availNoNotify = 1 // VIRTQ_AVAIL_F_NO_INTERRUPT
	usedNoNotify  = 1 // VIRTQ_USED_F_NO_NOTIFY
)

// NewSplit returns a queue that is not enabled. wake is called, from any
// goroutine, when Pop should be tried again though the driver has said nothing.
func NewSplit(mem Memory, wake func()) *Split { return &Split{mem: mem, wake: wake} }

var _ Queue = (*Split)(nil)

var errInUse = errors.New("queue is in use: reset it first")

// Enable implements Queue.
func (q *Split) Enable(cfg Config) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.enable(cfg)
}

func (q *Split) enable(cfg Config) error {
	if q.ready {
		return errInUse
	}
	if err := cfg.check(); err != nil {
		return err
	}
	q.cfg, q.mask = cfg, cfg.Size-1
	q.ready = true
	if len(q.inflight) != int(cfg.Size) {
		q.inflight = make([]*Element, cfg.Size)
	}
	return nil
}

// SetFeatures implements Queue.
func (q *Split) SetFeatures(f Features) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cfg.Features != f {
		q.cfg.Features = f
		q.closeRings() // their sizes may be others now
	}
}

// Ready implements Queue.
func (q *Split) Ready() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ready && !q.dead
}

// Reset implements Queue.
func (q *Split) Reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gen++
	q.closeRings()
	clear(q.inflight)
	q.inuse = 0
	q.again = q.again[:0]
	q.ready, q.dead, q.noNotify, q.sigValid = false, false, false, false
	q.lastAvail, q.availIdx, q.usedIdx, q.usedNext, q.signalled = 0, 0, 0, 0, 0
	q.cfg = Config{}
}

// open maps the rings. That is put off until they are needed: some drivers set
// up their queues before they let the device access memory.
func (q *Split) open() (err error) {
	if q.used != nil {
		return nil
	}
	n := uint64(q.cfg.Size)
	event := uint64(0)
	if q.cfg.Features.EventIndex {
		event = 2
	}
	if q.desc == nil {
		if q.desc, err = q.mem.Window(q.cfg.Desc, n*descSize, false); err != nil {
			return &RingError{-1, "descriptor table is not in memory", err}
		}
	}
	if q.avail == nil {
		if q.avail, err = q.mem.Window(q.cfg.Avail, 4+2*n+event, false); err != nil {
			return &RingError{-1, "available ring is not in memory", err}
		}
	}
	if q.used, err = q.mem.Window(q.cfg.Used, 4+8*n+event, true); err != nil {
		return &RingError{-1, "used ring is not in memory", err}
	}
	return nil
}

func (q *Split) closeRings() {
	for _, w := range [...]*memory.Window{q.desc, q.avail, q.used} {
		if w != nil {
			w.Close()
		}
	}
	q.desc, q.avail, q.used = nil, nil, nil
}

// die ends the use of a broken ring.
func (q *Split) die(err error) error {
	if q.dead {
		return nil // it has been reported
	}
	q.dead = true
	return err
}

func (q *Split) ringError(head int, err error, format string, args ...any) error {
	return q.die(&RingError{head, fmt.Sprintf(format, args...), err})
}

// Save implements Queue. What was pushed and not flushed is shown to the driver first.
func (q *Split) Save() State {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ready && !q.dead && q.usedNext != q.usedIdx {
		_ = q.publish()
		q.dead = false // a ring that has gone is found, and reported, by the next Pop
	}
	list := append([]again(nil), q.again...)
	for _, e := range q.inflight {
		if e != nil {
			list = append(list, again{e.head, e.seq})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].seq < list[j].seq })
	s := State{LastAvail: q.lastAvail, Used: q.usedNext, NoNotify: q.noNotify, InFlight: make([]uint16, len(list))}
	for i, a := range list {
		s.InFlight[i] = a.head
	}
	return s
}

// Load implements Queue.
func (q *Split) Load(cfg Config, s State) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ready {
		return errInUse
	}
	if err := cfg.check(); err != nil {
		return err
	}
	if len(s.InFlight) > int(cfg.Size) {
		return fmt.Errorf("%d elements in flight on a queue of %d", len(s.InFlight), cfg.Size)
	}
	seen := make([]bool, cfg.Size)
	for _, head := range s.InFlight {
		if head >= cfg.Size || seen[head] {
			return fmt.Errorf("element %d in flight is out of range or there twice", head)
		}
		seen[head] = true
	}
	if err := q.enable(cfg); err != nil {
		return err
	}
	q.lastAvail, q.availIdx = s.LastAvail, s.LastAvail
	q.usedIdx, q.usedNext = s.Used, s.Used
	q.noNotify = s.NoNotify
	for _, head := range s.InFlight {
		q.seq++
		q.again = append(q.again, again{head, q.seq})
	}
	return nil
}
