// Package net joins a machine's network cards to what carries their frames: taps,
// sockets, user networking. It has the back ends of a machine by name, the links
// between them and cards, and the commands about both; each kind of back end is a
// package of its own below this one, which registers itself.
//
// # A frame's way
//
// A card hands the guest's frames to Link.Send, from the thread that serves its
// queue; a back end hands what it has received to Link.Deliver, from a goroutine of
// its own. Both are called for one frame at a time of a queue, neither waits, and
// neither keeps the frame's memory after its return. One that cannot take a frame now
// says so, and calls Link.Wake when it can again. A link that is down, or has only one
// end, loses what comes.
//
// Where the back end and the card agree on it (Backend.SetHeader) a frame begins with
// a virtio-net header (virtio 1.2, section 5.1.6), and checksums and segmentation are
// left to whom it reaches.
//
// # Locks
//
// Link.mu is held for reading while a frame passes, so that an end that is taken away
// is not in use. Only the lane takes it for writing, one link's at a time. A back end
// must not call Deliver from within Send of the same link.
package net
