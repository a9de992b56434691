package block

import (
	"golang.org/x/sys/unix"

	"govmd/internal/event"
	"govmd/internal/qmp"
)

// IOErrorEvent is the event BLOCK_IO_ERROR.
type IOErrorEvent struct {
	Device    string  `qmp:"device"`
	NodeName  *string `qmp:"node-name"`
	Operation OpType  `qmp:"operation"`
	Action    OnError `qmp:"action"`
	NoSpace   *bool   `qmp:"nospace"`
	Reason    string  `qmp:"reason"`
}

// EventName implements event.Event.
func (IOErrorEvent) EventName() string { return "BLOCK_IO_ERROR" }

// OpType is read or write.
type OpType string

// EnumValues implements qmp.Enum.
func (OpType) EnumValues() []string { return []string{"read", "write"} }

// WriteThresholdEvent is the event BLOCK_WRITE_THRESHOLD.
type WriteThresholdEvent struct {
	NodeName       string `qmp:"node-name"`
	AmountExceeded uint64 `qmp:"amount-exceeded"`
	WriteThreshold uint64 `qmp:"write-threshold"`
}

// EventName implements event.Event.
func (WriteThresholdEvent) EventName() string { return "BLOCK_WRITE_THRESHOLD" }

// CorruptedEvent is the event BLOCK_IMAGE_CORRUPTED.
type CorruptedEvent struct {
	Device   string  `qmp:"device"`
	NodeName *string `qmp:"node-name"`
	Msg      string  `qmp:"msg"`
	Offset   *int64  `qmp:"offset"`
	Size     *int64  `qmp:"size"`
	Fatal    bool    `qmp:"fatal"`
}

// EventName implements event.Event.
func (CorruptedEvent) EventName() string { return "BLOCK_IMAGE_CORRUPTED" }

// TrayMovedEvent is the event DEVICE_TRAY_MOVED.
type TrayMovedEvent struct {
	Device   string `qmp:"device"`
	ID       string `qmp:"id"`
	TrayOpen bool   `qmp:"tray-open"`
}

// EventName implements event.Event.
func (TrayMovedEvent) EventName() string { return "DEVICE_TRAY_MOVED" }

// Events are the events that this package publishes.
func Events() []event.Event {
	return []event.Event{IOErrorEvent{}, WriteThresholdEvent{}, CorruptedEvent{}, TrayMovedEvent{}}
}

func (b *Backend) publishError(r *Request, action OnError, no unix.Errno) {
	ev := IOErrorEvent{Device: b.name, Operation: "write", Action: action, Reason: qmp.Strerror(no)}
	if r.Op == OpRead {
		ev.Operation = "read"
	}
	if n := b.Node(); n != nil {
		name := n.name
		ev.NodeName = &name
	}
	if _, ok := b.IOStatus(); ok {
		nospace := no == ErrNoSpace
		ev.NoSpace = &nospace
	}
	b.graph.Publish(ev)
}

// Publish announces on a drive's behalf that its tray has moved.
func (b *Backend) PublishTray(open bool) {
	b.graph.Publish(TrayMovedEvent{Device: b.name, ID: b.DeviceName(), TrayOpen: open})
}

// exceeded announces, once, that a write has passed the threshold.
func (n *Node) exceeded(end, threshold int64) {
	if n.threshold.CompareAndSwap(threshold, 0) {
		n.graph.Publish(WriteThresholdEvent{NodeName: n.name, AmountExceeded: uint64(end - threshold), WriteThreshold: uint64(threshold)})
	}
}

// SetWriteThreshold announces the first write that ends beyond offset; 0 ends that.
func (n *Node) SetWriteThreshold(offset int64) { n.threshold.Store(offset) }

// WriteThreshold returns what is set.
func (n *Node) WriteThreshold() int64 { return n.threshold.Load() }

// PublishCorrupted announces that an image contradicts itself at offset (-1: not
// known); fatal: it is not written any more.
func (n *Node) PublishCorrupted(msg string, offset, size int64, fatal bool) {
	ev := CorruptedEvent{Msg: msg, Fatal: fatal}
	name := n.name
	ev.NodeName = &name
	for p := n; p != nil && ev.Device == ""; p = p.firstParentNode() {
		for _, c := range p.Parents() {
			if b := BackendOf(c); b != nil && ev.Device == "" {
				ev.Device = b.name
			}
		}
	}
	if offset >= 0 {
		ev.Offset, ev.Size = &offset, &size
	}
	n.graph.Publish(ev)
}

func (n *Node) firstParentNode() *Node {
	for _, c := range n.Parents() {
		if c.owner != nil {
			return c.owner
		}
	}
	return nil
}
