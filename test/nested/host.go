package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"govmd/test/initramfs"
	"govmd/test/mux"
)

// bootLimit is how long the nested host may take to be ready, on a machine that
// does much else.
const bootLimit = 3 * time.Minute

// Pdeathsig follows the thread that starts QEMU: let it be the one that lives as
// long as the process.
func init() { runtime.LockOSThread() }

// runHost runs the command in a nested host and returns the exit status; the
// error, if any, says what was wrong with the nested host.
func runHost(opts *options) (status int, err error) {
	// A reader of our output that goes away ends the command, not us.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGWINCH)

	kernel, err := initramfs.FindKernel()
	if err != nil {
		return exitBroken, err
	}
	start, err := makeStart(opts, kernel)
	if err != nil {
		return exitBroken, err
	}
	began := time.Now()
	m, err := startMachine(opts, kernel)
	if err != nil {
		return exitBroken, err
	}
	defer m.stop()

	s := &session{opts: opts, machine: m, conn: mux.New(m.channel)}
	closeForwards, err := s.listen()
	if err != nil {
		return exitBroken, err
	}
	defer closeForwards()
	restore := func() {}
	defer func() { restore() }()

	if err := s.send(message{Start: start}); err != nil {
		return exitBroken, s.broken(err)
	}
	limit := time.NewTimer(bootLimit)
	defer limit.Stop()
	ready, quitting := false, false
	interrupts := 0
	for {
		select {
		case data, ok := <-s.conn.Messages():
			if !ok {
				return exitBroken, s.broken(errors.New("it ended unexpectedly"))
			}
			var msg message
			if err := json.Unmarshal(data, &msg); err != nil {
				return exitBroken, s.broken(err)
			}
			switch {
			case msg.Ready != nil:
				ready = true
				if opts.verbose {
					fmt.Fprintf(os.Stderr, "nested: ready after %.1f s, its kernel after %.1f s\n",
						time.Since(began).Seconds(), msg.Ready.Uptime)
				}
				limit.Stop()
				if opts.timeout > 0 {
					limit.Reset(opts.timeout)
				}
				if opts.tty {
					if restore, err = rawTerminal(); err != nil {
						return exitBroken, err
					}
				}
				s.startPumps()
			case msg.Failed != nil:
				return exitBroken, s.broken(errors.New(msg.Failed.Error))
			case msg.Exit != nil:
				s.output.Wait()
				if quitting {
					return exitTimeout, nil
				}
				if msg.Exit.Error != "" {
					return msg.Exit.Status, errors.New(msg.Exit.Error)
				}
				return msg.Exit.Status, nil
			}
		case sig := <-signals:
			n := int(sig.(syscall.Signal))
			if sig == syscall.SIGWINCH {
				if opts.tty && ready {
					size := terminalSize()
					s.send(message{Size: &size})
				}
				continue
			}
			if interrupts++; !ready || interrupts > 2 {
				return exitSignal + n, nil
			}
			s.send(message{Signal: &n})
		case <-limit.C:
			if !ready {
				return exitBroken, s.broken(fmt.Errorf("it was not ready after %v", bootLimit))
			}
			if quitting {
				return exitTimeout, nil
			}
			// A Go program says on SIGQUIT what all its goroutines do.
			quitting = true
			fmt.Fprintf(os.Stderr, "nested: the time limit of %v has passed\n", opts.timeout)
			n := int(syscall.SIGQUIT)
			s.send(message{Signal: &n})
			limit.Reset(5 * time.Second)
		}
	}
}

func makeStart(opts *options, k *initramfs.Kernel) (*startMessage, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "NESTED_SCRATCH=")
	})
	env = append(env, "NESTED_SCRATCH="+scratchDir, "GOVMD_NESTED=1")
	return &startMessage{
		Argv: opts.argv, Env: env, Dir: dir, TTY: opts.tty, Size: terminalSize(),
		Modules: k.Dir + "/lib/modules", Release: k.Release,
	}, nil
}

// A session is the conversation with the guest side.
type session struct {
	opts    *options
	machine *machine
	conn    *mux.Conn
	output  sync.WaitGroup // copies of the command's output
}

func (s *session) send(m message) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return s.conn.Send(data)
}

func (s *session) broken(err error) error {
	// A kernel that has panicked may still be writing to its console when the
	// channel ends; QEMU's end says that all is there.
	state := "QEMU still runs"
	select {
	case <-s.machine.gone:
		state = "QEMU: " + s.machine.cmd.ProcessState.String()
	case <-time.After(storyLimit):
	}
	return fmt.Errorf("the nested host failed: %w (%s)%s", err, state, s.machine.story())
}

// storyLimit is how long a nested host that has failed may take to end.
const storyLimit = 5 * time.Second

// startPumps copies the command's streams.
func (s *session) startPumps() {
	go func() {
		in := s.conn.Stream(streamIn)
		io.Copy(in, os.Stdin)
		in.CloseWrite()
	}()
	for id, f := range map[uint32]*os.File{streamOut: os.Stdout, streamErr: os.Stderr} {
		s.output.Go(func() {
			stream := s.conn.Stream(id)
			if _, err := io.Copy(f, stream); err != nil {
				n := int(syscall.SIGPIPE)
				s.send(message{Signal: &n})
				io.Copy(io.Discard, stream)
			}
		})
	}
}

// listen makes the sockets to be forwarded.
func (s *session) listen() (closeAll func(), err error) {
	var listeners []net.Listener
	closeAll = func() {
		for _, l := range listeners {
			l.Close()
		}
	}
	var mu sync.Mutex
	next := uint32(streamForward)
	for _, f := range s.opts.forwards {
		l, err := net.Listen("unix", f.outer)
		if err != nil {
			closeAll()
			return nil, err
		}
		listeners = append(listeners, l)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return // closed
				}
				mu.Lock()
				id := next
				next++
				mu.Unlock()
				s.send(message{Open: &openMessage{Stream: id, Path: f.inner}})
				go join(conn.(*net.UnixConn), s.conn.Stream(id))
			}
		}()
	}
	return closeAll, nil
}

// join copies between a connection and a stream until both directions end.
func join(conn *net.UnixConn, stream *mux.Stream) {
	var both sync.WaitGroup
	both.Go(func() {
		io.Copy(stream, conn)
		stream.CloseWrite()
	})
	if _, err := io.Copy(conn, stream); err != nil {
		io.Copy(io.Discard, stream)
	}
	// The other end has gone: end our reader too, unless it only half closed.
	conn.CloseWrite()
	both.Wait()
	conn.Close()
}
