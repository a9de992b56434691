package nbd

import (
	"context"
	"math"
	"sync"
	"time"

	"govmd/internal/block"
	"govmd/internal/block/nbd/wire"
	"govmd/internal/sock"
)

// disk is an open node.
type disk struct {
	*client
	min        int64
	name       string
	unregister func() // from those whose connections can be cut
}

var errYanked = block.Errorf(block.KindIO, "the connection was cut")

// cutter cuts what there is to cut at the time: an attempt to connect, or the
// connections of a client.
type cutter struct {
	mu sync.Mutex
	fn func() // guarded by mu
}

func (c *cutter) set(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fn = fn
}

func (c *cutter) cut() {
	c.mu.Lock()
	fn := c.fn
	c.mu.Unlock()
	fn()
}

func open(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*Options)
	cfg, err := configure(a, o)
	if err != nil {
		return nil, err
	}
	var timeout time.Duration
	if o.OpenTimeout != nil {
		timeout = time.Duration(*o.OpenTimeout) * time.Second
	}
	ctx, giveUp := context.WithCancelCause(a.Ctx)
	defer giveUp(nil)
	var cut cutter
	cut.set(func() { giveUp(errYanked) })
	unregister := func() {}
	if fn := a.Graph.Env().Yankable; fn != nil {
		unregister = fn(a.Node.Name(), cut.cut)
	}
	s, err := firstConnection(ctx, cfg, timeout)
	if err != nil {
		unregister()
		return nil, err
	}
	if err := check(a, s.export); err != nil {
		unregister()
		s.abandon()
		return nil, err
	}
	delay := time.Duration(0)
	if o.ReconnectDelay != nil {
		delay = time.Duration(*o.ReconnectDelay) * time.Second
	}
	plain := o.TLSCreds == nil && o.DirtyBitmap == nil
	c := newClient(*cfg, delay, s)
	cut.set(c.Shutdown)
	return &disk{
		client: c, unregister: unregister,
		min:  int64(max(s.export.MinBlock, 1)),
		name: fileName(cfg.address, cfg.export, plain),
	}, nil
}

func configure(a *block.OpenArgs, o *Options) (*config, error) {
	addr, err := o.address()
	if err != nil {
		return nil, err
	}
	c := &config{address: addr, names: &sock.Names{FD: sock.CommandLineFD}, context: wire.BaseAllocation}
	if o.Export != nil {
		c.export = *o.Export
	}
	if len(c.export) > wire.MaxName {
		return nil, block.Errorf(block.KindInvalid, "export name too long to send to server")
	}
	if o.DirtyBitmap != nil {
		c.context = *o.DirtyBitmap
		if len(c.context) > wire.MaxName {
			return nil, block.Errorf(block.KindInvalid, "x-dirty-bitmap query too long to send to server")
		}
	}
	if o.TLSCreds == nil {
		if o.TLSHostname != nil {
			return nil, block.Errorf(block.KindInvalid, "Parameter 'tls-hostname' goes with 'tls-creds' alone")
		}
		return c, nil
	}
	find := a.Graph.Env().TLSCreds
	if find == nil {
		return nil, block.Errorf(block.KindUnsupported, "TLS credentials '%s' cannot be had here", *o.TLSCreds)
	}
	obj, err := find(*o.TLSCreds)
	if err != nil {
		return nil, err
	}
	var ok bool
	if c.creds, ok = obj.(sock.TLSCreds); !ok {
		return nil, block.Errorf(block.KindInvalid, "Object '%s' is no TLS credentials", *o.TLSCreds)
	}
	if o.TLSHostname != nil {
		c.hostname = *o.TLSHostname
	} else if i, ok := addr.Branch.(*sock.Inet); ok {
		c.hostname = i.Host
	}
	return c, nil
}

// firstConnection connects, again and again until timeout is over.
func firstConnection(ctx context.Context, c *config, timeout time.Duration) (*session, error) {
	end := time.Now().Add(timeout)
	for wait := firstWait; ; wait = min(2*wait, time.Second) {
		s, err := c.connect(ctx)
		if err == nil || time.Now().Add(wait).After(end) {
			return s, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// check compares what the server gives with what is wanted.
func check(a *block.OpenArgs, e *wire.Export) error {
	if e.Has(wire.FlagReadOnly) && !a.Settings().ReadOnly {
		return a.SetReadOnly(block.Errorf(block.KindInvalid, "request on write denied without write permission"))
	}
	if o := a.Opts.(*Options); o.DirtyBitmap != nil {
		if _, ok := e.Contexts[*o.DirtyBitmap]; !ok {
			return block.Errorf(block.KindInvalid, "requested x-dirty-bitmap %s not found", *o.DirtyBitmap)
		}
	}
	return nil
}

func (d *disk) Length() (int64, error) { return d.export.Size, nil }

func (d *disk) Limits() block.Limits {
	e := &d.export
	most := int64(wire.MaxData)
	if e.MaxBlock != 0 {
		most = min(most, int64(e.MaxBlock))
	}
	l := block.Limits{
		Align: int(d.min), MaxTransfer: int(most),
		ZeroAlign: int(d.min), MaxZeroes: math.MaxUint32 &^ (d.min - 1),
		DiscAlign: int(d.min), MaxDiscard: math.MaxUint32 &^ (d.min - 1),
		OptTransfer: int(min(int64(e.PrefBlock), most)),
	}
	if e.Has(wire.FlagFUA) {
		l.WriteFlags, l.ZeroFlags = block.FUA, block.FUA
	}
	l.ZeroFlags |= block.MayUnmap
	if e.Has(wire.FlagFastZero) {
		l.ZeroFlags |= block.NoFallback
	}
	return l
}

func flags(f block.Flags) (w uint16) {
	if f&block.FUA != 0 {
		w |= wire.CmdFlagFUA
	}
	return w
}

func (d *disk) Preadv(off int64, v block.Vec, _ block.Flags) error {
	n := int64(v.Len())
	if over := off + n - d.export.Size; over > 0 {
		keep := max(0, n-over)
		if err := v.From(int(keep)).Zero(); err != nil {
			return err
		}
		if v, n = v.To(int(keep)), keep; n == 0 {
			return nil
		}
	}
	_, err := d.do(call{cmd: wire.CmdRead, off: uint64(off), n: uint32(n), vec: v})
	return err
}

func (d *disk) Pwritev(off int64, v block.Vec, f block.Flags) error {
	_, err := d.do(call{cmd: wire.CmdWrite, flags: flags(f), off: uint64(off), n: uint32(v.Len()), vec: v})
	return err
}

func (d *disk) PwriteZeroes(off, n int64, f block.Flags) error {
	if !d.export.Has(wire.FlagWriteZeroes) {
		return block.ErrUnsupp
	}
	w := flags(f)
	if f&block.MayUnmap == 0 {
		w |= wire.CmdFlagNoHole
	}
	if f&block.NoFallback != 0 {
		w |= wire.CmdFlagFastZero
	}
	_, err := d.do(call{cmd: wire.CmdWriteZeroes, flags: w, off: uint64(off), n: uint32(n)})
	return err
}

func (d *disk) Pdiscard(off, n int64) error {
	if !d.export.Has(wire.FlagTrim) {
		return nil
	}
	_, err := d.do(call{cmd: wire.CmdTrim, off: uint64(off), n: uint32(n)})
	return err
}

func (d *disk) Flush() error {
	if !d.export.Has(wire.FlagFlush) {
		return nil
	}
	_, err := d.do(call{cmd: wire.CmdFlush})
	return err
}

func (d *disk) BlockStatus(off, n int64, _ block.StatusFlags) (block.Status, error) {
	n = min(n, d.export.Size-off)
	all := block.Status{Flags: block.StatusData | block.StatusAllocated, N: n}
	if _, has := d.export.Contexts[d.context]; !has || n <= 0 {
		return all, nil
	}
	n = min(n, math.MaxUint32&^(d.min-1))
	ext, err := d.do(call{cmd: wire.CmdBlockStatus, flags: wire.CmdFlagReqOne, off: uint64(off), n: uint32(n)})
	if err != nil {
		return block.Status{}, err
	}
	st := block.Status{Flags: block.StatusAllocated, N: min(ext.n, n)}
	if st.N < n {
		// A server may not say what is within a block; one that does is not relied on.
		if st.N &^= d.min - 1; st.N == 0 {
			return block.Status{Flags: all.Flags, N: min(d.min, n)}, nil
		}
	}
	if ext.flags&wire.StateHole == 0 {
		st.Flags |= block.StatusData
	}
	if ext.flags&wire.StateZero != 0 && d.context == wire.BaseAllocation {
		st.Flags |= block.StatusZero
	}
	return st, nil
}

func (d *disk) Truncate(_ context.Context, size int64, exact bool, _ block.Prealloc, _ block.Flags) error {
	switch {
	case exact && size != d.export.Size:
		return block.Errorf(block.KindUnsupported, "Cannot resize NBD nodes")
	case size > d.export.Size:
		return block.Errorf(block.KindUnsupported, "Cannot grow NBD nodes")
	}
	return nil
}

func (d *disk) Info() block.Info {
	return block.Info{AllocatedBytes: -1, CanWriteZeroes: d.export.Has(wire.FlagWriteZeroes)}
}

// ExactFileName implements block.FileNamer.
func (d *disk) ExactFileName() string { return d.name }

func (d *disk) PrepareReopen(a *block.ReopenArgs) error {
	if !a.Set.ReadOnly && d.export.Has(wire.FlagReadOnly) {
		return block.Errorf(block.KindInvalid, "Can't reopen read-only NBD mount as read/write")
	}
	return nil
}

func (d *disk) CommitReopen(*block.ReopenArgs) {}

func (d *disk) AbortReopen(*block.ReopenArgs) {}

func (d *disk) Close() {
	d.unregister()
	d.close()
}
