// Package nbd is the client of network block devices: the protocol node "nbd".
//
// A session is one connection. Requests of any number of goroutines share it:
// each takes a slot, sends its header and data, and waits for the session's
// reader, which alone ends requests, so that nobody writes into a request's memory
// once it has ended. When a connection is lost, a connector makes the next one;
// requests wait for it up to reconnect-delay and are then made again, since all of
// them may be made twice.
//
// Lock order: client.mu and session.mu are leaves; session.sendMu is held while a
// request is being sent.
package nbd
