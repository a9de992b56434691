package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"govmd/test/mux"
)

// A process is the command.
type process struct {
	pid    int
	tty    *os.File // the terminal's master side, or nil
	output sync.WaitGroup
}

// startProcess starts the command. When it cannot, status says which exit status
// that has in a shell.
func startProcess(start *startMessage, conn *mux.Conn) (p *process, status int, err error) {
	if err := os.Chdir(start.Dir); err != nil {
		return nil, exitBroken, err
	}
	os.Clearenv()
	for _, v := range start.Env {
		name, value, _ := strings.Cut(v, "=")
		os.Setenv(name, value)
	}
	// Programs that bring links and modules up are not in every user's path.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 18, Max: 1 << 18}); err != nil {
		return nil, exitBroken, err
	}
	name, err := exec.LookPath(start.Argv[0])
	if errors.Is(err, os.ErrPermission) {
		return nil, exitNoExec, err
	} else if err != nil && !errors.Is(err, exec.ErrDot) {
		return nil, exitNoEntry, err
	}

	p = &process{}
	attr := &os.ProcAttr{Env: os.Environ()}
	var close []*os.File // ours no more once the command has them
	defer func() {
		for _, f := range close {
			f.Close()
		}
	}()
	if start.TTY {
		master, slave, err := openTerminal(start.Size)
		if err != nil {
			return nil, exitBroken, err
		}
		close = append(close, slave)
		p.tty = master
		attr.Files = []*os.File{slave, slave, slave}
		attr.Sys = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
		p.carry(conn.Stream(streamOut), master)
		conn.Stream(streamErr).CloseWrite()
		go io.Copy(master, conn.Stream(streamIn))
	} else {
		in, inWriter, err := os.Pipe()
		if err != nil {
			return nil, exitBroken, err
		}
		attr.Files = []*os.File{in}
		close = append(close, in)
		for _, id := range []uint32{streamOut, streamErr} {
			reader, writer, err := os.Pipe()
			if err != nil {
				return nil, exitBroken, err
			}
			attr.Files = append(attr.Files, writer)
			close = append(close, writer)
			p.carry(conn.Stream(id), reader)
		}
		attr.Sys = &syscall.SysProcAttr{Setpgid: true}
		go func() {
			io.Copy(inWriter, conn.Stream(streamIn))
			inWriter.Close()
		}()
	}
	child, err := os.StartProcess(name, start.Argv, attr)
	if err != nil {
		return nil, exitNoExec, err
	}
	p.pid = child.Pid
	return p, 0, nil
}

// carry copies one of the command's outputs until nobody holds it open.
func (p *process) carry(stream *mux.Stream, from *os.File) {
	p.output.Go(func() {
		io.Copy(stream, from) // a terminal ends with EIO
		stream.CloseWrite()
	})
}

// wait waits for the command, ends what it left behind, sees all output on its
// way, and returns the exit status.
func (p *process) wait() int {
	status := exitBroken
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil) // orphans are ours to reap too
		if err == unix.EINTR || err == nil && pid != p.pid {
			continue
		}
		if err != nil {
			fmt.Printf("nested: wait4: %v\n", err)
			break
		}
		status = ws.ExitStatus()
		if ws.Signaled() {
			status = exitSignal + int(ws.Signal())
		}
		break
	}
	unix.Kill(-1, unix.SIGKILL)
	done := make(chan struct{})
	go func() {
		for {
			if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
				break
			}
		}
		p.output.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		fmt.Printf("nested: processes survive SIGKILL\n")
	}
	return status
}

// signal sends a signal to the command's process group.
func (p *process) signal(sig unix.Signal) {
	if err := unix.Kill(-p.pid, sig); err != nil && err != unix.ESRCH {
		fmt.Printf("nested: signal %v: %v\n", sig, err)
	}
}

func (p *process) resize(size windowSize) {
	if p.tty != nil {
		setSize(p.tty, size)
	}
}

func setSize(f *os.File, size windowSize) error {
	return unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
}

// openTerminal makes a pseudo-terminal.
func openTerminal(size windowSize) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	return master, slave, setSize(slave, size)
}
