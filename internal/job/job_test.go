package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// rig is a manager on a lane of its own; what jobs tell clients is written down.
type rig struct {
	t *testing.T
	*Manager
	lane *lane.Lane

	mu  sync.Mutex
	log []string
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, lane: lane.New()}
	var bus event.Bus
	bus.Subscribe(func(s event.Stamped) {
		e := s.Event.(StatusChange)
		r.note(e.ID + ":" + string(e.Status))
	})
	r.Manager = NewManager(r.lane, &bus)
	go r.lane.Run()
	t.Cleanup(func() {
		r.on(r.CancelAll)
		r.lane.Close()
		<-r.lane.Done()
	})
	return r
}

func (r *rig) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, s)
}

// on runs fn on the lane.
func (r *rig) on(fn func()) {
	r.t.Helper()
	if err := r.lane.Do(context.Background(), fn); err != nil {
		r.t.Fatal(err)
	}
}

// try is on for what may fail.
func (r *rig) try(fn func() error) (err error) {
	r.on(func() { err = fn() })
	return err
}

// until waits for the lane to come to a state in which cond holds.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for ok := false; !ok; {
		if time.Now().After(deadline) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("it never came to %s; so far: %s", what, strings.Join(r.log, " "))
		}
		r.on(func() { ok = cond() })
		time.Sleep(50 * time.Microsecond) // lets others have the processor
	}
}

func (r *rig) status(j *Job, s Status) {
	r.t.Helper()
	r.until(string(s), func() bool { return j.Status() == s })
}

// history returns what was written down, and begins anew.
func (r *rig) history() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := strings.Join(r.log, " ")
	r.log = nil
	return s
}

func (r *rig) want(history string) {
	r.t.Helper()
	if got := r.history(); got != history {
		r.t.Errorf("what happened:\n got %s\nwant %s", got, history)
	}
}

// script is a driver that does what a test says, and writes down what is asked of it.
type script struct {
	r       *rig
	run     func(ctx context.Context, j *Job) error
	prepare error
	soft    bool // cancelled without force, it ends well
	finish  chan struct{}
	once    sync.Once
}

func (s *script) Type() Type { return TypeMirror }

func (s *script) Run(ctx context.Context, j *Job) error { return s.run(ctx, j) }

func (s *script) Complete(*Job) error {
	s.r.note("complete()")
	s.once.Do(func() { close(s.finish) })
	return nil
}

func (s *script) Cancel(j *Job, force bool) bool {
	if force || !s.soft || !j.IsReady() {
		return true
	}
	s.once.Do(func() { close(s.finish) })
	return false
}

func (s *script) Prepare(j *Job) error { s.r.note(j.ID() + ".prepare()"); return s.prepare }
func (s *script) Commit(j *Job)        { s.r.note(j.ID() + ".commit()") }
func (s *script) Abort(j *Job)         { s.r.note(j.ID() + ".abort()") }
func (s *script) Clean(j *Job)         { s.r.note(j.ID() + ".clean()") }

func (r *rig) hooks() Hooks {
	note := func(what string) func(*Job) {
		return func(j *Job) { r.note(j.ID() + " is " + what) }
	}
	return Hooks{Ready: note("READY"), Pending: note("PENDING"), Finished: func(j *Job) {
		if j.Cancelled() {
			r.note(j.ID() + " is CANCELLED")
		} else {
			r.note(fmt.Sprintf("%s is COMPLETED(%v)", j.ID(), j.Err()))
		}
	}}
}

// start makes and starts a job.
func (r *rig) start(s *script, o Options) *Job {
	r.t.Helper()
	j := r.create(s, o)
	r.on(j.Start)
	return j
}

func (r *rig) create(s *script, o Options) (j *Job) {
	r.t.Helper()
	s.r, s.finish, o.Hooks = r, make(chan struct{}), r.hooks()
	if o.ID == "" {
		o.ID = "j"
	}
	if err := r.try(func() (err error) { j, err = r.New(s, o); return err }); err != nil {
		r.t.Fatal(err)
	}
	return j
}

func nothing(context.Context, *Job) error { return nil }

// untilStopped works, in small steps, until it is told to stop.
func untilStopped(_ context.Context, j *Job) error {
	for {
		if err := j.Sleep(time.Millisecond); err != nil {
			return err
		}
	}
}

// untilComplete becomes ready and goes on until it is told to complete.
func (s *script) untilComplete(ctx context.Context, j *Job) error {
	j.Ready()
	for {
		select {
		case <-s.finish:
			return nil
		default:
		}
		if err := j.Sleep(time.Millisecond); err != nil {
			return err
		}
	}
}

func TestLifeOfASuccess(t *testing.T) {
	r := newRig(t)
	j := r.start(&script{run: nothing}, Options{})
	r.status(j, Null)
	r.want("j:created j:running j:waiting j:pending j.prepare() j.commit() j.clean() j is COMPLETED(<nil>) j:concluded j:null")
	r.on(func() {
		if len(r.Jobs()) > 0 {
			t.Error("a job that is over is still there")
		}
	})
}

func TestLifeOfAFailure(t *testing.T) {
	r := newRig(t)
	j := r.start(&script{run: func(context.Context, *Job) error { return errors.New("no space") }}, Options{ManualDismiss: true, ManualFinalize: true})
	r.status(j, Concluded)
	r.want("j:created j:running j:aborting j.abort() j.clean() j is COMPLETED(no space) j:concluded")
	if err := r.try(j.Dismiss); err != nil {
		t.Fatal(err)
	}
	r.want("j:null")
}

func TestFinalizeAndDismissByHand(t *testing.T) {
	r := newRig(t)
	j := r.start(&script{run: nothing}, Options{ManualFinalize: true, ManualDismiss: true})
	r.status(j, Pending)
	r.want("j:created j:running j:waiting j:pending j is PENDING")
	if err := r.try(j.Finalize); err != nil {
		t.Fatal(err)
	}
	r.want("j.prepare() j.commit() j.clean() j is COMPLETED(<nil>) j:concluded")
	if err := r.try(j.Dismiss); err != nil {
		t.Fatal(err)
	}
	r.want("j:null")
}

func TestPrepareFails(t *testing.T) {
	r := newRig(t)
	j := r.start(&script{run: nothing, prepare: errors.New("graph is locked")}, Options{})
	r.status(j, Null)
	r.want("j:created j:running j:waiting j:pending j.prepare() j:aborting j.abort() j.clean() j is COMPLETED(graph is locked) j:concluded j:null")
}

func TestReadyStandbyComplete(t *testing.T) {
	r := newRig(t)
	s := &script{}
	s.run = s.untilComplete
	j := r.start(s, Options{})
	r.status(j, Ready)
	_ = r.try(j.UserPause)
	r.status(j, Standby)
	if err := r.try(j.Complete); err != nil {
		t.Errorf("complete of a job in standby: %v", err)
	}
	_ = r.try(j.UserResume)
	r.status(j, Null)
	r.want("j:created j:running j:ready j is READY j:standby complete() j:ready j:waiting j:pending" +
		" j.prepare() j.commit() j.clean() j is COMPLETED(<nil>) j:concluded j:null")
}

func TestSoftCancelOfAReadyJobIsAGoodEnd(t *testing.T) {
	r := newRig(t)
	s := &script{soft: true}
	s.run = s.untilComplete
	j := r.start(s, Options{})
	r.status(j, Ready)
	if err := r.try(func() error { return j.UserCancel(false) }); err != nil {
		t.Fatal(err)
	}
	r.status(j, Null)
	r.want("j:created j:running j:ready j is READY j:waiting j:pending j.prepare() j.commit() j.clean() j is COMPLETED(<nil>) j:concluded j:null")
}

func TestCancel(t *testing.T) {
	const end = "j:aborting j.abort() j.clean() j is CANCELLED j:concluded j:null"
	for _, tc := range []struct {
		name  string
		o     Options
		run   func(context.Context, *Job) error
		pause bool
		at    Status
		want  string
	}{
		{"running", Options{}, untilStopped, false, Running, "j:created j:running " + end},
		{"paused", Options{}, untilStopped, true, Paused, "j:created j:running j:paused j:running " + end},
		{"pending", Options{ManualFinalize: true}, nothing, false, Pending, "j:created j:running j:waiting j:pending j is PENDING " + end},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			j := r.start(&script{run: tc.run}, tc.o)
			if tc.pause {
				_ = r.try(j.UserPause)
			}
			r.status(j, tc.at)
			if err := r.try(func() error { return j.UserCancel(true) }); err != nil {
				t.Fatal(err)
			}
			r.status(j, Null)
			r.want(tc.want)
			if !errors.Is(j.Err(), ErrCancelled) {
				t.Errorf("the job ended with %v", j.Err())
			}
		})
	}
}

func TestCancelBeforeStart(t *testing.T) {
	r := newRig(t)
	j := r.create(&script{run: nothing}, Options{ManualDismiss: true})
	if err := r.try(func() error { return j.UserCancel(true) }); err != nil {
		t.Fatal(err)
	}
	r.status(j, Null)
	r.want("j:created j:aborting j.abort() j.clean() j:concluded j:null")

	j = r.create(&script{run: nothing}, Options{})
	r.on(j.Abandon)
	r.want("j:created j:null")
}

func TestAPauseBeforeStartHoldsTheJob(t *testing.T) {
	r := newRig(t)
	j := r.create(&script{run: nothing}, Options{})
	_ = r.try(j.UserPause)
	r.on(j.Start)
	r.status(j, Paused)
	_ = r.try(j.UserResume)
	r.status(j, Null)
	if h := r.history(); !strings.HasPrefix(h, "j:created j:running j:paused j:running j:waiting ") {
		t.Error(h)
	}
}

func TestUserPause(t *testing.T) {
	r := newRig(t)
	j := r.start(&script{run: untilStopped}, Options{})
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{j.UserResume, "Can't resume a job that was not paused"},
		{j.UserPause, ""},
		{j.UserPause, "Job is already paused"},
		{j.UserResume, ""},
		{j.UserResume, "Can't resume a job that was not paused"},
	} {
		got := ""
		if err := r.try(step.do); err != nil {
			got = err.Error()
		}
		if got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
}

func TestVerbs(t *testing.T) {
	r := newRig(t)
	all := []Verb{VerbCancel, VerbPause, VerbResume, VerbSetSpeed, VerbComplete, VerbFinalize, VerbDismiss}
	want := map[Status]string{
		Created: "cpr s", Running: "cpr s", Paused: "cpr s", Ready: "cpr s C", Standby: "cpr s C",
		Waiting: "c", Pending: "c F", Aborting: "", Concluded: "D", Null: "", Undefined: "",
	}
	letter := map[Verb]string{VerbCancel: "c", VerbPause: "p", VerbResume: "r", VerbSetSpeed: "s", VerbComplete: "C", VerbFinalize: "F", VerbDismiss: "D"}
	for s, takes := range want {
		j := &Job{manager: r.Manager, id: "x", status: s}
		for _, v := range all {
			err := j.Accept(v)
			if ok := strings.Contains(takes, letter[v]); ok != (err == nil) {
				t.Errorf("%s in %s: %v", v, s, err)
			}
		}
	}
}

func TestTransactionWaitsForAll(t *testing.T) {
	r := newRig(t)
	txn := NewTxn()
	hold := make(chan struct{})
	a := r.create(&script{run: nothing}, Options{ID: "a", Txn: txn})
	b := r.create(&script{run: func(context.Context, *Job) error { <-hold; return nil }}, Options{ID: "b", Txn: txn})
	r.on(a.Start)
	r.on(b.Start)
	r.status(a, Waiting)
	close(hold)
	r.status(b, Null)
	h := r.history()
	_, tail, _ := strings.Cut(h, "b:waiting ")
	if want := "a:pending b:pending a.prepare() b.prepare() a.commit() a.clean() a is COMPLETED(<nil>) a:concluded a:null" +
		" b.commit() b.clean() b is COMPLETED(<nil>) b:concluded b:null"; tail != want {
		t.Errorf("got %s", h)
	}
}

func TestTransactionFailsAsAWhole(t *testing.T) {
	r := newRig(t)
	txn := NewTxn()
	fail := make(chan struct{})
	a := r.create(&script{run: nothing}, Options{ID: "a", Txn: txn})
	b := r.create(&script{run: untilStopped}, Options{ID: "b", Txn: txn})
	c := r.create(&script{run: func(context.Context, *Job) error { <-fail; return errors.New("bad sector") }}, Options{ID: "c", Txn: txn})
	for _, j := range []*Job{a, b, c} {
		r.on(j.Start)
	}
	r.status(a, Waiting)
	r.history()
	close(fail)
	for _, j := range []*Job{a, b, c} {
		r.status(j, Null)
	}
	if want := "c:aborting b:aborting a:aborting a.abort() a.clean() a is CANCELLED a:concluded a:null" +
		" b.abort() b.clean() b is CANCELLED b:concluded b:null" +
		" c.abort() c.clean() c is COMPLETED(bad sector) c:concluded c:null"; r.history() != want {
		t.Errorf("want %s", want)
	}
}

func TestProgressNeverShrinksAndTotalIsNeverLess(t *testing.T) {
	r := newRig(t)
	j := r.create(&script{run: nothing}, Options{})
	j.SetRemaining(100)
	j.Advance(30)
	j.AddRemaining(5)
	if c, total := j.Progress(); c != 30 || total != 105 {
		t.Errorf("%d of %d", c, total)
	}
	j.Advance(200)
	if c, total := j.Progress(); c != 230 || total != 230 {
		t.Errorf("%d of %d", c, total)
	}
	r.on(j.Abandon)
}

func TestIDs(t *testing.T) {
	r := newRig(t)
	r.create(&script{run: nothing}, Options{ID: "a"})
	for _, tc := range []struct {
		o    Options
		want string
	}{
		{Options{}, "An explicit job ID is required"},
		{Options{ID: "1a"}, "Invalid job ID '1a'"},
		{Options{ID: "a"}, "Job ID 'a' already in use"},
		{Options{ID: "b", Internal: true}, "Cannot specify job ID for internal job"},
	} {
		err := r.try(func() error { _, err := r.New(&script{}, tc.o); return err })
		if err == nil || err.Error() != tc.want {
			t.Errorf("%+v: %v", tc.o, err)
		}
	}
}

func TestInternalJobsAreNotTold(t *testing.T) {
	r := newRig(t)
	var j *Job
	ran := make(chan struct{})
	s := &script{r: r, run: func(context.Context, *Job) error { close(ran); return nil }}
	if err := r.try(func() (err error) { j, err = r.New(s, Options{Internal: true}); return err }); err != nil {
		t.Fatal(err)
	}
	r.on(j.Start)
	<-ran
	r.status(j, Null)
	r.want(".prepare() .commit() .clean()")
}

func TestWaitIdle(t *testing.T) {
	r := newRig(t)
	working, hold := make(chan struct{}), make(chan struct{})
	j := r.start(&script{run: func(_ context.Context, j *Job) error {
		close(working)
		<-hold
		return j.PausePoint()
	}}, Options{})
	<-working
	j.Pause()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.WaitIdle(ctx); !errors.Is(err, context.Canceled) || !j.Busy() {
		t.Errorf("a worker at work is idle: %v", err)
	}
	close(hold)
	if err := j.WaitIdle(context.Background()); err != nil || j.Busy() {
		t.Errorf("WaitIdle: %v", err)
	}
	r.status(j, Paused)
	j.Resume()
	r.status(j, Null)
}

func TestWaitForAndWake(t *testing.T) {
	r := newRig(t)
	var mu sync.Mutex
	n := 0
	asleep := make(chan struct{}, 1)
	j := r.start(&script{run: func(_ context.Context, j *Job) error {
		return j.WaitFor(func() bool {
			mu.Lock()
			defer mu.Unlock()
			select {
			case asleep <- struct{}{}:
			default:
			}
			return n == 3
		})
	}}, Options{})
	<-asleep
	for range 3 {
		mu.Lock()
		n++
		mu.Unlock()
		j.Wake()
	}
	r.status(j, Null)
}

func TestCancelSyncWaitsForTheWorker(t *testing.T) {
	r := newRig(t)
	gone, working := false, make(chan struct{})
	j := r.start(&script{run: func(ctx context.Context, j *Job) error {
		close(working)
		<-ctx.Done()
		gone = true
		return nil
	}}, Options{})
	<-working
	r.on(func() {
		j.CancelSync()
		if !gone || j.Status() != Null {
			t.Errorf("the worker has ended: %v; the job is %s", gone, j.Status())
		}
	})
}

func TestCommands(t *testing.T) {
	r := newRig(t)
	reg := qmp.NewRegistry()
	reg.Add(r.Commands()...)
	call := func(name, args string) string {
		doc, err := qjson.Parse([]byte(args))
		if err != nil {
			t.Fatal(err)
		}
		var out []byte
		err = r.try(func() (err error) {
			out, err = reg.Lookup(name).Call(&qmp.Context{Context: context.Background()}, doc.Root(), qmp.JSON, nil)
			return err
		})
		if err != nil {
			return "! " + err.Error()
		}
		return string(out)
	}
	hold := make(chan struct{})
	j := r.start(&script{run: func(_ context.Context, j *Job) error {
		j.SetRemaining(10)
		j.Advance(4)
		<-hold
		return errors.New("lost")
	}}, Options{ID: "job0", ManualDismiss: true})
	r.until("progress", func() bool { c, _ := j.Progress(); return c == 4 })
	check := func(name, args, want string) {
		t.Helper()
		if got := call(name, args); got != want {
			t.Errorf("%s %s:\n got %s\nwant %s", name, args, got, want)
		}
	}
	check("query-jobs", `{}`, `[{"id": "job0", "type": "mirror", "status": "running", "current-progress": 4, "total-progress": 10}]`)
	check("job-pause", `{"id": "nope"}`, "! Job not found")
	check("job-dismiss", `{"id": "job0"}`, "! Job 'job0' in state 'running' cannot accept command verb 'dismiss'")
	check("job-finalize", `{"id": "job0"}`, "! Job 'job0' in state 'running' cannot accept command verb 'finalize'")
	close(hold)
	r.status(j, Concluded)
	check("query-jobs", `{}`, `[{"id": "job0", "type": "mirror", "status": "concluded", "current-progress": 4, "total-progress": 10, "error": "lost"}]`)
	check("job-cancel", `{"id": "job0"}`, "! Job 'job0' in state 'concluded' cannot accept command verb 'cancel'")
	check("job-dismiss", `{"id": "job0"}`, "{}")
	check("query-jobs", `{}`, "[]")
}

// TestRandom steers many jobs at random; setStatus panics when one takes a step
// that it must not take, and nothing may be left over.
func TestRandom(t *testing.T) {
	r := newRig(t)
	seed := uint32(1)
	random := func(n int) int {
		seed = seed*1664525 + 1013904223
		return int(seed>>8) % n
	}
	for round := range 60 {
		var jobs []*Job
		txn := NewTxn()
		for i := range 4 {
			s := &script{soft: random(2) == 0}
			switch random(4) {
			case 0:
				s.run = nothing
			case 1:
				s.run = untilStopped
			case 2:
				s.run = s.untilComplete
			case 3:
				s.run = func(context.Context, *Job) error { return errors.New("bad luck") }
			}
			if random(8) == 0 {
				s.prepare = errors.New("worse luck")
			}
			o := Options{ID: fmt.Sprintf("r%d.%d", round, i), ManualFinalize: random(3) == 0, ManualDismiss: random(3) == 0}
			if random(2) == 0 {
				o.Txn = txn
			}
			jobs = append(jobs, r.create(s, o))
		}
		for range 60 {
			j := jobs[random(len(jobs))]
			verb := random(9)
			r.on(func() {
				switch verb {
				case 0:
					if j.Status() == Created {
						j.Start()
					}
				case 1:
					_ = j.UserPause()
				case 2, 3:
					_ = j.UserResume()
				case 4:
					_ = j.Complete()
				case 5:
					_ = j.UserCancel(false)
				case 6:
					if random(4) == 0 {
						_ = j.UserCancel(true)
					}
				case 7:
					_ = j.Finalize()
				case 8:
					_ = j.Dismiss()
				}
			})
		}
		r.on(r.CancelAll)
		for _, j := range jobs {
			if j.Status() != Null {
				t.Fatalf("%s is left %s", j.ID(), j.Status())
			}
		}
	}
}

func TestLimiter(t *testing.T) {
	now := time.Unix(100, 0)
	l := Limiter{now: func() time.Time { return now }}
	if d := l.Delay(1 << 40); d != 0 {
		t.Errorf("without a limit: %v", d)
	}
	l.SetSpeed(1000)
	var got []time.Duration
	passed := uint64(0)
	start := now
	for passed < 10_000 {
		d := l.Delay(50)
		got = append(got, d)
		if d == 0 {
			passed += 50
		}
		now = now.Add(d)
	}
	if took := now.Sub(start); took < 9800*time.Millisecond || took > 10*time.Second {
		t.Errorf("10000 units at 1000 a second took %v", took)
	}
	if !slices.Contains(got, slice) {
		t.Errorf("delays: %v", got[:8])
	}
	l.SetSpeed(1000)
	if d := l.Delay(5000); d != 0 {
		t.Errorf("one large request waits %v", d)
	}
	if d := l.Delay(1); d != 5*time.Second {
		t.Errorf("what follows a large request waits %v", d)
	}
	l.SetSpeed(0)
	if d := l.Delay(1); d != 0 {
		t.Errorf("a limit that was lifted: %v", d)
	}
}
