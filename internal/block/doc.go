// Package block is the block layer: image nodes, the graph that they form, and
// the back ends through which devices use them.
//
// # Parts
//
// A Node is an open image or a filter; a Driver is the code behind one. Nodes
// have names, and Children: edges with a role and with permissions. A Backend is
// what a device holds: the medium in a drive, what happens on errors, accounting.
// A Queue runs a device's, an export's or a job's Requests.
//
// # Where code runs
//
// The graph changes on the control lane (a test or an image tool has its own
// single goroutine in its place). Opening may run anywhere: a node becomes part
// of the graph only when it is complete.
//
// I/O methods of drivers are synchronous and run on the goroutines of Queues, of
// which each has a bounded number, many at once on one node. Nothing in them
// allocates per request. They wait for storage, so they never run on a vCPU, an
// iothread or the lane.
//
// # Locks
//
// From the outside in: Graph.mu, then Node.trk.mu, then Bitmap.mu. Each is
// held for a moment only and never over a call of a driver, a parent or a device.
// Queue.mu is a leaf. Drivers have locks of their own, below all of these.
package block
