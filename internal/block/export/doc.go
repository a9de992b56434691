// Package export offers block nodes to others: over the network, say. It keeps the
// exports of a machine and has the commands that add, show and remove them; the kinds
// of exports are packages of their own (nbd/server), which register with it.
//
// An export holds its node by an edge of the graph, so that permissions, drain and
// blockdev-del treat it as any other user. It ends in two steps: it is told to stop,
// on the lane, and when the last of its clients has gone it leaves the graph, on the
// lane again.
package export
