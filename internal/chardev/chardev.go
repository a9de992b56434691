// Package chardev provides character devices: byte streams between a guest's
// port (or a monitor) and something on the host.
//
// A Chardev has a back end (a file, a socket, standard input and output) and at
// most one front end (a UART, a virtio port, a monitor). Neither side ever
// blocks the other: output that the back end cannot take yet is buffered up to a
// bound, and input is read only as far as the front end says that it can take it.
package chardev

// Event is something that happens to a character device beside data.
type Event int

// The events that a front end is told of.
const (
	Opened       Event = iota // the other side is there (again)
	Closed                    // the other side has gone
	Break                     // a line break was received
	MuxIn                     // the multiplexer now sends input here
	MuxOut                    // the multiplexer now sends input elsewhere
	ModemChanged              // the modem lines of a serial line may have changed; see ModemPort
)

// Frontend is what uses a character device. Its methods are called from the
// back end's goroutines and from whoever attaches it, never two at once, with no
// lock held that its calls to the Port take.
// They must not block. A front end that writes from Receive must take care of
// its own locks.
type Frontend interface {
	// CanReceive returns how many bytes Receive can take now. When it has
	// returned 0, no input comes until Port.AcceptInput is called.
	CanReceive() int
	// Receive takes input; len(p) is at most what CanReceive returned. p is
	// reused after the return.
	Receive(p []byte)
	ChardevEvent(ev Event)
}

// Port is a front end's hold on a character device.
type Port interface {
	// Write queues output and returns how many bytes were taken, at once and
	// without blocking. When that is less than len(p) the buffer is full; the
	// function last given to OnWritable is called once there is room. With no
	// peer connected, output is taken and dropped (or kept by a ring buffer).
	Write(p []byte) int
	// OnWritable sets what is called, on the back end's goroutine, when output
	// can be taken again after a short Write.
	OnWritable(fn func())
	// AcceptInput says that CanReceive may return more than before.
	AcceptInput()
	// Connected reports whether there is somebody at the other side.
	Connected() bool
	// SendBreak sends a line break, where the back end has such a thing.
	SendBreak()
	// SetOpen tells the back end whether the guest has opened its side.
	SetOpen(open bool)
	// SetParams sets the line parameters, where the back end is a real serial line.
	SetParams(p LineParams)
	// Detach ends the hold: when it has returned the front end is not called again,
	// and the connection of a ConnFrontend has ended. It must not be called from
	// the front end's own methods nor, where ServeConn waits for the control lane
	// as monitors do, on the lane.
	Detach()
}

// LineParams are the settings of a serial line.
type LineParams struct {
	Speed    int  // bits a second
	Parity   byte // 'N', 'E' or 'O'
	DataBits int  // 5 to 8
	StopBits int  // 1 or 2
}

// ModemLines are the control lines of a serial line.
type ModemLines uint8

// The lines; DTR and RTS are outputs.
const (
	DTR ModemLines = 1 << iota
	RTS
	CTS
	DSR
	RI
	DCD
)

// ModemPort is a Port that may have modem lines.
type ModemPort interface {
	Port
	// Modem returns the state of all lines; ok is false where the back end has none.
	Modem() (lines ModemLines, ok bool)
	// SetModem sets DTR and RTS.
	SetModem(lines ModemLines)
}

// Conn is one connection of a character device: a client of a socket, or
// standard input and output.
type Conn interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	Close() error
	// ReadMsg is Read that also returns the descriptors which came with the
	// first of the bytes. Where descriptors cannot be passed it returns none.
	// The caller owns them.
	ReadMsg(p []byte) (n int, fds []int, err error)
}

// ConnFrontend is a front end that serves whole connections, as monitors do,
// instead of a stream of bytes: it reads and writes at its own pace. ServeConn
// is called on the back end's goroutine and may block until the connection
// ends. The back end closes the connection when the device goes away and after
// ServeConn has returned. Such a front end gets no other calls.
type ConnFrontend interface {
	Frontend
	ServeConn(Conn)
}
