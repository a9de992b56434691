package i8042

// queue holds bytes that a keyboard or mouse is to send. Replies to commands go
// first; they never crowd out data, nor data them.
type queue struct {
	data    ring
	replies ring
	last    uint8 // what was sent last, for the command Resend
}

// dataMax is how much a keyboard or mouse remembers while nobody reads.
const dataMax = 16

type ring struct {
	buf  [dataMax]uint8
	n    int
	head int
}

func (r *ring) room() int { return len(r.buf) - r.n }

func (r *ring) push(b uint8) {
	if r.n < len(r.buf) {
		r.buf[(r.head+r.n)%len(r.buf)] = b
		r.n++
	}
}

func (r *ring) pop() uint8 {
	b := r.buf[r.head]
	r.head = (r.head + 1) % len(r.buf)
	r.n--
	return b
}

func (r *ring) bytes() []byte {
	p := make([]byte, r.n)
	for i := range p {
		p[i] = r.buf[(r.head+i)%len(r.buf)]
	}
	return p
}

func (r *ring) set(p []byte) {
	*r = ring{}
	r.n = copy(r.buf[:], p)
}

// reply answers a command; a pending answer to an earlier one is dropped.
func (q *queue) reply(bytes ...uint8) {
	q.replies = ring{}
	for _, b := range bytes {
		q.replies.push(b)
	}
}

// send queues data, all or nothing.
func (q *queue) send(bytes []uint8) bool {
	if q.data.room() < len(bytes) {
		return false
	}
	for _, b := range bytes {
		q.data.push(b)
	}
	return true
}

func (q *queue) empty() bool { return q.data.n == 0 && q.replies.n == 0 }

func (q *queue) pop() uint8 {
	if q.replies.n > 0 {
		q.last = q.replies.pop()
	} else {
		q.last = q.data.pop()
	}
	return q.last
}
