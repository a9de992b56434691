// Package iothread is the object "iothread": a thread that serves the queues of
// the devices that are told to use it.
package iothread

import (
	"fmt"
	"runtime"
	"strings"

	"govmd/internal/object"
	"govmd/internal/qmp"
	"govmd/internal/worker"
)

// Thread is an iothread. Sources are added to its worker; requests that start on
// the thread complete there.
type Thread struct {
	object.Node
	w *worker.Worker

	pollMax, pollGrow, pollShrink int64
	maxBatch                      int64
	poolMin, poolMax              int64
}

// defaultPollMax is how long a thread polls at most unless told otherwise, in ns.
const defaultPollMax = 32768

// defaultPoolMax bounds the helpers of a thread unless told otherwise.
const defaultPoolMax = 64

// Worker returns the thread, for devices to add their queues to.
func (t *Thread) Worker() *worker.Worker { return t.w }

// Complete starts the thread.
func (t *Thread) Complete(*object.Collection) error {
	w, err := worker.New("IO " + t.Name())
	if err != nil {
		return err
	}
	t.w = w
	t.configure()
	// A thread that is busy or polls holds its processor slot: there is one more.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	w.Start()
	w.Sync() // it has its ID
	return nil
}

// Close ends the thread, which nobody uses any more.
func (t *Thread) Close() {
	if t.w != nil {
		t.w.Close()
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0)-1, 1))
	}
}

func (t *Thread) configure() {
	if t.w != nil {
		t.w.SetPolling(worker.Polling{Max: t.pollMax, Grow: t.pollGrow, Shrink: t.pollShrink})
	}
}

// setting is an integer that may be changed at any time and is not negative.
func setting(name string, field func(*Thread) *int64, def int64) object.Property {
	p := object.As("int", object.Int(name, field, def, ""))
	set := p.Set
	p.When = object.Always
	p.Set = func(o object.Object, v any) error {
		if n, ok := v.(int64); ok && n < 0 {
			return fmt.Errorf("%s value must be in range [0, 9223372036854775807]", name)
		}
		if err := set(o, v); err != nil {
			return err
		}
		o.(*Thread).configure()
		return nil
	}
	return p
}

// poolSize is one of the bounds of the pool, which must fit each other.
func poolSize(name string, field func(*Thread) *int64, def int64) object.Property {
	p := setting(name, field, def)
	set := p.Set
	p.Set = func(o object.Object, v any) error {
		t := o.(*Thread)
		old := *field(t)
		if err := set(o, v); err != nil {
			return err
		}
		// The default of one may come before that of the other.
		if t.poolMax != 0 && t.poolMin > t.poolMax || *field(t) > 1<<20 || name == "thread-pool-max" && t.poolMax == 0 {
			*field(t) = old
			return fmt.Errorf("bad thread-pool-min/thread-pool-max values")
		}
		return nil
	}
	return p
}

// fixed is a property of which no other value than the default has an effect: such a
// value is refused, once it is one at all.
func fixed(p object.Property, def int64, why string) object.Property {
	set := p.Set
	p.Set = func(o object.Object, v any) error {
		if err := set(o, v); err != nil {
			return err
		}
		n, ok := v.(int64)
		if !ok || n == def {
			return nil
		}
		if err := set(o, def); err != nil {
			return err
		}
		return fmt.Errorf("%s=%d is not supported: %s", p.Name, n, why)
	}
	return p
}

func init() {
	object.Register(object.Type{Name: "event-loop-base", Abstract: true, Props: []object.Property{
		fixed(setting("aio-max-batch", func(t *Thread) *int64 { return &t.maxBatch }, 0), 0,
			"what a guest asks for at a time goes to storage together"),
		fixed(poolSize("thread-pool-max", func(t *Thread) *int64 { return &t.poolMax }, defaultPoolMax), defaultPoolMax,
			"each device has as many requests under way"),
		fixed(poolSize("thread-pool-min", func(t *Thread) *int64 { return &t.poolMin }, 0), 0,
			"helpers are there when they are needed, and stay"),
	}})
	object.Register(object.Type{
		Name: "iothread", Parent: "event-loop-base", UserCreatable: true,
		Description: "thread that serves devices' queues",
		New:         func() object.Object { return &Thread{} },
		Props: []object.Property{
			setting("poll-max-ns", func(t *Thread) *int64 { return &t.pollMax }, defaultPollMax),
			setting("poll-grow", func(t *Thread) *int64 { return &t.pollGrow }, 0),
			setting("poll-shrink", func(t *Thread) *int64 { return &t.pollShrink }, 0),
		},
	})
}

// info is what query-iothreads tells of a thread.
type info struct {
	ID       string `qmp:"id"`
	ThreadID int64  `qmp:"thread-id"`
	PollMax  int64  `qmp:"poll-max-ns"`
	Grow     int64  `qmp:"poll-grow"`
	Shrink   int64  `qmp:"poll-shrink"`
	MaxBatch int64  `qmp:"aio-max-batch"`
}

func list(objects *object.Collection) []info {
	found := []info{}
	for _, o := range objects.Children() {
		if t, ok := o.(*Thread); ok {
			found = append(found, info{t.Name(), int64(t.w.TID()), t.pollMax, t.pollGrow, t.pollShrink, t.maxBatch})
		}
	}
	return found
}

// Commands returns the commands about the threads among objects.
func Commands(objects *object.Collection) []qmp.Command {
	return []qmp.Command{
		qmp.New("query-iothreads", func(*qmp.Context, *qmp.None) ([]info, error) { return list(objects), nil }, qmp.Preconfig),
	}
}

// text is the threads as `info iothreads` shows them.
func text(objects *object.Collection) string {
	var b strings.Builder
	for _, i := range list(objects) {
		fmt.Fprintf(&b, "%s:\n  thread_id=%d\n  poll-max-ns=%d\n  poll-grow=%d\n  poll-shrink=%d\n  aio-max-batch=%d\n",
			i.ID, i.ThreadID, i.PollMax, i.Grow, i.Shrink, i.MaxBatch)
	}
	return b.String()
}
