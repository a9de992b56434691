package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/test/mux"
)

// guestMain is the first process of the nested host.
func guestMain() {
	g := &guest{}
	if err := g.run(); err != nil {
		if g.conn != nil {
			g.send(message{Failed: &failedMessage{Error: err.Error()}})
		} else {
			fmt.Printf("nested: %v\n", err) // the console
		}
	}
	// The host side ends the machine when it has read the last message; when
	// there is nobody to read it, the machine ends itself.
	if g.conn != nil {
		for range g.conn.Messages() {
		}
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

type guest struct {
	conn    *mux.Conn
	process *process // set once by run, before messages are served
}

func (g *guest) send(m message) {
	data, err := json.Marshal(m)
	if err == nil {
		err = g.conn.Send(data)
	}
	if err != nil {
		fmt.Printf("nested: sending to the host side: %v\n", err)
	}
}

func (g *guest) run() error {
	// The kernel gives init no PATH.
	os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	if err := mountEarly(); err != nil {
		return err
	}
	rootModules, hostModules, err := openModules()
	if err != nil {
		return err
	}
	if err := loadModules(rootModules); err != nil {
		return err
	}
	loaded := make(chan error, 1)
	go func() { loaded <- loadModules(hostModules) }()

	port, err := openPort()
	if err != nil {
		return err
	}
	g.conn = mux.New(port)
	var first message
	if err := json.Unmarshal(<-g.conn.Messages(), &first); err != nil || first.Start == nil {
		return fmt.Errorf("the first message is not a start: %v", err)
	}
	start := first.Start
	if err := enterRoot(start); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	if err := <-loaded; err != nil {
		return err
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return fmt.Errorf("its KVM modules are loaded, but: %w", err)
	}
	g.send(message{Ready: &readyMessage{Uptime: uptime()}})

	p, status, err := startProcess(start, g.conn)
	if err != nil {
		for id := uint32(streamOut); id <= streamErr; id++ {
			g.conn.Stream(id).CloseWrite()
		}
		g.send(message{Exit: &exitMessage{Status: status, Error: err.Error()}})
		return nil
	}
	g.process = p
	go g.serve()
	status = p.wait()
	settle()
	g.send(message{Exit: &exitMessage{Status: status}})
	select {} // serve has the messages; the machine is ended from outside
}

// serve obeys the host side while the command runs.
func (g *guest) serve() {
	for data := range g.conn.Messages() {
		var m message
		if err := json.Unmarshal(data, &m); err != nil {
			fmt.Printf("nested: bad message: %v\n", err)
			continue
		}
		switch {
		case m.Signal != nil:
			g.process.signal(unix.Signal(*m.Signal))
		case m.Size != nil:
			g.process.resize(*m.Size)
		case m.Open != nil:
			go forwardTo(m.Open.Path, g.conn.Stream(m.Open.Stream))
		}
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// forwardTo connects a stream to the Unix socket at path.
func forwardTo(path string, stream *mux.Stream) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		stream.CloseWrite()
		io.Copy(io.Discard, stream)
		return
	}
	join(conn.(*net.UnixConn), stream)
}

func uptime() float64 {
	data, _ := os.ReadFile("/proc/uptime")
	word, _, _ := strings.Cut(string(data), " ")
	seconds, _ := strconv.ParseFloat(word, 64)
	return seconds
}

// settle brings the scratch folder up to date after the last process has gone.
func settle() {
	if err := unix.Unmount(scratchDir, 0); err != nil {
		fmt.Printf("nested: unmounting %s: %v\n", scratchDir, err)
		unix.Sync()
	}
}

// A blockingFile reads and writes with plain system calls. The driver of
// virtio-serial ports signals readiness only roughly, so that they are best left
// out of Go's poller.
type blockingFile struct {
	fd     int
	closed sync.Once
}

func (f *blockingFile) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(f.fd, p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (f *blockingFile) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := unix.Write(f.fd, p[written:])
		if err != nil && err != unix.EINTR {
			return written, err
		}
		written += max(n, 0)
	}
	return written, nil
}

func (f *blockingFile) Close() (err error) {
	f.closed.Do(func() { err = unix.Close(f.fd) })
	return err
}
