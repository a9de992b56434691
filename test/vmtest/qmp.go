package vmtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// A QMP is a client of a QMP server. It is made of nothing of govmd's, so that it
// can judge both sides of the protocol.
type QMP struct {
	conn     net.Conn
	Greeting json.RawMessage // the value of the greeting's "QMP" member

	mu      sync.Mutex
	next    int                   // guarded by mu
	replies map[string]chan reply // guarded by mu
	events  []Event               // guarded by mu: those that no one has taken yet
	arrived chan struct{}         // guarded by mu: closed at the next event
	err     error                 // guarded by mu: why the connection ended
}

// An Event is a QMP event.
type Event struct {
	Name      string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// An Error is a QMP error.
type Error struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *Error) Error() string { return e.Class + ": " + e.Desc }

type reply struct {
	Return json.RawMessage `json:"return"`
	Error  *Error          `json:"error"`
	lost   error
}

// ErrLost is wrapped by the error for a connection that ended.
var ErrLost = errors.New("the QMP connection ended")

// DialQMP connects to the Unix socket at path and negotiates no capabilities.
// While nobody listens there it tries again, until ctx ends or gone is closed.
func DialQMP(ctx context.Context, path string, gone <-chan struct{}) (*QMP, error) {
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			return NewQMP(conn)
		}
		select {
		case <-retry.C:
		case <-gone:
			return nil, fmt.Errorf("%w: the process has exited", err)
		case <-ctx.Done():
			return nil, err
		}
	}
}

// NewQMP takes the greeting on conn and negotiates no capabilities.
func NewQMP(conn net.Conn) (*QMP, error) {
	q := &QMP{conn: conn, replies: make(map[string]chan reply), arrived: make(chan struct{})}
	decoder := json.NewDecoder(conn)
	var greeting struct{ QMP json.RawMessage }
	if err := decoder.Decode(&greeting); err != nil {
		conn.Close()
		return nil, fmt.Errorf("reading the QMP greeting: %w", err)
	}
	if greeting.QMP == nil {
		conn.Close()
		return nil, errors.New("the first QMP message is not a greeting")
	}
	q.Greeting = greeting.QMP
	go q.read(decoder)
	if err := q.Execute(context.Background(), "qmp_capabilities", nil, nil); err != nil {
		conn.Close()
		return nil, err
	}
	return q, nil
}

// Close ends the connection.
func (q *QMP) Close() error { return q.conn.Close() }

// Execute runs a command. arguments may be nil, or what encodes as an object;
// the result is decoded into result unless that is nil. A refusal is an *Error.
func (q *QMP) Execute(ctx context.Context, command string, arguments, result any) error {
	answer := make(chan reply, 1)
	q.mu.Lock()
	q.next++
	id := strconv.Itoa(q.next)
	if q.err != nil {
		defer q.mu.Unlock()
		return q.err
	}
	q.replies[id] = answer
	q.mu.Unlock()

	request := map[string]any{"execute": command, "id": id}
	if arguments != nil {
		request["arguments"] = arguments
	}
	data, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := q.conn.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("%s: %w: %w", command, ErrLost, err)
	}
	select {
	case r := <-answer:
		switch {
		case r.lost != nil:
			return fmt.Errorf("%s: %w", command, r.lost)
		case r.Error != nil:
			return r.Error
		case result != nil:
			return json.Unmarshal(r.Return, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: no reply: %w", command, ctx.Err())
	}
}

// WaitEvent takes the first event of that name, waiting for it if need be. Events
// before it are dropped.
func (q *QMP) WaitEvent(ctx context.Context, name string) (Event, error) {
	for {
		q.mu.Lock()
		for i, e := range q.events {
			if e.Name == name {
				q.events = q.events[i+1:]
				q.mu.Unlock()
				return e, nil
			}
		}
		arrived, err := q.arrived, q.err
		q.mu.Unlock()
		if err != nil {
			return Event{}, fmt.Errorf("no event %s: %w", name, err)
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("no event %s: %w", name, ctx.Err())
		}
	}
}

// TakeEvents returns all events that have arrived and were not taken.
func (q *QMP) TakeEvents() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.events
	q.events = nil
	return events
}

func (q *QMP) read(decoder *json.Decoder) {
	for {
		var m struct {
			Event
			reply
			ID string `json:"id"`
		}
		err := decoder.Decode(&m)
		q.mu.Lock()
		switch {
		case err != nil:
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				err = nil
			}
			q.err = ErrLost
			if err != nil {
				q.err = fmt.Errorf("%w: %w", ErrLost, err)
			}
			for _, answer := range q.replies {
				answer <- reply{lost: q.err}
			}
			close(q.arrived)
			q.mu.Unlock()
			return
		case m.Name != "":
			q.events = append(q.events, m.Event)
			close(q.arrived)
			q.arrived = make(chan struct{})
		case q.replies[m.ID] != nil:
			q.replies[m.ID] <- m.reply
			delete(q.replies, m.ID)
		}
		q.mu.Unlock()
	}
}
