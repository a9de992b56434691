package monitor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/qmp"
)

// machine is what the tests' commands act upon.
type machine struct {
	m     *Monitor
	lane  *lane.Lane
	bus   event.Bus
	ready bool

	mu      sync.Mutex
	held    chan struct{} // "block" waits for it, on the lane
	pending []*qmp.Reply[textResult]
	log     []string // what ran
}

type textArgs struct {
	Text string `qmp:"text,optional"`
}

type textResult struct {
	Text string `qmp:"text"`
}

type rtcChange struct {
	Offset int `qmp:"offset"`
}

func (rtcChange) EventName() string { return "RTC_CHANGE" }

type portChange struct {
	ID   string `qmp:"id"`
	Open bool   `qmp:"open"`
}

func (portChange) EventName() string { return "VSERPORT_CHANGE" }

type stopped struct{}

func (stopped) EventName() string { return "STOP" }

func (v *machine) note(s string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log = append(v.log, s)
}

func (v *machine) commands() []qmp.Command {
	return []qmp.Command{
		qmp.New("echo", func(_ *qmp.Context, a *textArgs) (textResult, error) {
			v.note(a.Text)
			if strings.HasPrefix(a.Text, "!") {
				return textResult{}, qmp.DeviceNotFound(a.Text[1:])
			}
			return textResult(*a), nil
		}),
		qmp.New("repeat", func(_ *qmp.Context, a *struct {
			N int `qmp:"n"`
		}) (textResult, error) {
			return textResult{strings.Repeat("x", a.N)}, nil
		}, qmp.NoLane),
		qmp.New("peek", func(_ *qmp.Context, a *textArgs) (textResult, error) {
			v.note(a.Text)
			return textResult(*a), nil
		}, qmp.NoLane, qmp.OOB),
		qmp.New("block", func(*qmp.Context, *qmp.None) (qmp.None, error) {
			<-v.held
			return qmp.None{}, nil
		}),
		qmp.New("release", func(*qmp.Context, *qmp.None) (qmp.None, error) {
			v.held <- struct{}{}
			return qmp.None{}, nil
		}, qmp.OOB),
		qmp.New("stop", func(*qmp.Context, *qmp.None) (qmp.None, error) {
			v.bus.Publish(stopped{})
			return qmp.None{}, nil
		}),
		qmp.NewAsync("later", func(_ *qmp.Context, a *textArgs, r *qmp.Reply[textResult]) {
			if a.Text == "now" {
				r.Return(textResult(*a))
				return
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			v.pending = append(v.pending, r)
		}),
		qmp.New("take-fd", func(c *qmp.Context, _ *qmp.None) (struct {
			FD int `qmp:"fd"`
		}, error) {
			fd, err := c.TakeFD()
			return struct {
				FD int `qmp:"fd"`
			}{fd}, err
		}, qmp.NoLane),
		qmp.New("qom-early", func(*qmp.Context, *qmp.None) (qmp.None, error) { return qmp.None{}, nil }, qmp.Preconfig),
	}
}

func newMachine() *machine {
	v := &machine{lane: lane.New(), ready: true, held: make(chan struct{})}
	reg := qmp.NewRegistry()
	v.m = New(Config{Registry: reg, Lane: v.lane, Bus: &v.bus, Package: "govmd-test", Ready: func() bool { return v.ready }})
	reg.Add(v.m.Commands()...)
	reg.Add(v.commands()...)
	reg.AddEvents(rtcChange{}, portChange{}, stopped{})
	go v.lane.Run()
	return v
}

// close ends the machine and checks that nothing of it is left.
func (v *machine) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	v.m.Close(ctx)
	v.lane.Close()
	<-v.lane.Done()
}

// plainConn is a Conn that passes no descriptors.
type plainConn struct{ net.Conn }

func (c plainConn) ReadMsg(p []byte) (int, []int, error) {
	n, err := c.Read(p)
	return n, nil, err
}

// client is the other end of a session. What it is sent is collected unless it
// holds back.
type client struct {
	conn net.Conn
	done chan struct{} // ServeConn has returned

	mu   sync.Mutex
	got  bytes.Buffer
	gate chan struct{} // reading waits for it to be closed; nil for no wait
}

func (v *machine) connect(opts Options) *client {
	a, b := net.Pipe()
	c := &client{conn: b, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		v.m.ServeConn(plainConn{a}, opts)
	}()
	go c.read()
	return c
}

func (c *client) read() {
	p := make([]byte, 4096)
	for {
		c.mu.Lock()
		gate := c.gate
		c.mu.Unlock()
		if gate != nil {
			<-gate
		}
		n, err := c.conn.Read(p)
		c.mu.Lock()
		c.got.Write(p[:n])
		c.mu.Unlock()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
				panic(err)
			}
			return
		}
	}
}

// take returns what has been sent so far.
func (c *client) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.got.String()
	c.got.Reset()
	return s
}

// hold stops reading; the returned function goes on.
func (c *client) hold() (release func()) {
	gate := make(chan struct{})
	c.mu.Lock()
	c.gate = gate
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		c.gate = nil
		c.mu.Unlock()
		close(gate)
	}
}

// say sends text and returns what the client has been sent once all is quiet.
func (c *client) say(text string) string {
	_, err := io.WriteString(c.conn, text)
	synctest.Wait()
	if err != nil {
		return "write: " + err.Error()
	}
	return c.take()
}

// negotiate gets the greeting and the negotiation done.
func (c *client) negotiate() {
	c.say(`{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}` + "\n")
}

// run runs a test in a bubble with a machine.
func run(t *testing.T, fn func(t *testing.T, v *machine)) {
	synctest.Test(t, func(t *testing.T) {
		v := newMachine()
		fn(t, v)
		v.close()
	})
}
