package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// limit bounds each wait for a program.
const limit = time.Minute

// A process is a program under measurement, with QMP connections that it made
// to us, so that nothing need be polled.
type process struct {
	cmd     *exec.Cmd
	stderr  bytes.Buffer
	started time.Time
	dir     string
	conns   []*net.UnixConn
	gone    chan struct{} // closed when the program has ended
}

// start executes c with n QMP connections and waits until each has sent its
// greeting and taken the negotiation. stdout may be nil.
func start(c contender, n int, stdout *os.File, args ...string) (p *process, err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	p = &process{dir: dir, gone: make(chan struct{})}
	args = append([]string{"-nodefaults", "-display", "none"}, args...)
	var listeners []*net.UnixListener
	for i := range n {
		path := filepath.Join(dir, fmt.Sprint("qmp", i))
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
		defer l.Close()
		l.SetDeadline(time.Now().Add(limit))
		listeners = append(listeners, l)
		args = append(args, "-qmp", "unix:"+path)
	}
	p.cmd = exec.Command(c.path, args...)
	p.cmd.Stderr = &p.stderr
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.gone)
	}()
	accepted := make(chan error, 1)
	go func() { accepted <- p.accept(listeners) }()
	select {
	case err = <-accepted:
	case <-p.gone:
		for _, l := range listeners {
			l.Close()
		}
		<-accepted
		err = errors.New("the program ended early")
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("%s: %w: %s", c.name, err, bytes.TrimSpace(p.stderr.Bytes()))
	}
	return p, nil
}

// accept takes the connections, which may come in any order.
func (p *process) accept(listeners []*net.UnixListener) error {
	for _, l := range listeners {
		conn, err := l.AcceptUnix()
		if err != nil {
			return err
		}
		conn.SetDeadline(time.Now().Add(limit))
		p.conns = append(p.conns, conn)
		buf := make([]byte, 4096)
		if err := readLine(conn, buf); err != nil { // the greeting
			return err
		}
		if err := roundTrip(conn, []byte(`{"execute":"qmp_capabilities"}`+"\n"), buf); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the program and removes its traces.
func (p *process) stop() {
	for _, c := range p.conns {
		c.Close()
	}
	p.cmd.Process.Kill()
	<-p.gone
	os.RemoveAll(p.dir)
}

func roundTrip(conn net.Conn, request, buf []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	return readLine(conn, buf)
}

// readLine reads one message, which ends with a newline and is the only one on
// its way.
func readLine(conn net.Conn, buf []byte) error {
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if n > 0 && buf[n-1] == '\n' {
			return nil
		}
	}
}
