package nbd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/block/nbd/wire"
	"govmd/internal/crypto/cryptotest"
	"govmd/internal/sock"
)

// pair is a session with the server's end of its connection.
func pair(t testing.TB, structured bool) (*session, *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		ends[i] = c.(*net.UnixConn)
	}
	e := &wire.Export{Size: 1 << 20, Flags: 0xffff, Structured: structured, Contexts: map[string]uint32{wire.BaseAllocation: 7}}
	s := newSession(ends[0], e, wire.BaseAllocation)
	t.Cleanup(func() { s.abandon(); _ = ends[1].Close() })
	return s, ends[1]
}

// request reads a request as a server does, and returns its cookie.
func request(t testing.TB, c net.Conn) uint64 {
	t.Helper()
	var p [wire.RequestSize]byte
	if _, err := io.ReadFull(c, p[:]); err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint64(p[8:])
}

func simple(cookie uint64, code uint32, data ...byte) []byte {
	p := binary.BigEndian.AppendUint32(nil, wire.SimpleMagic)
	p = binary.BigEndian.AppendUint32(p, code)
	p = binary.BigEndian.AppendUint64(p, cookie)
	return append(p, data...)
}

// chunk makes a chunk; fields are numbers of 2, 4 or 8 bytes, or bytes.
func chunk(cookie uint64, flags uint16, kind wire.Chunk, fields ...any) []byte {
	be := binary.BigEndian
	var body []byte
	for _, f := range fields {
		switch f := f.(type) {
		case uint16:
			body = be.AppendUint16(body, f)
		case uint32:
			body = be.AppendUint32(body, f)
		case uint64:
			body = be.AppendUint64(body, f)
		case string:
			body = append(body, f...)
		}
	}
	p := be.AppendUint32(nil, wire.StructuredMagic)
	p = be.AppendUint16(p, flags)
	p = be.AppendUint16(p, uint16(kind))
	p = be.AppendUint64(p, cookie)
	p = be.AppendUint32(p, uint32(len(body)))
	return append(p, body...)
}

const done = wire.ChunkDone

func TestReplies(t *testing.T) {
	read := call{cmd: wire.CmdRead, off: 4096, n: 8}
	status := call{cmd: wire.CmdBlockStatus, off: 0, n: 65536}
	flush := call{cmd: wire.CmdFlush}
	for _, tc := range []struct {
		name       string
		structured bool
		c          call
		answer     func(cookie uint64) []byte
		data       string
		ext        extent
		err        error
	}{
		{"simple read", false, read, func(k uint64) []byte { return simple(k, 0, []byte("abcdefgh")...) }, "abcdefgh", extent{}, nil},
		{"simple error", false, read, func(k uint64) []byte { return simple(k, 28) }, "", extent{}, unix.ENOSPC},
		{"unknown error", false, flush, func(k uint64) []byte { return simple(k, 9999) }, "", extent{}, unix.EINVAL},
		{"simple where structured is due", true, read, func(k uint64) []byte { return simple(k, 0, []byte("abcdefgh")...) }, "", extent{}, errLost},
		{"structured that was not negotiated", false, flush, func(k uint64) []byte { return chunk(k, done, 0) }, "", extent{}, errLost},
		{"another's cookie", false, flush, func(k uint64) []byte { return simple(k+1, 0) }, "", extent{}, errLost},
		{"an old cookie", false, flush, func(k uint64) []byte { return simple(k-1<<16, 0) }, "", extent{}, errLost},
		{"garbage", false, flush, func(uint64) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }, "", extent{}, errLost},
		{"pieces in any order", true, read, func(k uint64) []byte {
			return append(chunk(k, 0, wire.ChunkOffsetData, uint64(4100), "efgh"), chunk(k, done, wire.ChunkOffsetHole, uint64(4096), uint32(4))...)
		}, "\x00\x00\x00\x00efgh", extent{}, nil},
		{"a piece is missing", true, read, func(k uint64) []byte { return chunk(k, done, wire.ChunkOffsetData, uint64(4100), "efgh") }, "", extent{}, block.ErrIO},
		{"data before the range", true, read, func(k uint64) []byte { return chunk(k, done, wire.ChunkOffsetData, uint64(4095), "abcdefgh") }, "", extent{}, errLost},
		{"data beyond the range", true, read, func(k uint64) []byte { return chunk(k, done, wire.ChunkOffsetData, uint64(4097), "abcdefgh") }, "", extent{}, errLost},
		{"an offset that wraps", true, read, func(k uint64) []byte { return chunk(k, done, wire.ChunkOffsetHole, ^uint64(0), uint32(8)) }, "", extent{}, errLost},
		{"too much data", true, read, func(k uint64) []byte {
			return chunk(k, done, wire.ChunkOffsetData, uint64(4096), strings.Repeat("x", 9))
		}, "", extent{}, errLost},
		{"an error chunk", true, read, func(k uint64) []byte {
			return chunk(k, done, wire.ChunkError, uint32(5), uint16(3), "sad")
		}, "", extent{}, unix.EIO},
		{"an error at an offset", true, read, func(k uint64) []byte {
			return append(chunk(k, 0, wire.ChunkErrorOffset, uint32(28), uint16(0), uint64(4096)), chunk(k, done, wire.ChunkNone)...)
		}, "", extent{}, unix.ENOSPC},
		{"an error without a number", true, flush, func(k uint64) []byte { return chunk(k, done, wire.ChunkError, uint32(0), uint16(0)) }, "", extent{}, unix.EINVAL},
		{"an error that is cut short", true, flush, func(k uint64) []byte { return chunk(k, done, wire.ChunkError, uint32(5)) }, "", extent{}, errLost},
		{"an error chunk of the future", true, flush, func(k uint64) []byte { return chunk(k, done, 1<<15+77, "whatever") }, "", extent{}, block.ErrIO},
		{"a chunk of the future", true, flush, func(k uint64) []byte { return chunk(k, done, 77, "whatever") }, "", extent{}, errLost},
		{"none with a body", true, flush, func(k uint64) []byte { return chunk(k, done, 0, "x") }, "", extent{}, errLost},
		{"data for a flush", true, flush, func(k uint64) []byte { return chunk(k, done, wire.ChunkOffsetData, uint64(0), "x") }, "", extent{}, errLost},
		{"status", true, status, func(k uint64) []byte {
			return chunk(k, done, wire.ChunkBlockStatus, uint32(7), uint32(4096), uint32(3), uint32(4096), uint32(0))
		}, "", extent{4096, 3}, nil},
		{"status of another context", true, status, func(k uint64) []byte {
			return chunk(k, done, wire.ChunkBlockStatus, uint32(8), uint32(4096), uint32(3))
		}, "", extent{}, errLost},
		{"status of nothing", true, status, func(k uint64) []byte { return chunk(k, done, wire.ChunkBlockStatus, uint32(7), uint32(0), uint32(3)) }, "", extent{}, errLost},
		{"no status", true, status, func(k uint64) []byte { return chunk(k, done, 0) }, "", extent{}, block.ErrIO},
		{"status of an odd length", true, status, func(k uint64) []byte {
			return chunk(k, done, wire.ChunkBlockStatus, uint32(7), uint32(1), uint32(3), "x")
		}, "", extent{}, errLost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c := pair(t, tc.structured)
			buf := make([]byte, tc.c.n)
			if tc.c.cmd == wire.CmdRead {
				tc.c.vec = block.VecFrom([][]byte{buf[:3], buf[3:]})
			}
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				k := request(t, c)
				_, _ = c.Write(tc.answer(k))
				_ = c.CloseWrite()
			}()
			ext, err := s.do(tc.c)
			<-answered
			if !errors.Is(err, tc.err) || ext != tc.ext {
				t.Errorf("%+v, %v; want %+v, %v", ext, err, tc.ext, tc.err)
			}
			if tc.data != "" && string(buf) != tc.data {
				t.Errorf("data: %q", buf)
			}
		})
	}
}

func TestALostConnectionEndsAllRequests(t *testing.T) {
	s, c := pair(t, true)
	errs := make(chan error)
	for range 2 * maxInFlight {
		go func() {
			_, err := s.do(call{cmd: wire.CmdFlush})
			errs <- err
		}()
	}
	for range maxInFlight {
		request(t, c)
	}
	_ = c.Close()
	for range 2 * maxInFlight {
		if err := <-errs; err != errLost {
			t.Errorf("a request ended with %v", err)
		}
	}
}

func FuzzReplies(f *testing.F) {
	f.Add(true, simple(1<<16, 0))
	f.Add(false, simple(1<<16, 0, make([]byte, 64)...))
	f.Add(true, chunk(1<<16, 0, wire.ChunkOffsetData, uint64(4096), "abcd"))
	f.Add(true, chunk(1<<16|1, done, wire.ChunkBlockStatus, uint32(7), uint32(4096), uint32(3)))
	f.Add(true, chunk(1<<16|1, done, wire.ChunkErrorOffset, uint32(28), uint16(0), uint64(4096)))
	f.Fuzz(func(t *testing.T, structured bool, answer []byte) {
		s, c := pair(t, structured)
		ended := make(chan struct{})
		buf := make([]byte, 64+2)
		go func() {
			defer close(ended)
			_, _ = s.do(call{cmd: wire.CmdRead, off: 4096, n: 64, vec: block.VecOf(buf[1:65])})
		}()
		request(t, c)
		other := make(chan struct{})
		go func() {
			defer close(other)
			_, _ = s.do(call{cmd: wire.CmdBlockStatus, n: 65536})
		}()
		request(t, c)
		_, _ = c.Write(answer)
		_ = c.Close()
		<-ended
		<-other
		if buf[0] != 0 || buf[65] != 0 {
			t.Error("memory beside the request was written")
		}
	})
}

// stubCreds are TLS credentials for tests.
type stubCreds struct{ cfg *tls.Config }

func (c stubCreds) ServerTLS() (*tls.Config, error) { return nil, errors.New("these are a client's") }

func (c stubCreds) ClientTLS(host string) (*tls.Config, error) {
	cfg := c.cfg.Clone()
	cfg.ServerName = host
	return cfg, nil
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	authority := cryptotest.New(t)
	authority.Files(dir, "server", "localhost", func(c *x509.Certificate) {
		c.DNSNames, c.BasicConstraintsValid = []string{"localhost"}, true
		c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	disk, socket := filepath.Join(dir, "disk"), filepath.Join(dir, "s")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("qemu-nbd", "-t", "-e", "4", "-k", socket, "-f", "raw",
		"--object", "tls-creds-x509,id=t,endpoint=server,verify-peer=off,dir="+dir, "--tls-creds", "t", disk)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	cfg := &config{address: sock.NewUnix(socket), context: wire.BaseAllocation, hostname: "localhost"}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			_ = c.Close()
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if _, err := cfg.connect(context.Background()); err == nil || !strings.Contains(err.Error(), "requires TLS") {
		t.Errorf("without TLS: %v", err)
	}
	cfg.creds = stubCreds{&tls.Config{RootCAs: authority.Pool()}}
	s, err := cfg.connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer s.abandon()
	out, in := make([]byte, 300_000), make([]byte, 300_000)
	for i := range out {
		out[i] = byte(i * 7)
	}
	n := uint32(len(out))
	if _, err := s.do(call{cmd: wire.CmdWrite, off: 512, n: n, vec: block.VecFrom([][]byte{out[:1000], out[1000:]})}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.do(call{cmd: wire.CmdRead, off: 512, n: n, vec: block.VecFrom([][]byte{in[:70_000], in[70_000:]})}); err != nil {
		t.Fatal(err)
	}
	if string(in) != string(out) {
		t.Error("what was read is not what was written")
	}
	cfg.hostname = "elsewhere"
	if _, err := cfg.connect(context.Background()); err == nil {
		t.Error("a certificate for another host was taken")
	}
}
