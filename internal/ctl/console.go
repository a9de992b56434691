package ctl

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"govmd/internal/option"
	"govmd/internal/qmp/qjson"
)

// consoleLabels are the character devices that may be the console, best first.
var consoleLabels = []string{"console", "serial0", "charserial0"}

// historyLimit is how much of what the guest said before is shown, in bytes.
const historyLimit = 64 << 10

// console attaches the terminal to the guest's console until the escape key is
// typed or the console ends.
func (p *program) console(path string, _ []string) error {
	escape, err := parseKey(p.opts.escape)
	if err != nil {
		return err
	}
	c, err := p.dial(path)
	if err != nil {
		return err
	}
	defer c.Close()
	label, where, err := p.findConsole(c)
	if err != nil {
		return err
	}
	if where == "ringbuf" || where == "memory" {
		return p.ringConsole(c, label)
	}
	c.Close() // others may want it
	busy := !strings.HasPrefix(where, "disconnected:")
	conn, socket, err := openConsole(strings.TrimPrefix(where, "disconnected:"), filepath.Dir(path))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := p.showHistory(socket); err != nil {
		return err
	}
	if busy && socket != "" {
		fmt.Fprintf(p.stderr, "%s: somebody else is attached to '%s'; waiting for the console\n", p.name, clean(label, false))
	}
	return p.attach(conn, escape, label)
}

// findConsole returns the label and the description of the console's character
// device.
func (p *program) findConsole(c *Client) (label, where string, err error) {
	list, err := c.Execute("query-chardev", nil)
	if err != nil {
		return "", "", err
	}
	known := map[string]string{}
	for v := list.First(); v.Exists(); v = v.Next() {
		known[v.Get("label").Text()] = v.Get("filename").Text()
	}
	want := consoleLabels
	if p.opts.chardev != "" {
		want = []string{p.opts.chardev}
	}
	for _, label := range want {
		if base, ok := known[label+"-base"]; ok && known[label] == "mux" {
			return label, base, nil
		}
		if where, ok := known[label]; ok {
			return label, where, nil
		}
	}
	if p.opts.chardev != "" {
		return "", "", fail(Refused, "there is no character device '%s'%s", p.opts.chardev, option.DidYouMean(p.opts.chardev, sortedKeys(known)))
	}
	return "", "", fail(Refused, "no character device is called %s; --chardev names another: %s",
		join(consoleLabels, " or "), join(sortedKeys(known), ", "))
}

// openConsole connects to what query-chardev describes. socket is the path of a
// Unix socket; relative ones are looked for in dir too, where the monitor is.
func openConsole(where, dir string) (conn io.ReadWriteCloser, socket string, err error) {
	kind, rest, _ := strings.Cut(where, ":")
	addr, server := strings.CutSuffix(rest, ",server=on")
	switch {
	case kind == "unix" && server:
		if !filepath.IsAbs(addr) && !isSocket(addr) {
			addr = filepath.Join(dir, addr)
		}
		conn, err := net.Dial("unix", addr)
		if err != nil {
			return nil, "", dialError(addr, err)
		}
		return conn, addr, nil
	case kind == "tcp" && server:
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, "", dialError(addr, err)
		}
		return conn, "", nil
	case kind == "pty":
		conn, err := openTerminal(rest)
		return conn, "", err
	}
	return nil, "", fail(Refused, "the console is '%s': only a listening Unix or TCP socket, a pty or a ring buffer can be attached to", where)
}

// openTerminal opens a terminal whose other end is the guest. Two that read from it would
// each get a part of what the guest says, so that it is held by one at a time.
func openTerminal(name string) (io.ReadWriteCloser, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fail(Unreachable, "%w", err)
	}
	raw, err := f.SyscallConn()
	if err == nil {
		// Not by Fd, after which reading would not end when the file is closed.
		if e := raw.Control(func(fd uintptr) {
			if err = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB); err == nil {
				_, err = term.MakeRaw(int(fd))
			}
		}); e != nil {
			err = e
		}
	}
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		err = errors.New("somebody else is attached to it")
	}
	_ = f.Close()
	return nil, fail(Unreachable, "%s: %w", name, err)
}

// ringConsole shows what a ring buffer holds. It can be read once, and takes no
// input from here.
func (p *program) ringConsole(c *Client, label string) error {
	args := qjson.AppendString([]byte(`{"size": 65536, "format": "base64", "device": `), label)
	text, err := c.Execute("ringbuf-read", append(args, '}'))
	if err != nil {
		return err
	}
	data, err := base64.StdEncoding.DecodeString(text.Text())
	if err != nil {
		return fail(Broken, "the monitor sent what is no base64: %w", err)
	}
	return p.print(string(data))
}

// showHistory shows the end of the console's log.
func (p *program) showHistory(socket string) error {
	name := p.opts.history
	if name == "" && socket != "" {
		name = socket + ".log"
		if _, err := os.Stat(name); err != nil {
			return nil // no history is kept
		}
	}
	if name == "" {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return fail(Unreachable, "--history: %w", err)
	}
	defer f.Close()
	tail := bufio.NewReader(f)
	if fi, err := f.Stat(); err == nil && fi.Size() > historyLimit {
		if _, err := f.Seek(-historyLimit, io.SeekEnd); err != nil {
			return fail(Unreachable, "--history: %w", err)
		}
		if _, err := tail.ReadSlice('\n'); err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) { // from the next line on
			return fail(Unreachable, "--history: %w", err)
		}
	}
	if _, err = io.Copy(p.stdout, io.LimitReader(tail, historyLimit)); err != nil {
		return fail(Refused, "--history: %w", err)
	}
	return nil
}

// parseKey reads the name of a control key: "^]", "^A"; -1 is for "none".
func parseKey(s string) (int, error) {
	if s == "none" {
		return -1, nil
	}
	if len(s) == 2 && s[0] == '^' {
		if c := s[1] &^ 0x20; c >= '@' && c <= '_' && s[1] >= '@' {
			return int(c - '@'), nil
		}
	}
	return 0, fail(Usage, "'%s' is no key: it is ^ and a letter or one of @[\\]^_, or 'none'", s)
}

// attach copies between the terminal and the console.
func (p *program) attach(conn io.ReadWriteCloser, escape int, label string) error {
	if fd := int(p.stdin.Fd()); term.IsTerminal(fd) {
		how := "nothing typed here ends this"
		if escape >= 0 {
			how = p.opts.escape + " ends this"
		}
		fmt.Fprintf(p.stderr, "%s: attached to '%s'; %s\n", p.name, clean(label, false), how)
		restore, err := makeRaw(fd)
		if err != nil {
			return fail(Refused, "the terminal: %w", err)
		}
		defer fmt.Fprint(p.stderr, "\n")
		defer restore()
	} else {
		escape = -1
	}
	typed := make(chan error, 1)
	go func() { typed <- copyKeys(conn, p.stdin, escape) }()
	heard := make(chan error, 1)
	go func() {
		_, err := io.Copy(p.stdout, conn)
		heard <- err
	}()
	for {
		select {
		case err := <-typed:
			if errors.Is(err, errEscape) {
				return nil
			}
			typed = nil // the end of the input is not the end of the output
		case err := <-heard:
			if err != nil && !errors.Is(err, unix.EIO) && !errors.Is(err, net.ErrClosed) {
				return connError(err)
			}
			return nil
		}
	}
}

// makeRaw hands every key on, until restore is called or a signal ends the process.
func makeRaw(fd int) (restore func(), err error) {
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	var once sync.Once
	putBack := func() { once.Do(func() { _ = term.Restore(fd, old) }) }
	signals, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	go func() {
		select {
		case sig := <-signals:
			putBack()
			signal.Reset()
			_ = unix.Kill(unix.Getpid(), sig.(unix.Signal))
		case <-over:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(over)
		putBack()
	}, nil
}

// errEscape says that the escape key was typed.
var errEscape = errors.New("the escape key")

func copyKeys(dst io.Writer, src io.Reader, escape int) error {
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		keys := buf[:n]
		end := false
		if escape >= 0 {
			if i := strings.IndexByte(string(keys), byte(escape)); i >= 0 {
				keys, end = keys[:i], true
			}
		}
		if _, err := dst.Write(keys); err != nil {
			return err
		}
		if end {
			return errEscape
		}
		if err != nil {
			return err
		}
	}
}
