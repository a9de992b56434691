package qtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/machine/accel"
)

// client is the peer of a server that drives a machine with interrupt
// controllers, a timer and RAM.
type client struct {
	*devtest.Machine
	srv  *Server
	conn net.Conn
	in   *bufio.Reader
	irqs []string      // reports since the last look
	done chan struct{} // Serve has returned
	err  error         // what it said
}

func newMachine(tb testing.TB) (*devtest.Machine, *Server) {
	m := devtest.New(tb)
	log := logrus.New()
	log.SetOutput(io.Discard)
	q := accel.NewQtest(log)
	m.Env.MSI = q.MSI()
	var err error
	m.Do(func() { err = q.PlugChips(m.Env, true, true, func(device.Device) error { return nil }) })
	if err != nil {
		tb.Fatal(err)
	}
	m.ResetAll()
	return m, New(Target{Mem: m.Env.Mem, IO: m.Env.IO, Clock: m.Env.Clock.Virtual, Lane: m.Env.Lane, Root: m.Env.Root})
}

func newClient(tb testing.TB) *client {
	m, srv := newMachine(tb)
	return connect(m, srv)
}

func connect(m *devtest.Machine, srv *Server) *client {
	near, far := net.Pipe()
	c := &client{Machine: m, srv: srv, conn: near, in: bufio.NewReader(near), done: make(chan struct{})}
	go func() {
		c.err = srv.Serve(far)
		_ = far.Close()
		close(c.done)
	}()
	m.TB.Cleanup(c.hangUp)
	return c
}

// hangUp closes the connection and waits for the server.
func (c *client) hangUp() {
	_ = c.conn.Close()
	<-c.done
}

// send sends a line, whose end it adds.
func (c *client) send(line string) {
	c.TB.Helper()
	if _, err := io.WriteString(c.conn, line+"\n"); err != nil {
		c.TB.Fatalf("%.80s: %v", line, err)
	}
}

// reply reads a reply; reports of interrupts before it are kept.
func (c *client) reply() string {
	c.TB.Helper()
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.TB.Fatal(err)
		}
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "IRQ ") {
			return line
		}
		c.irqs = append(c.irqs, strings.TrimPrefix(line, "IRQ "))
	}
}

func (c *client) do(format string, args ...any) string {
	c.TB.Helper()
	c.send(fmt.Sprintf(format, args...))
	return c.reply()
}

// expect sends a request and checks the reply.
func (c *client) expect(request, want string) {
	c.TB.Helper()
	if got := c.do("%s", request); got != want {
		c.TB.Errorf("%s: %q, want %q", request, got, want)
	}
}

// fails sends a request and checks that it is refused, in words that begin so.
func (c *client) fails(request, want string) {
	c.TB.Helper()
	if got := c.do("%s", request); !strings.HasPrefix(got, "FAIL "+want) {
		c.TB.Errorf("%.80s: %q, want FAIL %s", request, got, want)
	}
}

// reports checks and forgets what interrupts have done.
func (c *client) reports(want ...string) {
	c.TB.Helper()
	if got := strings.Join(c.irqs, ", "); got != strings.Join(want, ", ") {
		c.TB.Errorf("interrupts: %s; want %s", got, strings.Join(want, ", "))
	}
	c.irqs = nil
}

// output is a device with two outputs.
type output struct {
	device.Base
	lines [2]*device.Line
}

func (o *output) Realize() error {
	for i := range o.lines {
		o.lines[i] = o.NewOutput(nil, "test")
	}
	return nil
}

func (*output) Unrealize() {}
