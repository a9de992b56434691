package block

// Op is what a request does.
type Op uint8

// The operations.
const (
	OpRead Op = iota
	OpWrite
	OpFlush
	OpZeroes
	OpDiscard
	OpCall // runs Request.Call: whatever else has to be done where requests run
	numOps
)

var opNames = [...]string{"read", "write", "flush", "write_zeroes", "unmap", "call"}

func (o Op) String() string { return opNames[o] }

// Request is one thing for a Queue to do. Its owner keeps it, in its own pooled
// structure, fills it in, submits it, and may use it again once Done has been
// called: nothing is allocated.
type Request struct {
	Op    Op
	Flags Flags
	Off   int64
	Len   int64 // of what has no Vec: zeroes and discards
	Vec   Vec   // of reads and writes; lent until Done

	// Done is told of the end, on a goroutine of the queue (or the iothread),
	// holding no lock. It may submit again, but must not wait. err is nil or has an
	// error number (Errno). It is set once, when the request is made.
	Done func(r *Request, err error)
	// Call is what OpCall does.
	Call func(r *Request) error
	// Owner is whatever the owner wants to find again in Done.
	Owner any
	// NoAccounting leaves the request out of the statistics.
	NoAccounting bool

	queue *Queue
	next  *Request
	start int64 // ns, when it was submitted
}

// bytes returns how much the request moves or covers.
func (r *Request) bytes() int64 {
	if r.Op == OpRead || r.Op == OpWrite {
		return int64(r.Vec.Len())
	}
	return r.Len
}

// fifo is a list of requests.
type fifo struct {
	head, tail *Request
	n          int
}

func (f *fifo) push(r *Request) {
	r.next = nil
	if f.tail == nil {
		f.head = r
	} else {
		f.tail.next = r
	}
	f.tail = r
	f.n++
}

func (f *fifo) pop() *Request {
	r := f.head
	if r == nil {
		return nil
	}
	if f.head = r.next; f.head == nil {
		f.tail = nil
	}
	r.next = nil
	f.n--
	return r
}

// perform carries r out on a node; c is not used, and may be nil, for OpCall.
func (r *Request) perform(c *Child) error {
	switch r.Op {
	case OpCall:
		return r.Call(r)
	case OpRead:
		return c.Preadv(r.Off, r.Vec, r.Flags)
	case OpWrite:
		return c.Pwritev(r.Off, r.Vec, r.Flags)
	case OpFlush:
		return c.Flush()
	case OpZeroes:
		return c.PwriteZeroes(r.Off, r.Len, r.Flags)
	case OpDiscard:
		return c.Pdiscard(r.Off, r.Len)
	}
	return ErrUnsupp
}
