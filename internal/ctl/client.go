package ctl

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"govmd/internal/qmp/qjson"
)

// maxEvents is how many events are kept for whoever asks for them later. A
// monitor that floods loses the oldest.
const maxEvents = 1024

// Client is a connection to a monitor. It is used by one goroutine at a time,
// which reads what comes while it waits for something.
type Client struct {
	conn   net.Conn
	reader qjson.Reader
	buf    []byte
	unread []byte // of buf
	events []Event
	nextID int64
}

// Event is an event of the machine.
type Event struct {
	Name string
	Time time.Time
	Data qjson.Value // an Object, or absent
	Raw  qjson.Value // the whole message
}

// Dial connects to the monitor at a Unix socket and ends the negotiation phase.
// All of it, and what is waited for afterwards, takes no longer than until
// deadline; the zero time is no limit.
func Dial(path string, deadline time.Time) (*Client, error) {
	ctx := context.Background()
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, dialError(path, err)
	}
	c := &Client{conn: conn, buf: make([]byte, 64<<10)}
	if err := c.greet(deadline); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func dialError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fail(Unreachable, "%s: no machine listens there", path)
	case errors.Is(err, fs.ErrPermission):
		return fail(Unreachable, "%s: permission denied: it is for root and the socket's group", path)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fail(TimedOut, "%s: no connection in time", path)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fail(Unreachable, "%s: %w", path, err)
}

func (c *Client) greet(deadline time.Time) error {
	c.SetDeadline(deadline)
	m, err := c.message()
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Kind == TimedOut {
			return fail(TimedOut, "no greeting in time: the monitor serves one client, and may have one")
		}
		return err
	}
	if m.Get("QMP").Kind() != qjson.Object {
		return fail(Broken, "what answers there is no QMP monitor")
	}
	_, err = c.Execute("qmp_capabilities", nil)
	return err
}

// Close ends the connection.
func (c *Client) Close() { _ = c.conn.Close() }

// SetDeadline limits all that follows; the zero time is no limit.
func (c *Client) SetDeadline(t time.Time) { _ = c.conn.SetDeadline(t) }

// Execute runs a command and returns its result. args is the text of a JSON
// object, or nil. A refusal is a *CommandError in an Error of kind Refused.
func (c *Client) Execute(command string, args []byte) (qjson.Value, error) {
	c.nextID++
	id := c.nextID
	b := append([]byte(nil), `{"execute": `...)
	b = qjson.AppendString(b, command)
	if args != nil {
		b = append(append(b, `, "arguments": `...), args...)
	}
	b = append(b, `, "id": `...)
	b = append(strconv.AppendInt(b, id, 10), "}\n"...)
	if _, err := c.conn.Write(b); err != nil {
		return qjson.Value{}, connError(err)
	}
	for {
		m, err := c.message()
		if err != nil {
			return qjson.Value{}, err
		}
		switch got, _ := m.Get("id").Int(); {
		case m.Get("event").Exists():
			if err := c.keep(m); err != nil {
				return qjson.Value{}, err
			}
		case m.Get("error").Exists():
			e := m.Get("error")
			return qjson.Value{}, &Error{Refused, &CommandError{e.Get("class").Text(), e.Get("desc").Text()}}
		case m.Get("return").Exists() && got == id:
			return m.Get("return"), nil
		default:
			return qjson.Value{}, fail(Broken, "the monitor sent what is no answer: %.200s", m.Append(nil))
		}
	}
}

// Event returns the next event, waiting for it if need be. io.EOF in its error
// says that the connection ended between messages.
func (c *Client) Event() (Event, error) {
	for len(c.events) == 0 {
		m, err := c.message()
		if err != nil {
			return Event{}, err
		}
		if err := c.keep(m); err != nil {
			return Event{}, err
		}
	}
	e := c.events[0]
	c.events = c.events[1:]
	return e, nil
}

func (c *Client) keep(m qjson.Value) error {
	name, stamp := m.Get("event"), m.Get("timestamp")
	if name.Kind() != qjson.String {
		return fail(Broken, "the monitor sent what is no event: %.200s", m.Append(nil))
	}
	sec, _ := stamp.Get("seconds").Int()
	usec, _ := stamp.Get("microseconds").Int()
	e := Event{Name: name.Text(), Data: m.Get("data"), Raw: m}
	if sec > 0 && usec >= 0 && usec < 1e6 {
		e.Time = time.Unix(sec, usec*1000)
	}
	if len(c.events) == maxEvents {
		c.events = c.events[1:]
	}
	c.events = append(c.events, e)
	return nil
}

// message reads one message, which is an object. Its memory is its own.
func (c *Client) message() (qjson.Value, error) {
	for {
		for len(c.unread) > 0 {
			n, doc, err := c.reader.Scan(c.unread)
			c.unread = c.unread[n:]
			if err != nil {
				return qjson.Value{}, fail(Broken, "the monitor sent what is no QMP: %w", err)
			}
			if doc == nil {
				continue
			}
			if root := doc.Root(); root.Kind() == qjson.Object {
				return root, nil
			}
			return qjson.Value{}, fail(Broken, "the monitor sent what is no QMP message: %.200s", doc.Root().Append(nil))
		}
		n, err := c.conn.Read(c.buf)
		if n == 0 && err != nil {
			return qjson.Value{}, connError(err)
		}
		c.unread = c.buf[:n]
	}
}
