package sock

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// MaxRights is how many descriptors one message may carry.
const MaxRights = 16

// RightsReader reads from a connection, with the descriptors that are passed on
// it where it is a Unix socket.
type RightsReader struct {
	conn net.Conn
	unix *net.UnixConn // nil when it is none
	oob  []byte
}

// NewRightsReader returns a reader of conn.
func NewRightsReader(conn net.Conn) *RightsReader {
	r := &RightsReader{conn: conn}
	if u, ok := conn.(*net.UnixConn); ok {
		r.unix, r.oob = u, make([]byte, unix.CmsgSpace(MaxRights*4))
	}
	return r
}

// ReadMsg reads, and returns the descriptors that came with the first of the
// bytes, close-on-exec; the caller owns them. A message with more descriptors
// than there is room for loses them all: which are missing cannot be told.
func (r *RightsReader) ReadMsg(p []byte) (int, []int, error) {
	if r.unix == nil {
		n, err := r.conn.Read(p)
		return n, nil, err
	}
	n, oobn, flags, _, err := r.unix.ReadMsgUnix(p, r.oob)
	n = max(n, 0) // -1 with an error
	if err == nil && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	if oobn == 0 {
		return n, nil, err
	}
	fds := parseRights(r.oob[:oobn])
	if flags&unix.MSG_CTRUNC != 0 {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		fds = nil
	}
	return n, fds, err
}

func parseRights(oob []byte) []int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var fds []int
	for i := range msgs {
		if got, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds
}
