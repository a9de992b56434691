package file

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

// ring hands requests to the kernel and says when they are complete.
type ring interface {
	submit(op uint8, fd int, iov []unix.Iovec, off int64, id uint64) error
	// collect calls done for what is complete; with wait it waits in the kernel
	// until there is something. One goroutine calls it at a time.
	collect(wait bool, done func(id uint64, res int32)) error
	close()
}

// ringDepth is how many requests a ring has under way at most.
const ringDepth = 128

// async hands reads and writes to the kernel by a ring, in place of system calls
// that wait. A request's goroutine submits it and looks whether it is complete
// already, as it is when it came from the page cache. If not, one of the goroutines
// that wait, the leader, waits in the kernel for all of them: nobody has a thread of
// his own for that, and none is woken but for his own request.
type async struct {
	r       ring
	slots   [ringDepth]slot
	free    chan uint64
	leading atomic.Bool
	lead    chan struct{} // capacity 1: there is no leader any more
	deliver func(id uint64, res int32)
}

type slot struct {
	res  int32
	done chan struct{} // capacity 1
}

func newAsync(r ring) *async {
	a := &async{r: r, free: make(chan uint64, ringDepth), lead: make(chan struct{}, 1)}
	for i := range a.slots {
		a.slots[i].done = make(chan struct{}, 1)
		a.free <- uint64(i)
	}
	a.deliver = func(id uint64, res int32) {
		s := &a.slots[id]
		s.res = res
		s.done <- struct{}{}
	}
	return a
}

// do carries out a request and returns the kernel's result.
func (a *async) do(op uint8, fd int, iov []unix.Iovec, off int64) (int, error) {
	id := <-a.free
	s := &a.slots[id]
	if err := a.r.submit(op, fd, iov, off, id); err != nil {
		a.free <- id
		return 0, err
	}
	a.await(s)
	res := s.res
	a.free <- id
	if res < 0 {
		return 0, unix.Errno(-res)
	}
	return int(res), nil
}

// await waits for a request. Only the leader takes completions from the ring: it
// would wait in the kernel for ever for one that somebody else has taken.
func (a *async) await(s *slot) {
	for {
		if a.leading.CompareAndSwap(false, true) {
			a.follow(s)
			a.leading.Store(false)
			select {
			case a.lead <- struct{}{}:
			default:
			}
			return
		}
		select {
		case <-s.done:
			return
		case <-a.lead:
		}
	}
}

// follow takes completions until that of s is among them.
func (a *async) follow(s *slot) {
	for wait := false; ; wait = true {
		select {
		case <-s.done:
			return
		default:
		}
		// It fails only when the ring is gone, which it is not while we wait.
		_ = a.r.collect(wait, a.deliver)
	}
}

func (a *async) fsync(fd int) error {
	_, err := a.do(opFsync, fd, nil, 0)
	if err == unix.EINVAL || err == unix.EOPNOTSUPP {
		return unix.Fdatasync(fd) // file systems without fsync by AIO
	}
	return err
}

func (a *async) close() { a.r.close() }

func (u *uring) collect(wait bool, done func(id uint64, res int32)) error {
	// What is there already need not be waited for.
	if wait && u.cqHead.Load() == u.cqTail.Load() {
		if err := u.wait(); err != nil {
			return err
		}
	}
	u.reap(done)
	return nil
}

func (a *linuxAIO) collect(wait bool, done func(id uint64, res int32)) error {
	least := 0
	if wait {
		least = 1
	}
	n, err := a.get(least)
	for _, e := range a.events[:n] {
		done(e.data, int32(e.res))
	}
	return err
}

// newEngine returns the engine of an aio mode; nil for plain system calls.
func newEngine(a AIO, o *Options) (*async, error) {
	switch a {
	case IOUring:
		u, err := newURing(ringDepth)
		if err != nil {
			return nil, block.Errorf(block.KindUnsupported, "aio=io_uring cannot be used for '%s': the host's kernel refuses it (%w)", o.Filename, err)
		}
		return newAsync(u), nil
	case Native:
		l, err := newLinuxAIO(ringDepth)
		if err != nil {
			return nil, block.Errorf(block.KindUnsupported, "aio=native cannot be used for '%s': the host's kernel refuses it (%w)", o.Filename, err)
		}
		return newAsync(l), nil
	}
	return nil, nil
}
