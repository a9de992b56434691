// Package null has the protocols null-co and null-aio: images without storage, for
// measuring everything else.
package null

import (
	"time"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// Options are the options of both drivers.
type Options struct {
	Size       *qmp.Size `qmp:"size"`
	LatencyNS  *uint64   `qmp:"latency-ns"`
	ReadZeroes *bool     `qmp:"read-zeroes"`
}

func init() {
	for _, name := range []string{"null-co", "null-aio"} {
		block.Register[Options](&block.Type{
			Name: name, Protocol: true, Prefixes: []string{name}, Open: open,
			ParseName: func(s string) (*qmp.Object, error) {
				if s != name+"://" {
					return nil, block.Errorf(block.KindInvalid, "The only allowed filename for this driver is '%s://'", name)
				}
				return &qmp.Object{}, nil
			},
		})
	}
}

type image struct {
	node    *block.Node
	size    int64
	latency time.Duration
	zeroes  bool
}

// maxLatency bounds how long a request can take.
const maxLatency = time.Minute

func open(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*Options)
	d := &image{node: a.Node, size: 1 << 30}
	if o.Size != nil {
		if *o.Size > 1<<60 {
			return nil, block.Errorf(block.KindInvalid, "size is out of range")
		}
		d.size = int64(*o.Size)
	}
	if o.LatencyNS != nil {
		if *o.LatencyNS > uint64(maxLatency) {
			return nil, block.Errorf(block.KindInvalid, "latency-ns is invalid: at most %d", maxLatency)
		}
		d.latency = time.Duration(*o.LatencyNS)
	}
	d.zeroes = o.ReadZeroes != nil && *o.ReadZeroes
	return d, nil
}

// delay takes the time that storage would; being slow is what the option is for.
func (d *image) delay() {
	if d.latency > 0 {
		time.Sleep(d.latency)
	}
}

func (d *image) Length() (int64, error) { return d.size, nil }

func (d *image) Limits() block.Limits {
	return block.Limits{Align: 1, WriteFlags: block.FUA | block.Unchanged,
		ZeroFlags: block.FUA | block.MayUnmap | block.NoFallback | block.Unchanged}
}

func (d *image) Preadv(_ int64, v block.Vec, _ block.Flags) error {
	d.delay()
	if d.zeroes {
		return v.Zero()
	}
	return nil
}

func (d *image) Pwritev(int64, block.Vec, block.Flags) error { d.delay(); return nil }

func (d *image) PwriteZeroes(int64, int64, block.Flags) error { d.delay(); return nil }

func (d *image) Pdiscard(int64, int64) error { d.delay(); return nil }

func (d *image) Flush() error { d.delay(); return nil }

func (d *image) BlockStatus(off, n int64, _ block.StatusFlags) (block.Status, error) {
	st := block.Status{Flags: block.StatusOffset | block.StatusData, N: n, File: d.node, Offset: off}
	if d.zeroes {
		st.Flags = block.StatusOffset | block.StatusZero
	}
	return st, nil
}

func (d *image) Info() block.Info { return block.Info{ZeroInit: d.zeroes} }

// ExactFileName implements block.FileNamer.
func (d *image) ExactFileName() string {
	own := &qmp.Object{}
	if d.size != 1<<30 {
		own.Add("size", d.size)
	}
	if d.zeroes {
		own.Add("read-zeroes", true)
	}
	if d.latency > 0 {
		own.Add("latency-ns", int64(d.latency))
	}
	if own.Len() == 0 {
		return d.node.DriverName() + "://"
	}
	return block.JSONName(d.node.DriverName(), own, nil)
}

func (d *image) PrepareReopen(*block.ReopenArgs) error { return nil }

func (d *image) CommitReopen(*block.ReopenArgs) {}

func (d *image) AbortReopen(*block.ReopenArgs) {}

func (d *image) Close() {}
