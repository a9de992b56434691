package copy

import (
	"sync"

	"govmd/internal/block"
)

// Piece is a part of what is to be done, dealt with at once.
type Piece struct {
	Off, N int64
	Zero   bool // it reads as zeroes
}

// Failure is a piece that could not be dealt with.
type Failure struct {
	Piece
	Read bool // the source's fault, not the target's
	Err  error
}

// Pool deals with pieces, several at once. All methods are for one goroutine.
type Pool struct {
	do     func(p Piece, buf []byte) (read bool, err error)
	pieces chan Piece
	work   sync.WaitGroup

	mu     sync.Mutex
	quiet  sync.Cond
	active int
	failed []Failure
}

// NewPool returns a pool of so many goroutines, each of which calls do with a buffer
// of its own. do says of an error whether it was the source's.
func NewPool(workers, buffer int, do func(p Piece, buf []byte) (read bool, err error)) *Pool {
	p := &Pool{do: do, pieces: make(chan Piece)}
	p.quiet.L = &p.mu
	for range workers {
		p.work.Go(func() { p.worker(buffer) })
	}
	return p
}

func (p *Pool) worker(size int) {
	buf := block.GetBuffer(size)
	defer buf.Release()
	for piece := range p.pieces {
		read, err := p.do(piece, buf.B)
		p.mu.Lock()
		if err != nil {
			p.failed = append(p.failed, Failure{piece, read, err})
		}
		if p.active--; p.active == 0 {
			p.quiet.Signal()
		}
		p.mu.Unlock()
	}
}

// Go hands a piece over, once there is a goroutine that has nothing to do.
func (p *Pool) Go(piece Piece) {
	p.mu.Lock()
	p.active++
	p.mu.Unlock()
	p.pieces <- piece
}

// Settle returns when no piece is under way.
func (p *Pool) Settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.active > 0 {
		p.quiet.Wait()
	}
}

// Failed reports whether there is something for Failures to return.
func (p *Pool) Failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.failed) > 0
}

// Failures returns what has failed since it was called last.
func (p *Pool) Failures() (list []Failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, p.failed = p.failed, nil
	return list
}

// Close ends the goroutines, when all pieces are done.
func (p *Pool) Close() {
	close(p.pieces)
	p.work.Wait()
}
