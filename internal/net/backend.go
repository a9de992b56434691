package net

// Offloads are things that the sender of a frame may leave to its receiver, which
// has to understand the virtio-net header then.
type Offloads uint8

// The offloads, of the guest's point of view: what it takes in frames that reach it.
const (
	OffloadChecksum Offloads = 1 << iota // checksums may be missing
	OffloadTSO4                          // TCP over IPv4 may be longer than a frame
	OffloadTSO6                          // TCP over IPv6 may be
	OffloadECN                           // and have CWR set
	OffloadUFO                           // UDP may be longer than a frame
)

// Lengths of the virtio-net header, in bytes.
const (
	HeaderLegacy  = 10 // without the number of buffers
	HeaderNumbers = 12
)

// Backend carries frames between a link and the world outside. Its methods are called
// on the lane but for Send and Wake, which come from the card's threads.
type Backend interface {
	// Type is the name of its kind ("tap").
	Type() string
	// Info is what `info network` says beyond the name and the type.
	Info() string
	// Queues is how many pairs of queues it has.
	Queues() int
	// HasHeader reports whether frames can have a virtio-net header, and so whether
	// the guest may leave checksums and segmentation to it.
	HasHeader() bool
	// SetHeader says how frames look from now on, in both directions: how long their
	// header is (0: there is none) and what the guest takes. No frame is under way.
	// It is not called with another length than 0 where HasHeader is false.
	SetHeader(length int, takes Offloads)
	// Start has the back end deliver what it receives to l. It is called once.
	Start(l *Link)
	// Send takes a frame of the guest's, in segments, some of which may be guest
	// memory: only system calls and package memory's Copy touch them. False: not now.
	Send(queue int, frame [][]byte) bool
	// Wake says that Deliver may take a frame again.
	Wake(queue int)
	// Close ends the back end; the link's other end has been told. It waits for its
	// goroutines.
	Close()
}

// LinkWatcher is a back end that wants to know that the card's link, or its own, has
// been taken down or up.
type LinkWatcher interface{ LinkChanged(up bool) }

// Card is a network card as a link sees it. Receive and Wake are called from a back
// end's goroutines, the rest on the lane.
type Card interface {
	// Receive gives the guest a frame; false: it has no room for it now.
	Receive(queue int, frame [][]byte) bool
	// Wake says that Send may take a frame again.
	Wake(queue int)
	// LinkChanged tells the guest that its cable is in or out.
	LinkChanged(up bool)
	// BackendChanged tells that the link has got another back end, or none: what is
	// said of Backend.HasHeader may have changed. The card calls Link.SetHeader.
	BackendChanged()
	// Announce has the card's address told to the network around it: it sends a frame
	// that switches learn from.
	Announce()
	// Filter is what query-rx-filter says; nil where the card has no such thing.
	Filter() *Filter
}
