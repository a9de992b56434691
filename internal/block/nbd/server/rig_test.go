package server

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	_ "govmd/internal/block/drivers"
	"govmd/internal/block/export"
	"govmd/internal/block/nbd/wire"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// rig is a graph whose nodes a server offers on a Unix socket.
type rig struct {
	t      testing.TB
	lane   *lane.Lane
	graph  *block.Graph
	set    *export.Set
	server *Server
	path   string
	events chan event.Event
	creds  sock.TLSCreds
	authz  sock.Authz
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, lane: lane.New(), path: filepath.Join(t.TempDir(), "s"), events: make(chan event.Event, 100)}
	bus := &event.Bus{}
	bus.Subscribe(func(s event.Stamped) { r.events <- s.Event })
	r.graph = block.NewGraph(block.Env{Lane: r.lane, Bus: bus})
	r.set = export.NewSet(r.graph, r.lane)
	r.server = New(Config{
		Exports: r.set, Lane: r.lane,
		TLS:   func(string, string) (sock.TLSCreds, func(), error) { return r.creds, func() {}, nil },
		Authz: func(string, string) (sock.Authz, func(), error) { return r.authz, func() {}, nil },
		Names: func(*qmp.Context, sock.Address) (*sock.Names, func(), error) { return nil, func() {}, nil },
	})
	go r.lane.Run()
	t.Cleanup(func() {
		r.server.Close()
		r.set.Close()
		r.on(func() {
			if left := r.graph.CloseAll(); len(left) > 0 {
				t.Errorf("left open: %v", left)
			}
		})
		r.lane.Close()
		<-r.lane.Done()
	})
	return r
}

func (r *rig) on(fn func()) {
	r.t.Helper()
	if err := r.lane.Do(context.Background(), fn); err != nil {
		r.t.Fatal(err)
	}
}

// try runs fn on the lane; its error must be want ("" for none).
func (r *rig) try(want string, fn func() error) {
	r.t.Helper()
	var err error
	r.on(func() { err = fn() })
	if err == nil && want != "" || err != nil && block.ErrorText(err) != want {
		r.t.Fatalf("the error is %v, want %q", err, want)
	}
}

func (r *rig) start(connections int) {
	r.t.Helper()
	set := Settings{Addr: sock.NewUnix(r.path), Connections: connections}
	if r.creds != nil {
		set.Creds = "creds"
	}
	if r.authz != nil {
		set.Authz = "authz"
	}
	done := make(chan error, 1)
	r.on(func() { r.server.Start(nil, set, func(err error) { done <- err }) })
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
}

// mem adds a node in memory of that name, with the contents p.
func (r *rig) mem(name string, p []byte) *blocktest.Mem {
	r.t.Helper()
	m, remove := blocktest.NewMem(r.t.Name() + name)
	r.t.Cleanup(remove)
	m.SetBytes(p)
	r.on(func() {
		n, err := r.graph.Open(context.Background(), &block.Options{
			Driver: "mem", NodeName: &name, Branch: &blocktest.Options{ID: r.t.Name() + name},
		}, block.Settings{Unmap: true})
		if err != nil {
			r.t.Error(err)
			return
		}
		n.SetMonitorOwned(true)
	})
	return m
}

// file adds an image file as a node.
func (r *rig) file(name, file string, options ...string) {
	r.t.Helper()
	o := &qmp.Object{}
	for i := 0; i < len(options); i += 2 {
		o.Add(options[i], options[i+1])
	}
	o.Add("node-name", name)
	r.on(func() {
		n, err := r.graph.OpenImage(context.Background(), file, o, qmp.Keyval, block.Settings{Unmap: true})
		if err != nil {
			r.t.Error(err)
			return
		}
		n.SetMonitorOwned(true)
	})
}

func (r *rig) export(name string, writable bool, o Options) {
	r.t.Helper()
	r.try("", func() error {
		_, err := r.set.Add(&export.Options{Type: exportType, ID: name, NodeName: name, Writable: &writable, Branch: &o})
		return err
	})
}

// uri is where tools find the export of that name.
func (r *rig) uri(name string) string { return "nbd+unix:///" + name + "?socket=" + r.path }

// peer is a client that knows the protocol and nothing else.
type peer struct {
	t    testing.TB
	conn net.Conn
	info *wire.Export
}

func (r *rig) dial() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("unix", r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (r *rig) peer(name string, contexts ...string) *peer {
	r.t.Helper()
	p := &peer{t: r.t, conn: r.dial()}
	_, info, err := wire.Negotiate(p.conn, &wire.ClientOptions{Export: name, Contexts: contexts})
	if err != nil {
		r.t.Fatal(err)
	}
	p.info = info
	return p
}

func (p *peer) send(cmd wire.Command, flags uint16, cookie, off uint64, n uint32, data []byte) {
	p.t.Helper()
	var h [wire.RequestSize]byte
	wire.PutRequest(&h, flags, cmd, cookie, off, n)
	if _, err := p.conn.Write(append(h[:], data...)); err != nil {
		p.t.Fatal(err)
	}
}

// chunk is a simple reply (kind -1, with no data) or a chunk of a structured one.
type chunk struct {
	kind   int
	last   bool
	cookie uint64
	errno  uint32
	data   []byte
}

// receive takes one.
func (p *peer) receive() (c chunk) {
	p.t.Helper()
	be := binary.BigEndian
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(p.conn, b); err != nil {
			p.t.Fatal(err)
		}
		return b
	}
	h := read(wire.SimpleSize)
	c.cookie = be.Uint64(h[8:])
	switch be.Uint32(h) {
	case wire.SimpleMagic:
		c.kind, c.last, c.errno = -1, true, be.Uint32(h[4:])
	case wire.StructuredMagic:
		c.last, c.kind = be.Uint16(h[4:])&wire.ChunkDone != 0, int(be.Uint16(h[6:]))
		c.data = read(int(be.Uint32(read(4))))
		if wire.Chunk(c.kind).IsError() {
			c.errno = be.Uint32(c.data)
		}
	default:
		p.t.Fatalf("the magic of a reply is %#x", be.Uint32(h))
	}
	return c
}

// output runs a tool that must succeed and returns what it prints.
func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}
