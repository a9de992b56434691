// Package jobtest helps to test block jobs: a graph with the commands on a lane of
// its own, and a guest that writes while a job runs.
package jobtest

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/block/control"
	_ "govmd/internal/block/drivers" // formats and protocols
	"govmd/internal/event"
	"govmd/internal/job"
	"govmd/internal/lane"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// Rig is a graph with the block layer's commands, in a folder of its own.
type Rig struct {
	testing.TB
	Lane    *lane.Lane
	Graph   *block.Graph
	Jobs    *blockjob.Manager
	Control *control.Control

	registry *qmp.Registry
	closed   bool
	mu       sync.Mutex
	changed  *sync.Cond
	events   []string // what was published, as JSON, "NAME {…}"
}

// patience bounds how long a test waits for what never comes.
const patience = time.Minute

// New returns a rig whose commands are those of the block layer and of jobs, and
// those that more returns. At the end of the test nothing may be left open.
func New(t testing.TB, more ...func(*control.Control) []qmp.Command) *Rig {
	r := &Rig{TB: t, Lane: lane.New(), registry: qmp.NewRegistry()}
	r.changed = sync.NewCond(&r.mu)
	var bus event.Bus
	bus.Subscribe(r.note)
	r.Graph = block.NewGraph(block.Env{Bus: &bus, Lane: r.Lane})
	jobs := job.NewManager(r.Lane, &bus)
	r.Jobs = blockjob.NewManager(r.Graph, jobs)
	r.Control = control.New(control.Config{Graph: r.Graph, Lane: r.Lane, Jobs: r.Jobs})
	r.registry.Add(r.Control.Commands()...)
	r.registry.Add(jobs.Commands()...)
	r.registry.Add(r.Jobs.Commands()...)
	for _, fn := range more {
		r.registry.Add(fn(r.Control)...)
	}
	t.Chdir(t.TempDir())
	go r.Lane.Run()
	t.Cleanup(r.Close)
	return r
}

// Open opens an image whose format is guessed, to be written.
func (r *Rig) Open(file string) (*block.Node, error) {
	return r.Graph.OpenImage(context.Background(), file, nil, qmp.JSON, block.Settings{Unmap: true})
}

// Close ends all jobs and closes all images; at the end of the test it is called
// if the test has not.
func (r *Rig) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.On(func() {
		r.Jobs.Close()
		for _, b := range r.Graph.Backends() {
			b.Close()
		}
		for _, name := range r.Graph.CloseAll() {
			r.Errorf("node '%s' is still in use at the end", name)
		}
	})
	r.Lane.Close()
	<-r.Lane.Done()
}

func (r *Rig) note(s event.Stamped) {
	text := qmp.Append(nil, s.Event)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, s.Event.EventName()+" "+string(text))
	r.changed.Broadcast()
}

// On runs fn on the lane.
func (r *Rig) On(fn func()) {
	r.Helper()
	if err := r.Lane.Do(context.Background(), fn); err != nil {
		r.Fatal(err)
	}
}

// Call carries a command out and returns its answer, or "! " and the error.
func (r *Rig) Call(name, args string) string {
	r.Helper()
	doc, err := qjson.Parse([]byte(args))
	if err != nil {
		r.Fatalf("%s: %v", args, err)
	}
	c := r.registry.Lookup(name)
	if c == nil {
		r.Fatalf("there is no command %s", name)
	}
	answer := make(chan string, 1)
	r.On(func() {
		ctx := &qmp.Context{Context: context.Background(), Registry: r.registry}
		done := func(out []byte, err error) {
			if err != nil {
				answer <- "! " + err.Error()
				return
			}
			answer <- string(out)
		}
		if c.Async() {
			c.Start(ctx, doc.Root(), qmp.JSON, done)
		} else {
			done(c.Call(ctx, doc.Root(), qmp.JSON, nil))
		}
	})
	return <-answer
}

// OK carries a command out that must succeed.
func (r *Rig) OK(name, args string) {
	r.Helper()
	if got := r.Call(name, args); got != "{}" {
		r.Fatalf("%s %s: %s", name, args, got)
	}
}

// Fails carries a command out that must fail with the error want.
func (r *Rig) Fails(name, args, want string) {
	r.Helper()
	if got := r.Call(name, args); got != "! "+want {
		r.Errorf("%s %s:\n got %s\nwant ! %s", name, args, got, want)
	}
}

// Await returns the first event, of those that no Await has returned yet, that
// begins with prefix, and those before it.
func (r *Rig) Await(prefix string) (seen []string) {
	r.Helper()
	deadline := time.Now().Add(patience)
	defer time.AfterFunc(patience, r.changed.Broadcast).Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for looked := 0; ; r.changed.Wait() {
		for ; looked < len(r.events); looked++ {
			if strings.HasPrefix(r.events[looked], prefix) {
				seen, r.events = r.events[:looked+1], r.events[looked+1:]
				return seen
			}
		}
		if !time.Now().Before(deadline) {
			r.Fatalf("%s never came; there was %s", prefix, strings.Join(r.events, "\n"))
		}
	}
}

// Ended waits for a job to be forgotten, and returns the events until then.
func (r *Rig) Ended(id string) (seen []string) {
	r.Helper()
	return r.Await(`JOB_STATUS_CHANGE {"id": "` + id + `", "status": "null"}`)
}

// Sh runs a program and returns what it says.
func (r *Rig) Sh(args ...string) string {
	r.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		r.Fatalf("%v: %s", args, out)
	}
	return string(out)
}
