package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"govmd/internal/lane"
)

// A lane that hangs is a program that hangs: the watchdog hears nothing.
func TestWatchdogPingsComeFromTheLane(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n := &notifier{addr: net.UnixAddr{Net: "unixgram", Name: name}, watchdog: 3 * time.Millisecond}
	l := lane.New()
	stop := n.keepAlive(l)
	held, release := make(chan struct{}), make(chan struct{})
	l.Post(func() { close(held); <-release })
	go l.Run()
	<-held
	// What had been scheduled before is sent by now; while the lane is held nothing is.
	drain := func() (pings int) {
		var buf [64]byte
		for {
			_ = conn.SetReadDeadline(time.Now().Add(20 * n.watchdog))
			if _, err := conn.Read(buf[:]); err != nil {
				return pings
			}
			pings++
		}
	}
	if pings := drain(); pings > 1 {
		t.Errorf("%d pings while the lane hangs", pings)
	}
	close(release)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var buf [64]byte
	if k, err := conn.Read(buf[:]); err != nil || string(buf[:k]) != "WATCHDOG=1" {
		t.Errorf("%q, %v", buf[:k], err)
	}
	stop()
	l.Close()
	<-l.Done()
}

func TestNotifierEnvironment(t *testing.T) {
	for _, c := range []struct {
		socket, usec, pid string
		watchdog          time.Duration
		none, fails       bool
	}{
		{"", "1000", "", 0, true, false},
		{"/s", "", "", 0, false, false},
		{"/s", "2000", "", 2 * time.Millisecond, false, false},
		{"/s", "2000", "1", 0, false, false}, // another process's
		{"/s", "0", "", 0, false, true},
		{"/s", "99999999999999999999", "", 0, false, true},
		{"s", "", "", 0, false, true},
	} {
		t.Setenv("NOTIFY_SOCKET", c.socket)
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		n, err := newNotifier()
		if (err != nil) != c.fails || (n == nil) != (c.none || c.fails) || n != nil && n.watchdog != c.watchdog {
			t.Errorf("%+v: %+v, %v", c, n, err)
		}
		if _, there := os.LookupEnv("NOTIFY_SOCKET"); there {
			t.Errorf("%+v: children would speak for us", c)
		}
	}
}
