// Package server is an NBD server: it offers the nodes of a machine to clients on a
// socket, as doc/proto.md of the NBD project has it: fixed newstyle negotiation, TLS,
// structured replies, block status with meta contexts.
//
// A connection has two goroutines. One negotiates and then reads requests, of which
// it hands at most maxRequests, and the memory of maxBytes, to the queue of the export;
// the other sends replies. So a client that does not read its replies keeps only itself
// waiting: requests that are done leave the queue, and drains do not wait for clients.
package server
