package i8042

import (
	"fmt"

	"govmd/internal/state"
)

type saved struct {
	Controller savedController `cbor:"controller"`
	Keyboard   savedKeyboard   `cbor:"keyboard"`
	Mouse      savedMouse      `cbor:"mouse"`
	Delay      int64           `cbor:"delay"` // deadline, -1 for none
}

type savedController struct {
	RAM       []byte `cbor:"ram"`
	Pending   uint8  `cbor:"pending"`
	Command   bool   `cbor:"command"`
	System    bool   `cbor:"system"`
	Out       uint8  `cbor:"out"`
	Buf       uint8  `cbor:"buf"`
	Full      bool   `cbor:"full"`
	Aux       bool   `cbor:"aux"`
	Broken    bool   `cbor:"broken"`
	Answer    uint8  `cbor:"answer"`
	Answering bool   `cbor:"answering"`
	AnswerAux bool   `cbor:"answer-aux"`
}

type savedQueue struct {
	Data    []byte `cbor:"data"`
	Replies []byte `cbor:"replies"`
	Last    uint8  `cbor:"last"`
}

type savedKeyboard struct {
	Queue     savedQueue `cbor:"queue"`
	Pending   uint8      `cbor:"pending"`
	Scanning  bool       `cbor:"scanning"`
	Set       uint8      `cbor:"set"`
	LEDs      uint8      `cbor:"leds"`
	Rate      uint8      `cbor:"rate"`
	Modifiers uint8      `cbor:"modifiers"`
}

type savedMouse struct {
	Queue      savedQueue `cbor:"queue"`
	Pending    uint8      `cbor:"pending"`
	Kind       uint8      `cbor:"kind"`
	Rates      []byte     `cbor:"rates"`
	Resolution uint8      `cbor:"resolution"`
	Enabled    bool       `cbor:"enabled"`
	Remote     bool       `cbor:"remote"`
	Wrap       bool       `cbor:"wrap"`
	Doubled    bool       `cbor:"doubled"`
	DX         int        `cbor:"dx"`
	DY         int        `cbor:"dy"`
	DZ         int        `cbor:"dz"`
	Buttons    uint8      `cbor:"buttons"`
	Sent       uint8      `cbor:"sent"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	return []state.Entry{state.Of("", 1, d.save, d.load)}
}

func (q *queue) save() savedQueue {
	return savedQueue{Data: q.data.bytes(), Replies: q.replies.bytes(), Last: q.last}
}

func (q *queue) load(s savedQueue) error {
	if len(s.Data) > dataMax || len(s.Replies) > dataMax {
		return fmt.Errorf("%d and %d bytes are queued, at most %d fit", len(s.Data), len(s.Replies), dataMax)
	}
	q.data.set(s.Data)
	q.replies.set(s.Replies)
	q.last = s.Last
	return nil
}

func (d *Device) save() saved {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, k, m := &d.ctl, &d.kbd, &d.aux
	s := saved{
		Controller: savedController{
			RAM: append([]byte{}, c.ram[:]...), Pending: c.pending, Command: c.command, System: c.system, Out: c.out,
			Buf: c.buf, Full: c.full, Aux: c.aux, Broken: c.broken,
			Answer: c.answer, Answering: c.answering, AnswerAux: c.answerAux,
		},
		Keyboard: savedKeyboard{
			Queue: k.queue.save(), Pending: k.pending, Scanning: k.scanning, Set: k.set, LEDs: k.leds,
			Rate: k.rate, Modifiers: uint8(k.mods),
		},
		Mouse: savedMouse{
			Queue: m.queue.save(), Pending: m.pending, Kind: m.kind, Rates: append([]byte{}, m.rates[:]...),
			Resolution: m.resolution, Enabled: m.enabled, Remote: m.remote, Wrap: m.wrap, Doubled: m.doubled,
			DX: m.dx, DY: m.dy, DZ: m.dz, Buttons: m.buttons, Sent: m.sent,
		},
		Delay: -1,
	}
	if t, armed := d.delay.Deadline(); armed {
		s.Delay = t
	}
	return s
}

func (d *Device) load(s *saved) error {
	sc, sk, sm := &s.Controller, &s.Keyboard, &s.Mouse
	switch {
	case len(sc.RAM) != ramSize:
		return fmt.Errorf("controller RAM has %d bytes, not %d", len(sc.RAM), ramSize)
	case !validPending(sc.Pending):
		return fmt.Errorf("command %#x takes no argument", sc.Pending)
	case sk.Set < 1 || sk.Set > 3:
		return fmt.Errorf("there is no scan code set %d", sk.Set)
	case sm.Kind != typeStandard && sm.Kind != typeWheel && sm.Kind != typeExplorer:
		return fmt.Errorf("there is no mouse of type %d", sm.Kind)
	case len(sm.Rates) != 3:
		return fmt.Errorf("%d sample rates, not 3", len(sm.Rates))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctl = controller{
		pending: sc.Pending, command: sc.Command, system: sc.System, out: sc.Out & outKept,
		buf: sc.Buf, full: sc.Full, aux: sc.Aux, broken: sc.Broken,
		answer: sc.Answer, answering: sc.Answering, answerAux: sc.AnswerAux,
	}
	copy(d.ctl.ram[:], sc.RAM)
	d.kbd = keyboard{
		pending: sk.Pending, scanning: sk.Scanning, set: sk.Set, leds: sk.LEDs & 7, rate: sk.Rate & 0x7f,
		mods: modifiers(sk.Modifiers),
	}
	if err := d.kbd.queue.load(sk.Queue); err != nil {
		return fmt.Errorf("keyboard: %w", err)
	}
	bound := func(v int) int { return min(max(v, -maxPending), maxPending) }
	d.aux = mouse{
		pending: sm.Pending, kind: sm.Kind, rates: [3]uint8(sm.Rates), resolution: sm.Resolution & 3,
		enabled: sm.Enabled, remote: sm.Remote, wrap: sm.Wrap, doubled: sm.Doubled,
		dx: bound(sm.DX), dy: bound(sm.DY), dz: bound(sm.DZ), buttons: sm.Buttons & buttonMask, sent: sm.Sent & buttonMask,
	}
	if err := d.aux.queue.load(sm.Queue); err != nil {
		return fmt.Errorf("mouse: %w", err)
	}
	d.delay.Stop()
	d.delayed = s.Delay >= 0
	if d.delayed {
		d.delay.Set(s.Delay)
	}
	d.drive()
	d.tellLEDs()
	return nil
}

func validPending(cmd uint8) bool {
	switch cmd {
	case 0, cmdWriteOutput, cmdWriteKbdBuf, cmdWriteAuxBuf, cmdWriteAux:
		return true
	}
	return cmd&^ramIndexMask == cmdWriteRAM
}
