package block_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	_ "govmd/internal/block/drivers"
	"govmd/internal/clock"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
	"govmd/internal/runstate"
)

// rig is a graph with files in memory.
type rig struct {
	t   *testing.T
	g   *block.Graph
	env block.Env

	mu     sync.Mutex
	events []event.Event
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t}
	r.env.Bus = &event.Bus{}
	cancel := r.env.Bus.Subscribe(func(s event.Stamped) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, s.Event)
	})
	t.Cleanup(cancel)
	r.g = block.NewGraph(r.env)
	return r
}

// mem makes a file of size bytes and returns its id.
func (r *rig) mem(name string, size int) (*blocktest.Mem, string) {
	id := r.t.Name() + name
	m, remove := blocktest.NewMem(id)
	r.t.Cleanup(remove)
	m.SetBytes(make([]byte, size))
	return m, id
}

func (r *rig) options(text string) *block.Options {
	r.t.Helper()
	doc, err := qjson.Parse([]byte(text))
	if err != nil {
		r.t.Fatal(err)
	}
	o, err := block.DecodeOptions(qmp.ToAny(doc.Root()).(*qmp.Object), qmp.JSON)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// open opens a node from JSON options.
func (r *rig) open(text string) *block.Node {
	r.t.Helper()
	n, err := r.g.Open(context.Background(), r.options(text), block.Settings{Unmap: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(n.Unref)
	return n
}

func (r *rig) backend(name string, n *block.Node) *block.Backend {
	r.t.Helper()
	b, err := r.g.NewBackend(name)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := b.SetPerms(block.PermRead|block.PermWrite|block.PermResize, block.PermAll); err != nil {
		r.t.Fatal(err)
	}
	if err := b.InsertMedium(n); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(b.Close)
	return b
}

// eventNames returns what was announced so far.
func (r *rig) eventNames() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		list = append(list, e.EventName())
	}
	return list
}

// TestUnaligned writes at random through a node that takes whole 4 KiB only, many
// requests at once, each in its own bytes.
func TestUnaligned(t *testing.T) {
	r := newRig(t)
	m, id := r.mem("", 1<<20)
	n := r.open(`{"driver": "blkdebug", "align": 4096, "max-transfer": 16384, "image": {"driver": "mem", "id": "` + id + `"}}`)
	b := r.backend("", n)
	q := b.NewQueue("test", 8)
	model := make([]byte, 1<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	done := make(chan error, 64)
	for range 20 {
		count := 0
		for off := 0; off < len(model); {
			size := 1 + rnd.IntN(40000)
			size = min(size, len(model)-off)
			if rnd.IntN(2) == 0 {
				p := bytes.Repeat([]byte{byte(1 + rnd.IntN(255))}, size)
				copy(model[off:], p)
				q.Submit(&block.Request{Op: block.OpWrite, Off: int64(off), Vec: block.VecOf(p), Done: func(_ *block.Request, err error) { done <- err }})
				count++
			} else if rnd.IntN(2) == 0 {
				clear(model[off : off+size])
				q.Submit(&block.Request{Op: block.OpZeroes, Off: int64(off), Len: int64(size), Done: func(_ *block.Request, err error) { done <- err }})
				count++
			}
			off += size
		}
		for range count {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		off := rnd.IntN(len(model))
		p := make([]byte, rnd.IntN(len(model)-off))
		if err := q.Do(block.OpRead, int64(off), 0, block.VecOf(p), 0); err != nil || !bytes.Equal(p, model[off:off+len(p)]) {
			t.Fatalf("read of %d bytes at %d differs (%v)", len(p), off, err)
		}
	}
	if !bytes.Equal(m.Bytes(), model) {
		t.Error("the file differs")
	}
}

// TestCopyOnRead keeps what is read, beside writes that go to the same place.
func TestCopyOnRead(t *testing.T) {
	r := newRig(t)
	base, baseID := r.mem("base", 1<<20)
	base.SetBytes(bytes.Repeat([]byte{7}, 1<<20))
	_, topID := r.mem("top", 0)
	if err := block.TypeOf("qcow2").Create(context.Background(), r.g, r.create(topID, 1<<20)); err != nil {
		t.Fatal(err)
	}
	n := r.open(`{"driver": "qcow2", "file": {"driver": "mem", "id": "` + topID + `"},
		"backing": {"driver": "raw", "file": {"driver": "mem", "id": "` + baseID + `"}}}`)
	b := r.backend("", n)
	n.EnableCopyOnRead()
	if err := b.Root().Pwrite(70000, []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 200000)
	if err := b.Root().Pread(1000, p); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{7}, len(p))
	copy(want[69000:], []byte{1, 2, 3})
	if !bytes.Equal(p, want) {
		t.Error("what was read differs")
	}
	kept := int64(0)
	for off := int64(0); off < 1<<20; {
		alloc, count, err := n.IsAllocatedAbove(n.Backing(), off, 1<<20-off)
		if err != nil || count <= 0 {
			t.Fatal(err)
		}
		if alloc {
			kept += count
		}
		off += count
	}
	if kept != 4*65536 {
		t.Errorf("%d bytes were kept", kept)
	}
	// The backing file is read no more for what has been kept.
	base.SetBytes(make([]byte, 1<<20))
	if err := b.Root().Pread(1000, p); err != nil || !bytes.Equal(p, want) {
		t.Errorf("what was kept differs (%v)", err)
	}
}

func (r *rig) create(id string, size int) any {
	return blocktest.Qcow2Options(id, int64(size))
}

// TestDetectZeroes makes holes of zeroes, and announces a threshold once.
func TestDetectZeroes(t *testing.T) {
	r := newRig(t)
	m, id := r.mem("", 1<<20)
	n := r.open(`{"driver": "raw", "detect-zeroes": "unmap", "discard": "unmap", "node-name": "disk", "file": {"driver": "mem", "id": "` + id + `"}}`)
	b := r.backend("", n)
	n.SetWriteThreshold(5000)
	for _, v := range []byte{0, 1, 0} {
		if err := b.Root().Pwrite(4096, bytes.Repeat([]byte{v}, 4096)); err != nil {
			t.Fatal(err)
		}
	}
	var zeroes, writes int
	for _, op := range m.Log() {
		if op.Zero > 0 {
			zeroes++
		}
		if op.Data != nil {
			writes++
		}
	}
	if zeroes != 2 || writes != 1 {
		t.Errorf("%d zeroes and %d writes", zeroes, writes)
	}
	if got := r.eventNames(); len(got) != 1 || got[0] != "BLOCK_WRITE_THRESHOLD" {
		t.Errorf("events %v", got)
	}
}

// TestFlush flushes only what has been written.
func TestFlush(t *testing.T) {
	r := newRig(t)
	m, id := r.mem("", 1<<20)
	n := r.open(`{"driver": "raw", "file": {"driver": "mem", "id": "` + id + `"}}`)
	b := r.backend("", n)
	flushes := func() (n int) {
		for _, op := range m.Log() {
			if op.Flush {
				n++
			}
		}
		return n
	}
	c := b.Root()
	for range 3 {
		_ = c.Pwrite(0, []byte{1})
		_ = c.Flush()
		_ = c.Flush()
	}
	if got := flushes(); got != 3 {
		t.Errorf("%d flushes", got)
	}
	b.SetWriteCache(false)
	q := b.NewQueue("q", 1)
	if err := q.Do(block.OpWrite, 0, 0, block.VecOf([]byte{1}), 0); err != nil || flushes() != 4 {
		t.Errorf("a write without write cache: %v, %d flushes", err, flushes())
	}
}

// TestDrain holds new requests while a node is drained, through the graph.
func TestDrain(t *testing.T) {
	r := newRig(t)
	_, id := r.mem("", 1<<20)
	n := r.open(`{"driver": "raw", "file": {"driver": "blkdebug", "node-name": "low", "image": {"driver": "mem", "id": "` + id + `"}}}`)
	b := r.backend("", n)
	q := b.NewQueue("test", 4)
	low := r.g.Node("low")
	bp := block.BreakpointsOf(n)
	if err := bp.SetBreak("write_aio", "A"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 4)
	write := func() {
		q.Submit(&block.Request{Op: block.OpWrite, Vec: block.VecOf(make([]byte, 512)), Done: func(_ *block.Request, err error) { done <- err }})
	}
	write()
	if err := bp.WaitBreak("A", nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := low.Drain(ctx); err == nil {
		t.Fatal("drained although a request is held")
	}
	low.DrainBegin()
	write() // held back
	drained := make(chan error, 1)
	go func() { drained <- low.DrainWait(context.Background()) }()
	if err := bp.ResumeBreak("A"); err != nil {
		t.Fatal(err)
	}
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if q.Active() != 1 || len(done) != 0 {
		t.Errorf("%d requests under way, %d done", q.Active(), len(done))
	}
	// It nests, and what is attached meanwhile is drained, too.
	if err := low.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	c := r.backend("", n)
	q2 := c.NewQueue("late", 1)
	q2.Submit(&block.Request{Op: block.OpRead, Vec: block.VecOf(make([]byte, 512)), Done: func(_ *block.Request, err error) { done <- err }})
	low.Undrain()
	if q2.Active() != 1 || len(done) != 0 {
		t.Error("requests run although a drain goes on")
	}
	low.Undrain()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestErrorStops parks a request that fails, and tries it again on cont.
func TestErrorStops(t *testing.T) {
	r := newRig(t)
	l := lane.New()
	go l.Run()
	defer func() { l.Close(); <-l.Done() }()
	set, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	rs := runstate.New(l, r.env.Bus, set.Virtual)
	rs.Attach(vcpus{}, runstate.Hooks{})
	r.g = block.NewGraph(block.Env{Bus: r.env.Bus, Lane: l, RunState: rs, Clock: set})
	_, id := r.mem("", 1<<20)
	n := r.open(`{"driver": "raw", "node-name": "disk", "file": {"driver": "blkdebug", "image": {"driver": "mem", "id": "` + id + `"},
		"inject-error": [{"event": "write_aio", "errno": 28, "once": true}]}}`)
	b := r.backend("drive0", n)
	b.SetPolicy(block.Policy{Read: block.OnErrorReport, Write: block.OnErrorEnospc})
	b.EnableIOStatus()
	onLane := func(fn func()) {
		if err := l.Do(context.Background(), fn); err != nil {
			t.Fatal(err)
		}
	}
	stopped := make(chan struct{})
	onLane(func() {
		_ = rs.Start()
		rs.AddNotifier(0, func(running bool, _ runstate.State) {
			if !running {
				close(stopped)
			}
		})
	})
	q := b.NewQueue("test", 2)
	done := make(chan error, 1)
	q.Submit(&block.Request{Op: block.OpWrite, Vec: block.VecOf([]byte{1}), Done: func(_ *block.Request, err error) { done <- err }})
	<-stopped
	onLane(func() {}) // the stop is complete
	if s, ok := b.IOStatus(); s != block.IOStatusNoSpace || !ok || len(b.Parked()) != 1 || len(done) != 0 {
		t.Errorf("status %s, %d parked", s, len(b.Parked()))
	}
	got := strings.Join(r.eventNames(), " ")
	if !strings.Contains(got, "BLOCK_IO_ERROR STOP") {
		t.Errorf("events %s", got)
	}
	onLane(func() { _ = rs.Start() })
	if err := <-done; err != nil {
		t.Errorf("the retry: %v", err)
	}
	if s, _ := b.IOStatus(); s != block.IOStatusOK {
		t.Errorf("status %s after cont", s)
	}
}

type vcpus struct{}

func (vcpus) Pause() {}

func (vcpus) Resume() {}

// TestReplace puts one node in the place of another.
func TestReplace(t *testing.T) {
	r := newRig(t)
	_, a := r.mem("a", 4096)
	_, c := r.mem("c", 8192)
	n := r.open(`{"driver": "raw", "node-name": "a", "file": {"driver": "mem", "id": "` + a + `"}}`)
	m := r.open(`{"driver": "raw", "node-name": "c", "file": {"driver": "mem", "id": "` + c + `"}}`)
	b := r.backend("", n)
	ctx := context.Background()
	for _, x := range []*block.Node{n, m} {
		if err := x.Drain(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.g.ReplaceNode(n, m, nil); err != nil {
		t.Fatal(err)
	}
	n.Undrain()
	m.Undrain()
	if b.Node() != m || b.Length() != 8192 {
		t.Errorf("the medium is %s of %d bytes", b.Node().Name(), b.Length())
	}
	q := b.NewQueue("q", 1)
	if err := q.Do(block.OpWrite, 5000, 0, block.VecOf([]byte{1}), 0); err != nil {
		t.Errorf("writing after it: %v", err)
	}
	// All or nothing: another user of n does not go together with m's.
	other, err := r.g.NewBackend("other")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	if err := other.SetPerms(block.PermWrite, block.PermRead); err != nil {
		t.Fatal(err)
	}
	if err := other.InsertMedium(n); err != nil {
		t.Fatal(err)
	}
	if err := r.g.ReplaceNode(n, m, nil); err == nil || other.Node() != n {
		t.Errorf("replaced against permissions: %v", err)
	}
}

// TestReopen makes a node read-only and writable again while it is open.
func TestReopen(t *testing.T) {
	r := newRig(t)
	_, id := r.mem("", 4096)
	text := `{"driver": "raw", "node-name": "disk", "file": {"driver": "mem", "id": "` + id + `"}}`
	n := r.open(text)
	o := r.options(strings.Replace(text, `"driver": "raw"`, `"read-only": true, "driver": "raw"`, 1))
	reopen := func(o *block.Options) error {
		return r.g.Reopen(context.Background(), []block.Reopen{{Node: n, Options: o}})
	}
	if err := reopen(o); err != nil || !n.ReadOnly() {
		t.Fatalf("read-only: %v", err)
	}
	b, err := r.g.NewBackend("b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	_ = b.SetPerms(block.PermWrite, block.PermAll)
	if err := b.InsertMedium(n); err == nil {
		t.Fatal("a read-only node was given to a writer")
	}
	if err := reopen(r.options(text)); err != nil {
		t.Fatal(err)
	}
	if err := b.InsertMedium(n); err != nil {
		t.Fatal(err)
	}
	if err := reopen(o); err == nil || n.ReadOnly() {
		t.Errorf("made read-only under a writer: %v", err)
	}
}
