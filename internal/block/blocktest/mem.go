// Package blocktest helps to test what stands on the block layer: a protocol that
// keeps a file in memory, records what is done to it, and shows what a power failure
// could leave of it.
package blocktest

import (
	"context"
	"math/rand/v2"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

// Options are the options of the driver "mem".
type Options struct {
	ID string `qmp:"id"`
}

func init() {
	block.Register[Options](&block.Type{Name: "mem", Protocol: true, Open: open})
}

// sector is what storage writes whole or not at all, in bytes.
const sector = 512

// Op is something that was done to a file.
type Op struct {
	Off  int64
	Data []byte // nil for what is none of it
	Zero int64  // so many bytes became zero
	Size int64  // the new size, -1 if it is none of it
	// Flush says that everything before is stable from here on.
	Flush bool
}

// Mem is a file in memory. It outlives the nodes that open it.
type Mem struct {
	mu   sync.Mutex
	data []byte
	log  []Op
}

var (
	filesMu sync.Mutex
	files   = map[string]*Mem{}
)

// NewMem returns an empty file that the driver "mem" opens by id. remove forgets it.
func NewMem(id string) (m *Mem, remove func()) {
	m = new(Mem)
	filesMu.Lock()
	defer filesMu.Unlock()
	files[id] = m
	return m, func() {
		filesMu.Lock()
		defer filesMu.Unlock()
		delete(files, id)
	}
}

// Ref returns a reference to the file of that id.
func Ref(id string) block.Ref {
	return block.DefRef(&block.Options{Driver: "mem", Branch: &Options{ID: id}})
}

// Bytes returns a copy of the contents.
func (m *Mem) Bytes() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]byte(nil), m.data...)
}

// SetBytes replaces the contents and empties the log.
func (m *Mem) SetBytes(p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data, m.log = append([]byte(nil), p...), nil
}

// Len returns how many operations have been recorded.
func (m *Mem) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.log)
}

// Log returns what has been recorded since SetBytes.
func (m *Mem) Log() []Op {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Op(nil), m.log...)
}

// Crash returns what the file could hold after a power failure when the first n
// operations of log, on top of start, have been issued: everything up to the last
// flush, and of the rest any sectors, in any order.
func Crash(start []byte, log []Op, n int, rnd *rand.Rand) []byte {
	stable := 0
	for i := range n {
		if log[i].Flush {
			stable = i
		}
	}
	data := append([]byte(nil), start...)
	for _, op := range log[:stable] {
		data = op.apply(data)
	}
	rest := append([]Op(nil), log[stable:n]...)
	switch rnd.IntN(4) {
	case 0: // in order, all of it
	case 1:
		rest = rest[:rnd.IntN(len(rest)+1)]
	default:
		rnd.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		rest = rest[:rnd.IntN(len(rest)+1)]
		if rnd.IntN(2) == 0 {
			rest = tear(rest, rnd)
		}
	}
	for _, op := range rest {
		data = op.apply(data)
	}
	return data
}

// tear leaves out some sectors of writes.
func tear(ops []Op, rnd *rand.Rand) (torn []Op) {
	for _, op := range ops {
		if op.Data == nil || rnd.IntN(3) > 0 {
			torn = append(torn, op)
			continue
		}
		for p, off := op.Data, op.Off; len(p) > 0; {
			n := min(int(sector-off%sector), len(p))
			if rnd.IntN(2) == 0 {
				torn = append(torn, Op{Off: off, Data: p[:n], Size: -1})
			}
			p, off = p[n:], off+int64(n)
		}
	}
	return torn
}

func (op *Op) apply(data []byte) []byte {
	switch {
	case op.Flush:
	case op.Size >= 0:
		return resize(data, op.Size)
	case op.Data != nil:
		data = grow(data, op.Off+int64(len(op.Data)))
		copy(data[op.Off:], op.Data)
	default:
		data = grow(data, op.Off+op.Zero)
		clear(data[op.Off : op.Off+op.Zero])
	}
	return data
}

func grow(data []byte, size int64) []byte {
	if int64(len(data)) < size {
		return resize(data, size)
	}
	return data
}

func resize(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

// node is an open Mem.
type node struct {
	m *Mem
	n *block.Node
}

func open(a *block.OpenArgs) (block.Driver, error) {
	id := a.Opts.(*Options).ID
	filesMu.Lock()
	defer filesMu.Unlock()
	m := files[id]
	if m == nil {
		return nil, block.Errorf(block.KindNotFound, "There is no file '%s' in memory", id)
	}
	return &node{m: m, n: a.Node}, nil
}

// maxSize bounds a file: images that are not what they seem point anywhere.
const maxSize = 64 << 20

func (f *node) record(op Op) error {
	if op.Off+int64(len(op.Data))+op.Zero > maxSize || op.Size > maxSize {
		return unix.EFBIG
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.m.data = op.apply(f.m.data)
	f.m.log = append(f.m.log, op)
	return nil
}

func (f *node) Length() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.m.data)), nil
}

func (f *node) Limits() block.Limits {
	return block.Limits{Align: 1, WriteFlags: block.Unchanged, ZeroFlags: block.MayUnmap | block.NoFallback | block.Unchanged}
}

func (f *node) Preadv(off int64, v block.Vec, _ block.Flags) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	p := make([]byte, v.Len())
	if off < int64(len(f.m.data)) {
		copy(p, f.m.data[off:])
	}
	return v.Write(p)
}

func (f *node) Pwritev(off int64, v block.Vec, _ block.Flags) error {
	p := make([]byte, v.Len())
	if err := v.Read(p); err != nil {
		return err
	}
	return f.record(Op{Off: off, Data: p, Size: -1})
}

func (f *node) PwriteZeroes(off, n int64, _ block.Flags) error {
	return f.record(Op{Off: off, Zero: n, Size: -1})
}

func (f *node) Pdiscard(off, n int64) error {
	return f.record(Op{Off: off, Zero: n, Size: -1})
}

func (f *node) Truncate(_ context.Context, size int64, _ bool, p block.Prealloc, _ block.Flags) error {
	if p == block.PreallocMetadata {
		return block.Errorf(block.KindUnsupported, "Unsupported preallocation mode 'metadata'")
	}
	return f.record(Op{Size: size})
}

func (f *node) Flush() error {
	return f.record(Op{Flush: true, Size: -1})
}

func (f *node) Info() block.Info {
	return block.Info{ZeroInit: true, UnallocZero: true, AllocatedBytes: -1}
}

func (f *node) ExactFileName() string { return "json:{\"driver\": \"mem\"}" }

func (f *node) PrepareReopen(*block.ReopenArgs) error { return nil }

func (f *node) CommitReopen(*block.ReopenArgs) {}

func (f *node) AbortReopen(*block.ReopenArgs) {}

func (f *node) Close() {}
