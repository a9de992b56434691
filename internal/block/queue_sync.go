package block

import "sync"

// syncRequest is a request that somebody waits for.
type syncRequest struct {
	Request
	err  error
	done chan struct{} // capacity 1
}

var syncRequests = sync.Pool{New: func() any {
	s := &syncRequest{done: make(chan struct{}, 1)}
	s.Request.Done = func(_ *Request, err error) {
		s.err = err
		s.done <- struct{}{}
	}
	return s
}}

// Do submits a request and waits for its end: for control operations and tools,
// never for a vCPU or an iothread.
func (q *Queue) Do(op Op, off, n int64, v Vec, f Flags) error {
	s := syncRequests.Get().(*syncRequest)
	s.Op, s.Off, s.Len, s.Vec, s.Flags = op, off, n, v, f
	q.Submit(&s.Request)
	<-s.done
	err := s.err
	s.Vec, s.err = Vec{}, nil
	syncRequests.Put(s)
	return err
}
