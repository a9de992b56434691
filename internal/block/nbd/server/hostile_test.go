package server

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"govmd/internal/block/export"
	"govmd/internal/block/nbd/wire"
)

// A client that asks and does not read keeps neither others nor a drain waiting, and
// goes when its export is removed.
func TestStalledClient(t *testing.T) {
	r := newRig(t)
	r.mem("n", make([]byte, 8<<20))
	r.start(0)
	r.export("n", true, Options{})
	p := r.peer("n")
	// More than sockets hold: in the end the server reads no more of it.
	for i := range maxRequests {
		p.send(wire.CmdRead, wire.CmdFlagDF, uint64(i), 0, 2<<20, nil)
	}
	other := r.peer("n")
	for i := range uint64(100) {
		other.send(wire.CmdRead, 0, i, 0, 512, nil)
		if c := other.receive(); c.cookie != i || c.errno != 0 {
			t.Fatalf("another client is answered by %+v", c)
		}
	}
	r.on(func() {
		n := r.graph.Node("n")
		if err := n.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		n.Undrain()
		hard := export.Hard
		if err := r.set.Del("n", &hard); err != nil {
			t.Error(err)
		}
	})
	<-r.events
}

// What comes before the end of a negotiation, in pieces and out of order, ends a
// connection or is refused; the next client is served.
func TestHostileNegotiation(t *testing.T) {
	r := newRig(t)
	r.mem("n", make([]byte, 1<<20))
	r.start(0)
	r.export("n", true, Options{})
	be := binary.BigEndian
	option := func(o wire.Option, n uint32, data ...byte) []byte {
		p := be.AppendUint64(nil, wire.OptMagic)
		p = be.AppendUint32(p, uint32(o))
		return append(be.AppendUint32(p, n), data...)
	}
	flags := []byte{0, 0, 0, 3}
	for name, bytes := range map[string][]byte{
		"nothing":           {},
		"garbage":           []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"unknown flags":     {0xff, 0, 0, 3},
		"no option":         append(flags, make([]byte, 16)...),
		"a giant option":    append(flags, option(wire.OptList, 1<<31)...),
		"a long option":     append(flags, option(99, 1<<20, make([]byte, 1<<20)...)...),
		"a name that lies":  append(flags, option(wire.OptGo, 6, 0xff, 0xff, 0xff, 0xff, 0, 0)...),
		"queries that lie":  append(append(flags, option(wire.OptStructuredReply, 0)...), option(wire.OptSetMetaContext, 9, 0, 0, 0, 1, 'n', 0xff, 0xff, 0xff, 0xff)...),
		"infos that lie":    append(flags, option(wire.OptGo, 7, 0, 0, 0, 1, 'n', 0xff, 0xff)...),
		"an unknown name":   append(flags, option(wire.OptExportName, 3, 'f', 'o', 'o')...),
		"no fixed newstyle": append([]byte{0, 0, 0, 0}, option(wire.OptList, 0)...),
		"a wrong request":   append(append(flags, option(wire.OptExportName, 1, 'n')...), make([]byte, wire.RequestSize)...),
		"a giant write":     append(append(flags, option(wire.OptExportName, 1, 'n')...), asked(wire.CmdWrite, 0, 1<<31)...),
		"half a write":      append(append(flags, option(wire.OptExportName, 1, 'n')...), append(asked(wire.CmdWrite, 0, 512), 1, 2, 3)...),
	} {
		t.Run(name, func(t *testing.T) {
			conn := r.dial()
			if _, err := conn.Write(bytes); err != nil {
				t.Fatal(err)
			}
			_ = conn.(*net.UnixConn).CloseWrite()
			if n, err := io.Copy(io.Discard, conn); err != nil && n == 0 {
				t.Error(err) // the end may be a reset
			}
		})
	}
	r.peer("n").send(wire.CmdDisc, 0, 0, 0, 0, nil)
}

func asked(cmd wire.Command, off uint64, n uint32) []byte {
	var h [wire.RequestSize]byte
	wire.PutRequest(&h, 0, cmd, 1, off, n)
	return h[:]
}

// FuzzClient has a client send anything.
func FuzzClient(f *testing.F) {
	r := newRig(f)
	r.mem("n", make([]byte, 1<<16))
	r.start(0)
	r.export("n", true, Options{})
	f.Add([]byte{0, 0, 0, 3}, byte(0))
	f.Add(append(asked(wire.CmdRead, 0, 512), asked(wire.CmdTrim, 0, 512)...), byte(1))
	f.Add(append(asked(wire.CmdWriteZeroes, 0, 512), asked(wire.CmdBlockStatus, 0, 1<<16)...), byte(1))
	f.Fuzz(func(t *testing.T, p []byte, mode byte) {
		conn, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if mode&1 != 0 {
			if _, _, err := wire.Negotiate(conn, &wire.ClientOptions{Export: "n", Contexts: []string{wire.BaseAllocation}}); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = conn.Write(p)
		_ = conn.(*net.UnixConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
}
