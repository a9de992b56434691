package server

import (
	"net"
	"slices"
	"sync"

	"govmd/internal/block"
	"govmd/internal/block/export"
	"govmd/internal/block/nbd/wire"
	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// exportType is the name of this kind of export.
const exportType = "nbd"

// Options are those of exports of type nbd.
type Options struct {
	Base
	Bitmaps         []bitmapRef `qmp:"bitmaps,optional"`
	AllocationDepth *bool       `qmp:"allocation-depth"`
}

// Base is what is said of an export to its clients.
type Base struct {
	Name        *string `qmp:"name"` // nil: the node's
	Description *string `qmp:"description"`
}

// bitmapRef is a bitmap by name, of the exported node or one below it, or of
// another node.
type bitmapRef struct {
	qmp.Alternate
	Local    *string     `qmp:"local"`
	External *bitmapName `qmp:"external"`
}

type bitmapName struct {
	Node string `qmp:"node"`
	Name string `qmp:"name"`
}

func init() {
	export.AddType[Options](exportType)
}

// offer is an export as clients see it.
type offer struct {
	server      *Server
	export      *export.Export
	name        string
	description string
	flags       uint16
	bitmaps     []*block.Bitmap // busy
	depth       bool            // has the context allocation-depth

	mu      sync.Mutex
	clients map[net.Conn]struct{}
	stopped bool
	gone    chan struct{} // closed when it is stopped and has no clients
}

// newOffer makes an export; see export.Set.Handle.
func (s *Server) newOffer(e *export.Export, branch any) (export.Kind, error) {
	o := branch.(*Options)
	if s.on == nil {
		return nil, errNotRunning
	}
	x := &offer{
		server: s, export: e, name: e.Node().Name(), depth: o.AllocationDepth != nil && *o.AllocationDepth,
		clients: map[net.Conn]struct{}{}, gone: make(chan struct{}),
	}
	if o.Name != nil {
		x.name = *o.Name
	}
	if o.Description != nil {
		x.description = *o.Description
	}
	switch {
	case len(x.name) > wire.MaxName:
		return nil, block.Errorf(block.KindInvalid, "export name '%.40s...' too long", x.name)
	case len(x.description) > wire.MaxString:
		return nil, block.Errorf(block.KindInvalid, "description '%.40s...' too long", x.description)
	case s.find(x.name) != nil:
		return nil, block.Errorf(block.KindInUse, "NBD server already has export named '%s'", x.name)
	}
	x.flags = wire.FlagHasFlags | wire.FlagFlush | wire.FlagFUA | wire.FlagCache
	if e.Writable {
		x.flags |= wire.FlagTrim | wire.FlagWriteZeroes | wire.FlagFastZero
	} else {
		x.flags |= wire.FlagReadOnly
	}
	if cap(s.on.places) != 1 {
		x.flags |= wire.FlagMultiConn // all clients see one cache: the node's
	}
	if err := x.takeBitmaps(o.Bitmaps); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers[x.name] = x
	return x, nil
}

// takeBitmaps finds the bitmaps and makes them busy.
func (x *offer) takeBitmaps(list []bitmapRef) error {
	for _, r := range list {
		b, err := x.bitmap(r)
		if err != nil {
			x.Close()
			return err
		}
		b.SetBusy(true)
		x.bitmaps = append(x.bitmaps, b)
	}
	return nil
}

func (x *offer) bitmap(r bitmapRef) (b *block.Bitmap, err error) {
	name := ""
	if r.External != nil {
		name = r.External.Name
		n, err := x.server.cfg.Exports.Graph().Lookup(r.External.Node, r.External.Node)
		if err != nil {
			return nil, err
		}
		b = n.Bitmap(name)
	} else {
		name = *r.Local
		for n := x.export.Node(); n != nil && b == nil; n = n.BackingChainNext() {
			b = n.Bitmap(name)
		}
	}
	switch {
	case b == nil:
		return nil, block.Errorf(block.KindNotFound, "Bitmap '%s' is not found", name)
	case slices.ContainsFunc(x.bitmaps, func(o *block.Bitmap) bool { return o.Name() == name }):
		return nil, block.Errorf(block.KindInvalid, "Bitmap '%s' is named twice", name)
	case len(name) > wire.MaxString-len(wire.DirtyBitmap):
		return nil, block.Errorf(block.KindInvalid, "Bitmap name '%.40s...' too long", name)
	}
	if !x.export.Writable && !x.export.Node().ReadOnly() && b.Enabled() {
		return nil, block.Errorf(block.KindInvalid, "Enabled bitmap '%s' incompatible with readonly export", name)
	}
	return b, b.Check(block.BitmapAllowRO)
}

// transmission returns the flags of the export for a client.
func (x *offer) transmission(structured bool) uint16 {
	if structured {
		return x.flags | wire.FlagDF
	}
	return x.flags
}

// preferred returns the block size that serves the export best, in bytes.
func (x *offer) preferred() uint32 {
	return uint32(max(4096, min(x.export.Node().Limits().OptTransfer, wire.MaxData)))
}

// InUse implements export.Kind.
func (x *offer) InUse() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.clients) > 0
}

// Stop implements export.Kind.
func (x *offer) Stop() <-chan struct{} {
	x.server.mu.Lock()
	delete(x.server.offers, x.name)
	x.server.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopped = true
	if len(x.clients) == 0 {
		close(x.gone)
	}
	for c := range x.clients {
		sock.Shutdown(c)
	}
	return x.gone
}

// Close implements export.Kind.
func (x *offer) Close() {
	for _, b := range x.bitmaps {
		b.SetBusy(false)
	}
}

// enter makes c a client's connection; false: the export has ended.
func (x *offer) enter(c net.Conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.stopped {
		x.clients[c] = struct{}{}
	}
	return !x.stopped
}

func (x *offer) leave(c net.Conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.clients, c)
	if x.stopped && len(x.clients) == 0 {
		close(x.gone)
	}
}
