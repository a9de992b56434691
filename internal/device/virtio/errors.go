package virtio

import "fmt"

// QueueError is what was wrong with a queue.
type QueueError struct {
	Queue int
	Err   error
}

func (e *QueueError) Error() string { return fmt.Sprintf("queue %d: %v", e.Queue, e.Err) }

// Unwrap returns the ring's error.
func (e *QueueError) Unwrap() error { return e.Err }
