package input

import (
	"time"

	"govmd/internal/qmp"
)

type mouseInfo struct {
	Name     string `qmp:"name"`
	Index    int64  `qmp:"index"`
	Current  bool   `qmp:"current"`
	Absolute bool   `qmp:"absolute"`
}

// KeyValue is a key, by number or by name.
type KeyValue struct {
	Type   string `qmp:"type"`
	Branch any    `qmp:",branch"`
}

var keyValues = qmp.NewUnion("KeyValue", "type")

// QMPUnion implements qmp.Unioner.
func (KeyValue) QMPUnion() *qmp.Union { return keyValues }

type (
	keyNumber = qmp.Data[int64]
	keyCode   = qmp.Data[KeyName]
)

// Button is a button of a mouse, or a step of a wheel.
type Button string

// EnumValues lists the buttons.
func (Button) EnumValues() []string {
	return []string{"left", "middle", "right", "wheel-up", "wheel-down", "side", "extra", "wheel-left", "wheel-right"}
}

// buttonBits are those of a mouse. Its wheel turns, and has no sideways motion.
var buttonBits = map[Button]uint8{
	"left": ButtonLeft, "middle": ButtonMiddle, "right": ButtonRight, "side": ButtonSide, "extra": ButtonExtra,
}

// Axis is a direction of motion.
type Axis string

// EnumValues lists the axes.
func (Axis) EnumValues() []string { return []string{"x", "y"} }

// Event is what a user does.
type Event struct {
	Type   string `qmp:"type"`
	Branch any    `qmp:",branch"`
}

var events = qmp.NewUnion("InputEvent", "type")

// QMPUnion implements qmp.Unioner.
func (Event) QMPUnion() *qmp.Union { return events }

type keyEvent struct {
	Key  KeyValue `qmp:"key"`
	Down bool     `qmp:"down"`
}

type buttonEvent struct {
	Down   bool   `qmp:"down"`
	Button Button `qmp:"button"`
}

type moveEvent struct {
	Axis  Axis  `qmp:"axis"`
	Value int64 `qmp:"value"`
}

func init() {
	qmp.AddBranch[keyNumber](keyValues, "number")
	qmp.AddBranch[keyCode](keyValues, "qcode")
	qmp.AddBranch[qmp.Data[keyEvent]](events, "key")
	qmp.AddBranch[qmp.Data[buttonEvent]](events, "btn")
	qmp.AddBranch[qmp.Data[moveEvent]](events, "rel")
	qmp.AddBranch[qmp.Data[moveEvent]](events, "abs")
}

type sendKeyArgs struct {
	Keys     []KeyValue `qmp:"keys"`
	HoldTime *int64     `qmp:"hold-time"` // in ms
}

type sendEventArgs struct {
	Device *string `qmp:"device"`
	Head   *int64  `qmp:"head"`
	Events []Event `qmp:"events"`
}

// Commands returns the commands about input devices.
func (r *Router) Commands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-mice", func(*qmp.Context, *qmp.None) ([]mouseInfo, error) { return r.mouseInfos(), nil }),
		qmp.New("send-key", func(_ *qmp.Context, a *sendKeyArgs) (qmp.None, error) {
			return qmp.None{}, r.sendKey(a)
		}),
		qmp.New("input-send-event", func(_ *qmp.Context, a *sendEventArgs) (qmp.None, error) {
			return qmp.None{}, r.sendEvents(a)
		}),
	}
}

func (r *Router) mouseInfos() []mouseInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []mouseInfo{}
	for i, m := range r.mice {
		list = append(list, mouseInfo{Name: m.name, Index: int64(m.index), Current: i == 0})
	}
	return list
}

func (r *Router) sendKey(a *sendKeyArgs) error {
	keys := make([]Key, len(a.Keys))
	for i, v := range a.Keys {
		k, err := v.key()
		if err != nil {
			return err
		}
		keys[i] = k
	}
	hold := defaultHold
	if a.HoldTime != nil {
		hold = milliseconds(*a.HoldTime)
	}
	return r.Type(keys, hold)
}

// milliseconds returns a time that may be out of Type's range, but not by overflow in it.
func milliseconds(n int64) time.Duration {
	return time.Duration(min(max(n, -1), maxHold.Milliseconds()+1)) * time.Millisecond
}

func (v *KeyValue) key() (Key, error) {
	switch b := v.Branch.(type) {
	case *keyCode:
		return keysByName[string(b.Data)], nil
	case *keyNumber:
		return keyByNumber(b.Data)
	}
	return noKey, nil // the decoder knows no other branch
}

// keyByNumber returns the key with a number that a client gives.
func keyByNumber(n int64) (Key, error) {
	if n < 0 || n > 0xff {
		return noKey, qmp.Errorf("key number %d is not one of 0 to 255", n)
	}
	return Key(n), nil
}

// sendEvents does what a user does, or nothing of it if some cannot be done.
func (r *Router) sendEvents(a *sendEventArgs) error {
	if a.Device != nil {
		return qmp.DeviceNotFound(*a.Device) // there are no displays
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.live() {
		return qmp.Errorf("VM not running")
	}
	for i := range a.Events {
		if err := r.check(&a.Events[i]); err != nil {
			return err
		}
	}
	var dx, dy, dz int
	moved := false
	for i := range a.Events {
		switch b := a.Events[i].Branch.(type) {
		case *qmp.Data[keyEvent]:
			k, _ := b.Data.Key.key()
			r.keyLocked(k, b.Data.Down)
		case *qmp.Data[buttonEvent]:
			dz += r.button(b.Data)
			moved = true
		case *qmp.Data[moveEvent]:
			if moved = true; b.Data.Axis == "x" {
				dx = addMotion(dx, b.Data.Value)
			} else {
				dy = addMotion(dy, b.Data.Value)
			}
		}
	}
	if moved {
		r.moveLocked(dx, dy, dz)
	}
	return nil
}

// check reports whether there is a device for an event.
func (r *Router) check(e *Event) error {
	there := len(r.mice) > 0
	switch e.Type {
	case "key":
		there = len(r.keyboards) > 0
	case "abs":
		there = false // no mouse knows where it is
	}
	if !there {
		return qmp.Errorf("Input handler not found for event type %s", e.Type)
	}
	if b, ok := e.Branch.(*qmp.Data[keyEvent]); ok {
		_, err := b.Data.Key.key()
		return err
	}
	return nil
}

// button notes a button's change, and returns by how much it turns the wheel.
func (r *Router) button(e buttonEvent) (dz int) {
	bit := buttonBits[e.Button]
	switch {
	case !e.Down:
		r.buttons &^= bit
	case bit != 0:
		r.buttons |= bit
	case e.Button == "wheel-up":
		return -1
	case e.Button == "wheel-down":
		return 1
	}
	return 0
}

// maxMotion bounds motion, far beyond what mice take.
const maxMotion = 1 << 20

func addMotion(sum int, v int64) int {
	return min(max(sum+int(min(max(v, -maxMotion), maxMotion)), -maxMotion), maxMotion)
}
