package nvme

import (
	"fmt"
	"slices"

	"govmd/internal/state"
)

// savedDevice is the controller's state. Commands that are under way or parked are
// begun again when the machine runs.
type savedDevice struct {
	CC        uint32            `cbor:"cc"`
	CSTS      uint32            `cbor:"csts"`
	AQA       uint32            `cbor:"aqa"`
	ASQ       uint64            `cbor:"asq"`
	ACQ       uint64            `cbor:"acq"`
	Masked    uint32            `cbor:"interrupt-mask"`
	Over      uint16            `cbor:"over-temperature"`
	Under     uint16            `cbor:"under-temperature"`
	Events    uint32            `cbor:"event-configuration"`
	Timestamp int64             `cbor:"timestamp"`
	Stamped   bool              `cbor:"timestamp-set"`
	Cache     bool              `cbor:"write-cache"`
	Waiting   []uint16          `cbor:"event-requests"`
	Queued    []uint32          `cbor:"events"`
	Told      uint8             `cbor:"events-masked"`
	Changed   bool              `cbor:"namespace-changed"`
	SQs       []savedSubmission `cbor:"submission-queues"`
	CQs       []savedCompletion `cbor:"completion-queues"`
}

type savedSubmission struct {
	ID       uint16    `cbor:"id"`
	CQ       uint16    `cbor:"cq"`
	Base     uint64    `cbor:"base"`
	Size     uint32    `cbor:"size"`
	Head     uint32    `cbor:"head"`
	Tail     uint32    `cbor:"tail"`
	Commands []command `cbor:"commands"` // under way
}

type savedCompletion struct {
	ID         uint16  `cbor:"id"`
	Base       uint64  `cbor:"base"`
	Size       uint32  `cbor:"size"`
	Vector     uint16  `cbor:"vector"`
	Interrupts bool    `cbor:"interrupts"`
	Head       uint32  `cbor:"head"`
	Tail       uint32  `cbor:"tail"`
	Phase      bool    `cbor:"phase"`
	Waiting    []entry `cbor:"waiting"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	e := state.Of("nvme", 1, d.save, d.load)
	e.PostLoad = func() error {
		d.wake.Kick()
		return nil
	}
	return []state.Entry{e}
}

func (d *Device) save() (s savedDevice) {
	d.worker.Exclude(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		r, f, ev := &d.regs, &d.features, &d.events
		s = savedDevice{
			CC: r.cc, CSTS: r.csts, AQA: r.aqa, ASQ: r.asq, ACQ: r.acq, Over: f.over, Under: f.under, Events: f.events,
			Timestamp: f.timestamp, Stamped: f.stamped, Cache: d.backend.WriteCache(),
			Waiting: append([]uint16{}, ev.waiting...), Queued: append([]uint32{}, ev.queued...), Told: ev.masked, Changed: ev.changed,
			SQs: []savedSubmission{}, CQs: []savedCompletion{},
		}
		d.irqMu.Lock()
		s.Masked = d.masked
		d.irqMu.Unlock()
		for _, sq := range d.sqs {
			if sq != nil {
				s.SQs = append(s.SQs, sq.save())
			}
		}
		for _, cq := range d.cqs {
			if cq != nil {
				s.CQs = append(s.CQs, cq.save())
			}
		}
	})
	return s
}

func (sq *submission) save() savedSubmission {
	sq.mu.Lock()
	defer sq.mu.Unlock()
	s := savedSubmission{sq.id, sq.cq.id, sq.base, sq.size, sq.head.Load(), sq.tail.Load(), []command{}}
	for r := sq.inflight; r != nil; r = r.next {
		s.Commands = append(s.Commands, r.command)
	}
	slices.Reverse(s.Commands) // the first to have begun comes first
	s.Commands = append(s.Commands, sq.again...)
	return s
}

func (cq *completion) save() savedCompletion {
	cq.mu.Lock()
	defer cq.mu.Unlock()
	return savedCompletion{
		cq.id, cq.base, cq.size, cq.vector, cq.interrupts, cq.head, cq.tail, cq.phase, append([]entry{}, cq.waiting...),
	}
}

func (d *Device) load(s *savedDevice) (err error) {
	d.worker.Exclude(func() {
		d.disable()
		d.mu.Lock()
		defer d.mu.Unlock()
		if err = d.loadQueues(s); err != nil {
			return
		}
		d.regs = registers{s.CC & ccDefined, s.CSTS & (cstsReady | cstsFatal | cstsShutdown), s.AQA, s.ASQ, s.ACQ}
		if d.sqs[0] == nil {
			d.regs.csts &^= cstsReady
		}
		d.features = features{s.Over, s.Under, s.Events, s.Timestamp, s.Stamped}
		d.events = events{
			slices.Clone(s.Waiting[:min(len(s.Waiting), int(d.aerLimit)+1)]),
			slices.Clone(s.Queued[:min(len(s.Queued), int(d.aerMaxQueued))]), s.Told, s.Changed,
		}
		d.backend.SetWriteCache(s.Cache)
		d.irqMu.Lock()
		d.masked = s.Masked
		d.irqMu.Unlock()
		for _, cq := range d.cqs {
			if cq != nil {
				cq.loaded()
			}
		}
	})
	return err
}

// loadQueues makes the queues of a state. mu is held.
func (d *Device) loadQueues(s *savedDevice) error {
	fits := func(id uint16, size, head, tail uint32) error {
		const most = 4096 // of the administrator's
		if int(id) >= len(d.sqs) || size < 2 || size > most || head >= size || tail >= size {
			return fmt.Errorf("queue %d of %d, from %d to %d: was it made with the same options?", id, size, head, tail)
		}
		return nil
	}
	for _, q := range s.CQs {
		if err := fits(q.ID, q.Size, q.Head, q.Tail); err != nil {
			return err
		}
		if int(q.Vector) >= len(d.pending) || d.cqs[q.ID] != nil {
			return fmt.Errorf("completion queue %d has vector %d, here there are %d", q.ID, q.Vector, len(d.pending))
		}
		d.cqs[q.ID] = &completion{
			d: d, id: q.ID, base: q.Base, size: q.Size, vector: q.Vector, interrupts: q.Interrupts,
			head: q.Head, tail: q.Tail, phase: q.Phase, waiting: slices.Clone(q.Waiting),
		}
	}
	for _, q := range s.SQs {
		if err := fits(q.ID, q.Size, q.Head, q.Tail); err != nil {
			return err
		}
		if int(q.CQ) >= len(d.cqs) || d.cqs[q.CQ] == nil || d.sqs[q.ID] != nil || len(q.Commands) > int(q.Size) {
			return fmt.Errorf("submission queue %d has %d commands under way, and completion queue %d", q.ID, len(q.Commands), q.CQ)
		}
		sq := &submission{d: d, id: q.ID, cq: d.cqs[q.CQ], base: q.Base, size: q.Size, again: slices.Clone(q.Commands)}
		sq.tail.Store(q.Tail)
		sq.head.Store(q.Head)
		sq.cq.users++
		d.sqs[q.ID] = sq
	}
	return nil
}

// loaded counts what the driver has not taken: messages told of it, or are pending in
// the table; the pin is high.
func (cq *completion) loaded() {
	cq.mu.Lock()
	defer cq.mu.Unlock()
	if !cq.interrupts {
		return
	}
	d := cq.d
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	cq.counted = int(cq.used())
	d.pending[cq.vector] += cq.counted
	d.updateINTx()
}
