// Package luks is the image format luks: a disk that is encrypted as a whole, with
// LUKS version 1 in front of it.
package luks

import (
	"context"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/block/encrypt"
	"govmd/internal/crypto/luks"
	"govmd/internal/crypto/sector"
	"govmd/internal/qmp"
)

// Options are the options of the driver luks.
type Options struct {
	block.GenericFormat
	KeySecret *string `qmp:"key-secret"`
}

func init() {
	block.Register[Options](&block.Type{
		Name: "luks", Open: open, Probe: probe, Create: create, Measure: measure,
		CreateKeys: append(encrypt.CreateKeys(""),
			block.CreateKey{Name: "preallocation", Type: "string", Help: "Preallocation mode (allowed values: off, metadata, falloc, full)"},
			block.CreateKey{Name: "size", Type: "size", Help: "Virtual disk size"}),
		AmendKeys:   encrypt.AmendKeys(""),
		DecodeAmend: func(keys *qmp.Object, mode qmp.Mode) (any, error) { return encrypt.DecodeAmend("", keys, mode) },
	})
	block.RegisterCreate[CreateOptions]("luks")
}

func probe(head []byte, _ string) int {
	if luks.IsHeader(head) {
		return 100
	}
	return 0
}

// image is an open image.
type image struct {
	graph  *block.Graph
	secret *string // the option key-secret
	file   *block.Child
	hdr    *luks.Header
	cipher atomic.Pointer[sector.Cipher] // nil: the key has not been given yet
}

func open(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*Options)
	file, err := a.OpenChild("file", o.File, block.RoleImage)
	if err != nil {
		return nil, err
	}
	if err := a.FollowReadOnly(file); err != nil {
		return nil, err
	}
	d := &image{graph: a.Graph, secret: o.KeySecret, file: file}
	if n := file.Length(); n < luks.HeaderSize {
		return nil, d.wrap(block.Errorf(block.KindCorrupt, "LUKS header: the file has %d bytes of its %d", n, luks.HeaderSize))
	}
	if d.hdr, err = luks.Read(file); err != nil {
		return nil, d.wrap(err)
	}
	if n := file.Length(); n < d.hdr.PayloadOffset {
		return nil, d.wrap(block.Errorf(block.KindCorrupt, "LUKS payload-offset %d lies beyond the end of the file (%d bytes)", d.hdr.PayloadOffset/sector.Size, n))
	}
	if set := a.Settings(); set.NoIO || set.LateKey {
		return d, nil
	}
	pass, err := d.Key()
	if err == nil && pass != nil {
		err = d.SetKey(a.Ctx, pass)
	}
	if err != nil {
		return nil, d.wrap(err)
	}
	return d, nil
}

// wrap says which file an error is about.
func (d *image) wrap(err error) error {
	return block.Errorf(block.KindOf(err), "Could not open '%s': %w", d.file.Node().FileName(), err)
}

// Key implements block.Keyed.
func (d *image) Key() ([]byte, error) {
	if d.secret == nil {
		return nil, nil
	}
	return encrypt.Passphrase(d.graph, d.secret, "")
}

// SetKey implements block.Keyed.
func (d *image) SetKey(ctx context.Context, secret []byte) error {
	c, err := encrypt.Unlock(ctx, d.hdr, d.file, secret)
	if err == nil {
		d.cipher.Store(c)
	}
	return err
}

// Amend implements block.Amender: it changes key slots.
func (d *image) Amend(ctx context.Context, opts any, force bool, _ func(done, total int64)) error {
	return encrypt.Amend(ctx, d.graph, d.hdr, d.file, opts.(*encrypt.AmendOptions), d.secret, force)
}

func (d *image) Length() (int64, error) {
	return max(0, d.file.Length()-d.hdr.PayloadOffset), nil
}

func (d *image) Limits() block.Limits {
	l := d.file.Node().Limits()
	return block.Limits{Align: sector.Size, MemAlign: l.MemAlign, OptTransfer: l.OptTransfer, WriteFlags: block.FUA | block.Unchanged}
}

func (d *image) Preadv(off int64, v block.Vec, _ block.Flags) error {
	c := d.cipher.Load()
	if c == nil {
		return block.ErrIO
	}
	d.file.Debug(block.EventReadAIO)
	return encrypt.Preadv(d.file, d.hdr.PayloadOffset+off, v, c, uint64(off/sector.Size))
}

func (d *image) Pwritev(off int64, v block.Vec, f block.Flags) error {
	c := d.cipher.Load()
	if c == nil {
		return block.ErrIO
	}
	d.file.Debug(block.EventWriteAIO)
	return encrypt.Pwritev(d.file, d.hdr.PayloadOffset+off, v, f, c, uint64(off/sector.Size))
}

// Truncate changes the size of the file. What is new reads as anything.
func (d *image) Truncate(ctx context.Context, size int64, exact bool, p block.Prealloc, f block.Flags) error {
	if f&block.ZeroWrite != 0 {
		return block.Errorf(block.KindUnsupported, "A luks image cannot grow by zeroes")
	}
	if size > 1<<62 {
		return block.Errorf(block.KindInvalid, "The requested file size is too large")
	}
	return d.file.Truncate(ctx, d.hdr.PayloadOffset+size, exact, p, 0)
}

func (d *image) Flush() error { return nil }

func (d *image) Close() {}

// PrepareReopen implements block.Reopener: the key stays as it is.
func (d *image) PrepareReopen(*block.ReopenArgs) error { return nil }

// CommitReopen implements block.Reopener.
func (d *image) CommitReopen(*block.ReopenArgs) {}

// AbortReopen implements block.Reopener.
func (d *image) AbortReopen(*block.ReopenArgs) {}

// SpecificInfo is the format-specific information of query-block.
type SpecificInfo struct {
	Type string        `qmp:"type"`
	Data *encrypt.Info `qmp:"data"`
}

// Info says what is known of the image.
func (d *image) Info() block.Info {
	return block.Info{
		Encrypted: true, KeyMissing: d.cipher.Load() == nil, AllocatedBytes: -1,
		Specific: &SpecificInfo{Type: "luks", Data: encrypt.InfoOf(d.hdr)},
	}
}
