package tap

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"govmd/internal/net"
)

// maxFrame is the longest frame with its header: what segmentation leaves to a card.
const maxFrame = 64<<10 + 64

// queue is a pair of queues of a tap: a file.
type queue struct {
	tap   *Tap
	index int
	file  *os.File
	raw   syscall.RawConn
	link  *net.Link
	ended sync.WaitGroup
	done  chan struct{}

	room  chan struct{} // capacity 1: the card takes frames again
	full  chan struct{} // capacity 1: the tap takes no more
	stuck atomic.Bool   // somebody waits for the tap

	in     sync.Mutex // held while a frame is read: its header's length stays
	buf    [maxFrame]byte
	n      int   // bytes read
	length int   // of the header that the link's frames had then
	err    error // of reading
	got    func(fd uintptr) bool

	// What follows is the card's thread's.
	out   [][]byte // a frame that is sent, with a header of ours
	zero  [net.HeaderLegacy]byte
	frame [][]byte
	sent  bool
	put   func(fd uintptr)
	vec   net.Vector
}

func newQueue(t *Tap, index, fd int) (*queue, error) {
	q := &queue{
		tap: t, index: index, file: os.NewFile(uintptr(fd), node), done: make(chan struct{}),
		room: make(chan struct{}, 1), full: make(chan struct{}, 1),
	}
	q.got, q.put = q.read, q.write
	var err error
	q.raw, err = q.file.SyscallConn()
	return q, err
}

func (q *queue) start(l *net.Link) {
	q.link = l
	q.ended.Go(q.receive)
	q.ended.Go(q.drain)
}

func (q *queue) close() {
	close(q.done)
	_ = q.file.Close()
	q.ended.Wait()
}

// read reads a frame, if there is one: it runs as part of RawConn.Read.
func (q *queue) read(fd uintptr) bool {
	q.in.Lock()
	q.n, q.err = unix.Read(int(fd), q.buf[:])
	q.length = q.tap.length
	q.in.Unlock()
	return q.err != unix.EAGAIN
}

// receive delivers what comes from the host, until the file is closed.
func (q *queue) receive() {
	frame := make([][]byte, 1)
	for q.raw.Read(q.got) == nil {
		if q.err != nil || q.n == 0 {
			if q.err == unix.EINTR || q.err == nil {
				continue
			}
			if !q.wait(q.room) { // the interface is down, or gone
				return
			}
			continue
		}
		p := q.buf[:q.n]
		if q.length == 0 && q.tap.device.headers {
			if len(p) < net.HeaderLegacy {
				continue
			}
			p = p[net.HeaderLegacy:]
		}
		frame[0] = p
		for !q.link.Deliver(q.index, q.length, frame) {
			if !q.wait(q.room) {
				return
			}
		}
	}
}

// wait waits for c; false: the queue is closed.
func (q *queue) wait(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-q.done:
		return false
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *queue) wake() { signal(q.room) }

// send hands a frame to the host. It does not wait.
func (q *queue) send(frame [][]byte) bool {
	if q.stuck.Load() {
		return false
	}
	if q.tap.length == 0 && q.tap.device.headers {
		q.out = append(append(q.out[:0], q.zero[:]), frame...)
		frame = q.out
	}
	q.frame, q.sent = frame, true
	err := q.raw.Control(q.put)
	q.frame = nil
	clear(q.out)
	if err != nil || q.sent {
		return true
	}
	q.stuck.Store(true)
	signal(q.full)
	return false
}

// write writes the frame; other frames than those for which there is no room are lost:
// they are malformed, of memory that is gone, or the interface is down.
func (q *queue) write(fd uintptr) {
	for {
		switch _, err := q.vec.Writev(int(fd), q.frame); err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			q.sent = false
		}
		return
	}
}

// writable reports whether a tap takes a frame. It has to ask: that it does may have been
// told before anybody waited for it.
func writable(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return n > 0 || err != nil
		}
	}
}

// drain waits until the tap takes frames again after it did not.
func (q *queue) drain() {
	for q.wait(q.full) {
		err := q.raw.Write(writable)
		q.stuck.Store(false)
		if err != nil {
			return
		}
		q.link.WakeCard(q.index)
	}
}
