// Package virtq is the device's side of a virtqueue (virtio 1.2, section 2.6).
//
// A queue sees memory and nothing else: it takes chains of descriptors from the
// driver, hands them out as elements, puts finished ones into the used ring, and
// says whether the driver wants to be told. Whatever the driver writes into its
// rings is hostile: a ring that breaks the rules is reported once, as an error,
// and is dead from then on until Reset.
package virtq

import (
	"fmt"

	"govmd/internal/memory"
)

// Memory is what a queue needs of the memory that a device may access;
// *memory.DMA is one.
type Memory interface {
	Window(addr, size uint64, write bool) (*memory.Window, error)
	Borrow(addr, size uint64, write bool) (memory.Borrow, error)
	BorrowVec(addr, size uint64, write bool, dst []memory.Borrow) ([]memory.Borrow, error)
}

// Limits of what a driver can make a queue do.
const (
	// MaxSize is the largest number of descriptors in a ring (2.7.1).
	MaxSize = 32768
	// MaxSegments is the largest number of segments in one element.
	MaxSegments = 1024
	// maxOutstanding is how many elements may be with the device, those from
	// before a reset included, and maxOutstandingSegments how many segments they
	// may have, before no more are handed out.
	maxOutstanding         = 4096
	maxOutstandingSegments = 64 << 10
)

// Queue is a virtqueue as device code uses it. Pop is for one goroutine at a
// time; the others may be called from anywhere.
type Queue interface {
	// Pop takes the next element. It returns nil when there is none now, and an
	// error once, when the ring is found to be broken.
	Pop() (*Element, error)
	// Push gives a finished element back to the driver, of whose writable part
	// the first written bytes have been written. It is seen by the driver after
	// the next Flush. An element that was popped before a reset is only released.
	// The element must not be used afterwards.
	Push(e *Element, written uint32)
	// Unpop puts an element back as if it had not been popped; the elements of
	// earlier Pops come first.
	Unpop(e *Element)
	// Flush shows the driver what has been pushed and reports whether it wants
	// to be told.
	Flush() (notify bool, err error)
	// SetNotify asks the driver to say, or not to say, when it adds elements; it
	// may do so all the same. When turned on it reports whether there are
	// elements already, of which the driver may not have said anything.
	SetNotify(on bool) (more bool, err error)
	// Ready reports whether the queue can be used.
	Ready() bool
	// Enable starts a queue that was new or reset. Rings that are not in RAM are
	// reported by Pop.
	Enable(cfg Config) error
	// SetFeatures changes what was negotiated, for old drivers that set up
	// their queues first.
	SetFeatures(f Features)
	// Reset takes the rings away. Elements that are out become orphans.
	Reset()
	// Save returns the queue's state and Load sets it, on a queue that is new or reset.
	Save() State
	Load(cfg Config, s State) error
}

// Features are those features of a device that change its rings.
type Features struct {
	Indirect      bool
	EventIndex    bool
	NotifyOnEmpty bool // legacy: tell the driver when the device has run out, whatever it asked for
}

// Config says where a queue's rings are.
type Config struct {
	Size     uint16 // number of descriptors, a power of two
	Desc     uint64 // guest-physical addresses of the descriptor table,
	Avail    uint64 // the ring of the driver
	Used     uint64 // and the ring of the device
	Features Features
}

// check applies the rules of 2.7 to the driver's choice.
func (c *Config) check() error {
	switch {
	case c.Size == 0 || c.Size&(c.Size-1) != 0 || c.Size > MaxSize:
		return fmt.Errorf("queue size %d is not a power of two up to %d", c.Size, MaxSize)
	case c.Desc%16 != 0:
		return fmt.Errorf("descriptor table at %#x is not aligned to 16", c.Desc)
	case c.Avail%2 != 0:
		return fmt.Errorf("available ring at %#x is not aligned to 2", c.Avail)
	case c.Used%4 != 0:
		return fmt.Errorf("used ring at %#x is not aligned to 4", c.Used)
	}
	return nil
}

// State is what a queue saves. It is a saved type: see package state.
type State struct {
	LastAvail uint16 `cbor:"last_avail"` // index of the next element to take
	Used      uint16 `cbor:"used"`       // index of the next element to give back
	NoNotify  bool   `cbor:"no_notify"`
	// InFlight holds the heads of the elements that were out, oldest first. After
	// loading they are popped again, before others.
	InFlight []uint16 `cbor:"in_flight"`
}

// RingError is a driver's mistake, after which its queue is dead.
type RingError struct {
	Head int    // the element's first descriptor, or -1
	Text string // what is wrong
	Err  error  // why memory could not be accessed, or nil
}

func (e *RingError) Error() string {
	s := e.Text
	if e.Head >= 0 {
		s = fmt.Sprintf("element %d: %s", e.Head, s)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns why memory could not be accessed.
func (e *RingError) Unwrap() error { return e.Err }
