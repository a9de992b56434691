package virtiotest

import "govmd/internal/memory"

type eventFDs struct{ n int }

func (e *eventFDs) MapChanged(c memory.Change) { e.n += len(c.FDAdded) - len(c.FDRemoved) }

// EventFDs returns how many eventfds are attached in an address space.
func EventFDs(sp *memory.Space) int {
	var e eventFDs
	remove := sp.AddListener(&e, 0)
	n := e.n
	remove()
	return n
}
