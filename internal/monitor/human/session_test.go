package human

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmd/internal/chardev"
	"govmd/internal/lane"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// limit bounds each test.
const limit = 30 * time.Second

// rig is a monitor with commands of its own.
type rig struct {
	t     *testing.T
	m     *Monitor
	lane  *lane.Lane
	begun chan struct{} // `hang` has begun
	ended chan error    // and why it has ended
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, lane: lane.New(), begun: make(chan struct{}, 1), ended: make(chan error, 1)}
	go r.lane.Run()
	commands := &qmp.HumanRegistry{}
	registry := qmp.NewRegistry()
	var id uint64
	var mu sync.Mutex
	r.m = New(Config{
		Commands: commands, Registry: registry, Lane: r.lane, Version: "7.2.0 (test)",
		CPUs: func() int { return 2 },
		Register: func(cpu int, name string) (int64, bool, error) {
			return int64(cpu), name == "cpu", nil
		},
		NextID: func() uint64 { mu.Lock(); defer mu.Unlock(); id++; return id },
	})
	registry.Add(r.m.Commands()...)
	commands.Add(
		qmp.HumanCommand{Name: "say", Args: "what:S", Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
			_, err := io.WriteString(out, a.Str("what")+"\n")
			return err
		}, Complete: func(*qmp.Context, []string) []string { return []string{"hello", "help"} }},
		qmp.HumanCommand{Name: "fail", Run: func(*qmp.Context, qmp.HumanArgs, io.Writer) error { return errors.New("it does not work") }},
		qmp.HumanCommand{Name: "bye", Run: func(*qmp.Context, qmp.HumanArgs, io.Writer) error { return qmp.ErrSessionEnds }},
		qmp.HumanCommand{Name: "hang", NoLane: true, Run: func(ctx *qmp.Context, _ qmp.HumanArgs, _ io.Writer) error {
			r.begun <- struct{}{}
			<-ctx.Done()
			r.ended <- ctx.Err()
			return errors.New("interrupted")
		}},
		qmp.HumanCommand{Name: "mark", Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			r.begun <- struct{}{}
			_, err := io.WriteString(out, "marked\n")
			return err
		}},
		qmp.HumanCommand{Name: "flood", NoLane: true, Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			for {
				if _, err := io.WriteString(out, strings.Repeat("x", 1000)+"\n"); err != nil {
					return err
				}
			}
		}},
		qmp.HumanCommand{Name: "much", Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			for range 2 * maxOutput / 1000 { // what is lost is nothing to it
				_, _ = out.Write(make([]byte, 1000))
			}
			_, _ = out.Write(make([]byte, 1))
			return nil
		}},
		qmp.HumanCommand{Name: "fd", Run: func(ctx *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			fd, err := ctx.TakeFD()
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		}},
	)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		r.m.Close(ctx)
		r.lane.Close()
		<-r.lane.Done()
	})
	return r
}

// conn is one end of a pipe as a connection.
type conn struct {
	net.Conn
	fds chan []int
}

func (c *conn) ReadMsg(p []byte) (int, []int, error) {
	n, err := c.Read(p)
	select {
	case fds := <-c.fds:
		return n, fds, err
	default:
		return n, nil, err
	}
}

// client is somebody at the monitor.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	far  *conn
	done chan struct{} // ServeConn has returned
}

func (r *rig) connect(fe chardev.ConnFrontend) *client {
	near, far := net.Pipe()
	c := &client{t: r.t, conn: near, r: bufio.NewReader(near), far: &conn{far, make(chan []int, 1)}, done: make(chan struct{})}
	if err := near.SetDeadline(time.Now().Add(limit)); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		fe.ServeConn(c.far)
	}()
	r.t.Cleanup(func() { _ = near.Close() })
	return c
}

// start connects and reads the banner.
func (r *rig) start() *client {
	c := r.connect(r.m.Frontend(false))
	if got, want := c.until(prompt), "QEMU 7.2.0 (test) monitor - type 'help' for more information\r\n(qemu) "; got != want {
		r.t.Fatalf("the banner is %q", got)
	}
	return c
}

func (c *client) until(end string) string {
	c.t.Helper()
	var got []byte
	for !bytes.HasSuffix(got, []byte(end)) {
		b, err := c.r.ReadByte()
		if err != nil {
			c.t.Fatalf("%v after %.200q", err, got)
		}
		got = append(got, b)
	}
	return string(got)
}

func (c *client) typed(text string) {
	c.t.Helper()
	go func() { _, _ = c.conn.Write([]byte(text)) }() // what is echoed is read meanwhile
}

// ask types a line and returns the answer.
func (c *client) ask(line string) string {
	c.t.Helper()
	c.typed(line + "\r")
	c.until("\r\n")
	return strings.TrimSuffix(c.until(prompt), prompt)
}

func (c *client) expect(line, want string) {
	c.t.Helper()
	if got := c.ask(line); got != want {
		c.t.Errorf("%.200q brings %.200q, not %.200q", line, got, want)
	}
}

func (c *client) wait() {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(limit):
		c.t.Fatal("the session does not end")
	}
}

func TestConversation(t *testing.T) {
	r := newRig(t)
	c := r.start()
	c.expect("say  a b ", "a b \r\n")
	c.expect("", "")
	c.expect("fail", "Error: it does not work\r\n")
	c.expect("nothing", "unknown command: 'nothing'\r\n")
	c.expect("info nothing", "unknown command: 'info nothing'\r\n")
	c.expect("say", "say: string expected\r\nTry \"help say\" for more information\r\n")
	c.expect("p $cpu", "0\r\n")
	c.expect("cpu 2", "invalid CPU index\r\n")
	c.expect("cpu 1", "")
	c.expect("p $cpu", "0x1\r\n")
	c.expect("p $nothing", "unknown register\r\nTry \"help p\" for more information\r\n")
	c.expect("info version", "7.2.0 (test)\r\n")
	c.expect("help say", "say  -- \r\n")
	c.expect("help info version", "info version  -- show the version of govmd\r\n")
	c.expect("help nothing", "unknown command: 'nothing'\r\n")
	c.typed("say hel\t") // two are possible
	if got := c.until(prompt + "say hel\x1b[K"); !strings.HasSuffix(got, "\r\nhello     help      \r\n"+prompt+"say hel\x1b[K") {
		t.Errorf("the completions are %q", got)
	}
	c.expect("", "hel\r\n")
	c.expect("say hello\t", "hello \r\n")
	if got := c.ask("info history"); !strings.HasPrefix(got, "0: 'say  a b '\r\n1: 'fail'\r\n") || !strings.HasSuffix(got, "'info history'\r\n") {
		t.Errorf("the history is %q", got)
	}
	c.typed("bye\r")
	c.until("\r\n")
	_ = c.conn.Close()
	c.wait()
}

// What a terminal remembers is there for whoever connects next.
func TestReconnect(t *testing.T) {
	r := newRig(t)
	fe := r.m.Frontend(false)
	c := r.connect(fe)
	c.until(prompt)
	c.expect("say one", "one\r\n")
	c.expect("cpu 1", "")
	_ = c.conn.Close()
	c.wait()
	c = r.connect(fe)
	c.until(prompt)
	c.expect("p $cpu", "0x1\r\n")
	c.expect("\x1b[A\x1b[A\x1b[A", "one\r\n")
}

// One that waits for its command does so alone, and C-c ends the wait.
func TestOthersGoOn(t *testing.T) {
	r := newRig(t)
	slow, quick := r.start(), r.start()
	slow.typed("hang\r")
	slow.until("\r\n")
	<-r.begun
	quick.expect("say a", "a\r\n")
	slow.typed("\x03")
	if err := <-r.ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := slow.until(prompt); got != "Error: interrupted\r\n"+prompt {
		t.Errorf("%q", got)
	}
	slow.expect("say b", "b\r\n")
	slow.typed("hang\r")
	slow.until("\r\n")
	<-r.begun
	_ = slow.conn.Close() // cancels nothing by itself; the end of the monitor does
	r.m.Close(func() context.Context { ctx, cancel := context.WithCancel(context.Background()); cancel(); return ctx }())
	slow.wait()
}

// A client that does not read disturbs nobody, and what waits for it is bounded.
func TestDeadReader(t *testing.T) {
	r := newRig(t)
	dead, other := r.start(), r.start()
	dead.typed("flood\r")
	dead.until("x")
	other.expect("say a", "a\r\n")
	other.expect("much", strings.Repeat("\x00", maxOutput/1000*1000)+"Error: the output is too long\r\n")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	r.m.Close(ctx)
	dead.wait()
	other.wait()
}

// Input is taken as far as it can be kept, whatever comes.
func TestFlood(t *testing.T) {
	r := newRig(t)
	c := r.start()
	go func() {
		for {
			if _, err := c.conn.Write([]byte(strings.Repeat("\x00\xff\x1b[5~x", 1000))); err != nil {
				return
			}
		}
	}()
	go func() { _, _ = io.Copy(io.Discard, c.conn) }()
	other := r.start()
	other.expect("say a", "a\r\n")
	_ = c.conn.Close()
	c.wait()
}

// With a multiplexer nothing is said before its turn, and a new prompt each time.
func TestTurns(t *testing.T) {
	r := newRig(t)
	fe := r.m.Frontend(true)
	c := r.connect(fe)
	fe.ChardevEvent(chardev.Opened)
	fe.ChardevEvent(chardev.MuxIn)
	c.until("information\r\n" + prompt)
	c.expect("say a", "a\r\n")
	c.typed("lost")
	c.until("lost\x1b[K")
	fe.ChardevEvent(chardev.MuxOut)
	if got := c.until("\n"); got != "\r\n" {
		t.Errorf("%q", got)
	}
	fe.ChardevEvent(chardev.MuxIn)
	if got := c.until(prompt); got != prompt {
		t.Errorf("%q", got)
	}
	c.expect("say b", "b\r\n")
	fe.ChardevEvent(chardev.MuxOut)
	c.until("\r\n")
	c.typed("mark\r") // still on its way when the turn was over: it is done all the same
	<-r.begun
	fe.ChardevEvent(chardev.MuxIn)
	c.until("marked\r\n" + prompt + prompt)
	for range 1000 { // what nobody looks at takes no room
		fe.ChardevEvent(chardev.MuxOut)
		fe.ChardevEvent(chardev.MuxIn)
	}
}

func TestDescriptors(t *testing.T) {
	r := newRig(t)
	c := r.start()
	c.expect("fd", "Error: No file descriptor supplied via SCM_RIGHTS\r\n")
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	c.far.fds <- p[:]
	c.expect("fd", "")
	c.expect("fd", "")
	c.expect("fd", "Error: No file descriptor supplied via SCM_RIGHTS\r\n")
}

func TestHumanMonitorCommand(t *testing.T) {
	r := newRig(t)
	ask := func(line string, cpu *int64) string {
		request := `{"command-line": ` + string(qjson.AppendString(nil, line))
		if cpu != nil {
			request += fmt.Sprintf(`, "cpu-index": %d`, *cpu)
		}
		doc, err := qjson.Parse([]byte(request + "}"))
		if err != nil {
			t.Fatal(err)
		}
		answer := make(chan string, 1)
		r.m.cfg.Registry.Lookup("human-monitor-command").Start(&qmp.Context{Context: t.Context(), Registry: r.m.cfg.Registry}, doc.Root(), qmp.JSON,
			func(result []byte, err error) {
				if err != nil {
					result = []byte(err.Error())
				}
				answer <- string(result)
			})
		return <-answer
	}
	one, two := int64(1), int64(2)
	for _, c := range []struct {
		line string
		cpu  *int64
		want string
	}{
		{"say a", nil, `"a\r\n"`}, {"", nil, `""`}, {"fail", nil, `"Error: it does not work\r\n"`}, {"bye", nil, `""`},
		{"p $cpu", nil, `"0\r\n"`}, {"p $cpu", &one, `"0x1\r\n"`}, {"p $cpu", &two, "Parameter 'cpu-index' expects a CPU number"},
		{"much", nil, "The output of the command is longer than 4 MiB"}, {"say " + strings.Repeat("x", maxLine), nil, "Parameter 'command-line' is longer than 4095 bytes"},
		{"info history", nil, `""`}, {"fd", nil, `"Error: No file descriptor supplied via SCM_RIGHTS\r\n"`}, {"flood", nil, "The output of the command is longer than 4 MiB"},
	} {
		if got := ask(c.line, c.cpu); got != c.want {
			t.Errorf("%.40q brings %s, not %s", c.line, got, c.want)
		}
	}
}
