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
// neither keeps the frame's memory after its return. What is for the guest is in Go memory. One that cannot take a frame now
// says so, and calls Link.WakeBackend or WakeCard when it can again. A link that is down, or has only one
// end, loses what comes.
//
// Where the back end and the card agree on it (Backend.SetHeader) a frame begins with
// a virtio-net header (virtio 1.2, section 5.1.6), and checksums and segmentation are
// left to whom it reaches.
//
// # Locks
//
// Each direction of a link has a lock that is held for reading while a frame passes, so
// that an end that is taken away is not in use. A card's own locks for receiving are
// taken within that of its direction, and that of the guest's frames within the card's
// locks for sending. So a back end must not call Deliver, of any link, from within
// Send: what joins links, as a hub does, has a queue and a goroutine in between.
package net
