package filter_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"govmd/internal/block"
	_ "govmd/internal/block/drivers"
	"govmd/internal/clock"
	"govmd/internal/object"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
	"govmd/internal/throttle"
)

// rig is a graph with a clock that moves by hand.
type rig struct {
	*testing.T
	*block.Graph
	clock  *clock.Set
	groups map[string]*throttle.Group
}

func newRig(t *testing.T) *rig {
	c, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.Virtual.SetManual()
	r := &rig{T: t, clock: c, groups: map[string]*throttle.Group{}}
	r.Graph = block.NewGraph(block.Env{Clock: c, ThrottleGroup: func(id string) *throttle.Group { return r.groups[id] }})
	return r
}

// group makes a throttle-group with a limit of requests a second.
func (r *rig) group(name string, iops uint64) *throttle.Group {
	r.Helper()
	o, err := object.New("throttle-group")
	if err != nil {
		r.Fatal(err)
	}
	g := o.(*throttle.Group)
	c := throttle.Unlimited()
	c.Buckets[throttle.IOPSTotal].Avg = iops
	g.SetConfig(c)
	r.groups[name] = g
	return g
}

func (r *rig) tryOpen(opts string) (*block.Node, error) {
	r.Helper()
	doc, err := qjson.Parse([]byte(opts))
	if err != nil {
		r.Fatal(err)
	}
	var o block.Options
	if err := qmp.Decode(doc.Root(), qmp.JSON, &o); err != nil {
		return nil, err
	}
	return r.Graph.Open(context.Background(), &o, block.Settings{})
}

func (r *rig) open(opts string) *block.Node {
	r.Helper()
	n, err := r.tryOpen(opts)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(n.Unref)
	return n
}

// use gives the node to a back end and returns that's queue.
func (r *rig) use(n *block.Node) (*block.Backend, *block.Queue) {
	r.Helper()
	b, err := r.NewBackend("")
	if err == nil {
		err = b.SetPerms(block.PermRead|block.PermWrite|block.PermResize, block.PermAll)
	}
	if err == nil {
		err = b.InsertMedium(n)
	}
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(b.Close)
	return b, b.NewQueue("test", 16)
}

func (r *rig) file(size int64) string {
	r.Helper()
	name := filepath.Join(r.TempDir(), "disk")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		r.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		r.Fatal(err)
	}
	return name
}

func fileNode(name string) string { return `{"driver": "file", "filename": "` + name + `"}` }

func (r *rig) wantError(opts, want string) {
	r.Helper()
	n, err := r.tryOpen(opts)
	if err == nil {
		n.Unref()
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		r.Errorf("%s:\n got %v\nwant %s", opts, err, want)
	}
}

// count is a set of requests under way.
type count struct {
	done atomic.Int32
	idle chan struct{}
}

// submit has n writes made.
func submit(q *block.Queue, n int) *count {
	c := &count{idle: make(chan struct{})}
	p := block.VecOf(make([]byte, 512))
	for range n {
		q.Submit(&block.Request{Op: block.OpWrite, Vec: p, Done: func(*block.Request, error) {
			if int(c.done.Add(1)) == n {
				close(c.idle)
			}
		}})
	}
	return c
}

// settled is how many requests have gone ahead once those that may have ended.
func (c *count) settled(q *block.Queue) int {
	_ = q.Wait(context.Background())
	return int(c.done.Load())
}

func TestThrottledDrives(t *testing.T) {
	r := newRig(t)
	r.group("limits", 10)
	var queues []*block.Queue
	var backends []*block.Backend
	for range 2 {
		b, q := r.use(r.open(fileNode(r.file(1 << 20))))
		m, err := r.JoinThrottle("limits", "drive", true)
		if err != nil {
			t.Fatal(err)
		}
		b.SetThrottle(m)
		queues, backends = append(queues, q), append(backends, b)
	}
	a, b := submit(queues[0], 50), submit(queues[1], 50)
	both := func() (int, int) { return a.settled(queues[0]), b.settled(queues[1]) }
	x0, y0 := both()
	if x0+y0 < 1 || x0+y0 > 3 {
		t.Errorf("%d and %d requests went ahead at once", x0, y0)
	}
	r.clock.Virtual.Advance(1e9)
	x, y := both()
	if n := x + y - x0 - y0; n < 9 || n > 11 {
		t.Errorf("%d requests in a second, not 10", n)
	}
	if d := x - x0 - y + y0; d < -2 || d > 2 {
		t.Errorf("%d and %d: the two drives do not take turns", x-x0, y-y0)
	}
	// Other limits are in force at once.
	c := throttle.Unlimited()
	c.Buckets[throttle.IOPSTotal].Avg = 20
	r.groups["limits"].SetConfig(c)
	r.clock.Virtual.Advance(1e9 + 1)
	x0, y0 = both()
	r.clock.Virtual.Advance(2e9)
	x, y = both()
	if n := x + y - x0 - y0; n < 19 || n > 21 {
		t.Errorf("%d requests in a second, not 20", n)
	}
	// A drain waits for nobody's limits.
	n := backends[0].Node()
	if err := n.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	n.Undrain()
	<-a.idle
	r.groups["limits"].SetConfig(throttle.Unlimited())
	r.clock.Virtual.Advance(3e9)
	<-b.idle
	for _, b := range backends {
		m := b.Throttle()
		b.SetThrottle(nil)
		m.Leave()
	}
	if u := r.groups["limits"].Users(); u != "" {
		t.Errorf("the group is still used by %s", u)
	}
}

func TestThrottleFilter(t *testing.T) {
	r := newRig(t)
	r.group("limits", 10)
	n := r.open(`{"driver": "throttle", "throttle-group": "limits", "file": ` + fileNode(r.file(1<<20)) + `}`)
	_, q := r.use(n)
	c := submit(q, 8)
	for c.done.Load() < 8 {
		r.clock.Virtual.Advance(r.clock.Virtual.Now() + 1e8)
	}
	<-c.idle
	// What waits in the filter is let go by a drain.
	c = submit(q, 8)
	if err := n.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	n.Undrain()
	<-c.idle
	r.wantError(`{"driver": "throttle", "throttle-group": "none", "file": `+fileNode(r.file(512))+`}`, "Throttle group 'none' does not exist")
}

func TestLeavingLetsAllGoAhead(t *testing.T) {
	r := newRig(t)
	b, q := r.use(r.open(fileNode(r.file(1 << 20))))
	m, err := r.JoinThrottle("made", "drive", true)
	if err != nil {
		t.Fatal(err)
	}
	cfg := throttle.Unlimited()
	cfg.Buckets[throttle.BPSWrite].Avg = 1
	m.SetConfig(cfg)
	if got := m.Config(); got != cfg {
		t.Errorf("limits: %+v", got)
	}
	b.SetThrottle(m)
	c := submit(q, 20)
	b.SetThrottle(nil)
	m.Leave()
	<-c.idle
	if _, err := r.JoinThrottle("made", "drive", false); err == nil {
		t.Error("a group that was made for its members outlives them")
	}
}

func TestPreallocate(t *testing.T) {
	r := newRig(t)
	name := r.file(0)
	n := r.open(`{"driver": "preallocate", "prealloc-align": 65536, "prealloc-size": 1048576, "file": ` + fileNode(name) + `}`)
	b, err := r.NewBackend("")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetPerms(block.PermRead|block.PermWrite|block.PermResize, block.PermAll&^block.PermResize); err != nil {
		t.Fatal(err)
	}
	if err := b.InsertMedium(n); err != nil {
		t.Fatal(err)
	}
	c := b.Root()
	p := bytes.Repeat([]byte{7}, 5000)
	if err := c.Pwrite(0, p); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size()
	}
	if got := size(); got < 1<<20 {
		t.Errorf("the file has %d bytes: nothing ahead", got)
	}
	if err := c.PwriteZeroes(5000, 3000, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Pwrite(2<<20, p); err != nil {
		t.Fatal(err)
	}
	if err := c.Truncate(context.Background(), 3<<20, true, block.PreallocOff, 0); err != nil {
		t.Fatal(err)
	}
	if n.Length() != 3<<20 {
		t.Errorf("the node has %d bytes", n.Length())
	}
	b.Close()
	if got := size(); got != 3<<20 {
		t.Errorf("afterwards the file has %d bytes", got)
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 3<<20)
	copy(want, p)
	copy(want[2<<20:], p)
	if !bytes.Equal(got, want) {
		t.Error("the file does not hold what was written")
	}
	r.wantError(`{"driver": "preallocate", "prealloc-align": 100, "file": `+fileNode(name)+`}`, "not aligned to 512")
}

func TestCopyOnReadRefusesOddBottoms(t *testing.T) {
	r := newRig(t)
	r.open(`{"driver": "file", "node-name": "other", "filename": "` + r.file(512) + `"}`)
	r.wantError(`{"driver": "copy-on-read", "bottom": "nope", "file": `+fileNode(r.file(512))+`}`, "Bottom node 'nope' not found")
	r.wantError(`{"driver": "copy-on-read", "bottom": "other", "file": `+fileNode(r.file(512))+`}`, "not in the backing chain")
}
