package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"govmd/internal/lane"
)

// notifier tells the service manager how the program is: sd_notify(3). One that
// is nil tells nobody.
type notifier struct {
	addr     net.UnixAddr
	watchdog time.Duration // how often it wants to hear of us; 0 for never
}

// newNotifier takes the service manager's variables out of the environment:
// they are for this process alone.
func newNotifier() (*notifier, error) {
	take := func(name string) string {
		defer os.Unsetenv(name)
		return os.Getenv(name)
	}
	socket, usec, pid := take("NOTIFY_SOCKET"), take("WATCHDOG_USEC"), take("WATCHDOG_PID")
	switch {
	case socket == "":
		return nil, nil
	case socket[0] != '/' && socket[0] != '@':
		return nil, fmt.Errorf("NOTIFY_SOCKET: '%s' is neither a path nor an abstract address", socket)
	}
	n := &notifier{addr: net.UnixAddr{Net: "unixgram", Name: socket}}
	if usec != "" && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		us, err := strconv.ParseInt(usec, 10, 64)
		if err != nil || us <= 0 || us > int64(24*time.Hour/time.Microsecond) {
			return nil, fmt.Errorf("WATCHDOG_USEC: '%s' is no time in microseconds", usec)
		}
		n.watchdog = time.Duration(us) * time.Microsecond
	}
	return n, nil
}

// notifyTime bounds how long a message may wait for a service manager that does
// not read.
const notifyTime = time.Second

// send sends assignments, each on a line of its own.
func (n *notifier) send(lines ...string) error {
	if n == nil {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &n.addr)
	if err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(notifyTime)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	return nil
}

// keepAlive pings the service manager's watchdog from the control lane until
// stop is called: a lane that hangs is a program that hangs.
func (n *notifier) keepAlive(l *lane.Lane) (stop func()) {
	if n == nil || n.watchdog == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	ping := l.NewTask(func() { _ = n.send("WATCHDOG=1") }) // one that is lost is followed by another
	go func() {
		defer close(done)
		tick := time.NewTicker(n.watchdog / 3)
		defer tick.Stop()
		for {
			ping.Schedule()
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// announce says that the program is there: monitors listen and the board is
// built.
func (v *vm) announce(context.Context) error {
	if err := v.daemon.detach(v.logFile.Load()); err != nil {
		return &usageError{"-daemonize", err}
	}
	lines := []string{"READY=1", "STATUS=" + v.describe()}
	if v.daemon != nil {
		lines = append(lines, "MAINPID="+strconv.Itoa(os.Getpid()))
	}
	if err := v.notifier.send(lines...); err != nil {
		v.log.Warn(err)
	}
	v.onClose(v.notifier.keepAlive(v.lane))
	return v.daemon.ready()
}

// describe is what the service manager shows of us.
func (v *vm) describe() string {
	name := v.cfg.Name
	if name == "" {
		name = "virtual machine"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, name) + " is up"
}
