package blockjob_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/block/blockjob/jobtest"
	"govmd/internal/block/control"
	"govmd/internal/job"
)

// waiter is a job that waits until it is told how to end.
type waiter struct {
	blockjob.Base
	end chan error
}

func (*waiter) Type() job.Type { return job.TypeBackup }

func (w *waiter) Run(ctx context.Context, _ *job.Job) error {
	select {
	case err := <-w.end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

var waiters = map[string]*waiter{}

type waitArgs struct {
	Node string `qmp:"node"`
	ID   string `qmp:"id"`
}

func init() {
	control.RegisterJobAction("test-wait", func(c *control.Control, t *job.Txn, a *waitArgs) control.Action {
		return control.JobAction(func(context.Context) (*job.Job, error) {
			n, err := c.Medium(a.Node)
			if err != nil {
				return nil, err
			}
			w := &waiter{end: make(chan error, 1)}
			waiters[a.ID] = w
			if err := c.Jobs().New(w, n, blockjob.Options{ID: &a.ID, Txn: t, Shared: block.PermAll}); err != nil {
				return nil, err
			}
			return w.Job(), nil
		})
	})
}

// pair begins two jobs, on nodes n1 and n2, in one transaction.
func pair(t *testing.T, mode string) *jobtest.Rig {
	r := jobtest.New(t)
	for _, name := range []string{"n1", "n2"} {
		r.OK("blockdev-add", `{"driver": "null-co", "node-name": "`+name+`"}`)
	}
	r.OK("transaction", `{"actions": [{"type": "test-wait", "data": {"node": "n1", "id": "a"}},
		{"type": "test-wait", "data": {"node": "n2", "id": "b"}}], "properties": {"completion-mode": "`+mode+`"}}`)
	return r
}

// outcomes are the events of how jobs ended.
func outcomes(seen []string) (list []string) {
	for _, e := range seen {
		if !strings.HasPrefix(e, "JOB_STATUS_CHANGE") {
			list = append(list, e)
		}
	}
	slices.Sort(list)
	return list
}

// Jobs of a transaction that is grouped all end well, or none does.
func TestGrouped(t *testing.T) {
	const cancelled = `BLOCK_JOB_CANCELLED {"type": "backup", "device": "a", "len": 0, "offset": 0, "speed": 0}`
	const completed = `BLOCK_JOB_COMPLETED {"type": "backup", "device": "b", "len": 0, "offset": 0, "speed": 0`
	for mode, want := range map[string][]string{
		"grouped":    {cancelled, completed + `, "error": "Input/output error"}`},
		"individual": {strings.ReplaceAll(completed, `"b"`, `"a"`) + "}", completed + `, "error": "Input/output error"}`},
	} {
		t.Run(mode, func(t *testing.T) {
			r := pair(t, mode)
			waiters["a"].end <- nil
			var seen []string
			if mode == "individual" {
				seen = r.Ended("a") // whatever becomes of the other
			} else {
				seen = r.Await(`JOB_STATUS_CHANGE {"id": "a", "status": "waiting"}`)
			}
			waiters["b"].end <- block.ErrIO
			seen = append(seen, r.Ended("b")...)
			if mode == "grouped" && !slices.Contains(seen, `JOB_STATUS_CHANGE {"id": "a", "status": "null"}`) {
				seen = append(seen, r.Ended("a")...)
			}
			if got := outcomes(seen); !slices.Equal(got, want) {
				t.Errorf("it ends with\n%s, not with\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// Who waits for the others is finalized with them.
func TestGroupedTogether(t *testing.T) {
	r := pair(t, "grouped")
	waiters["a"].end <- nil
	r.Await(`JOB_STATUS_CHANGE {"id": "a", "status": "waiting"}`)
	r.Fails("block_resize", `{"node-name": "n1", "size": 1048576}`, "Device 'n1' is in use")
	waiters["b"].end <- nil
	seen := r.Ended("b")
	for _, e := range outcomes(seen) {
		if !strings.HasPrefix(e, "BLOCK_JOB_COMPLETED") || strings.Contains(e, "error") {
			t.Error(e)
		}
	}
}

// A transaction that fails leaves no job behind, and has begun none.
func TestTransactionFails(t *testing.T) {
	r := jobtest.New(t)
	r.OK("blockdev-add", `{"driver": "null-co", "node-name": "n1"}`)
	r.Fails("transaction", `{"actions": [{"type": "test-wait", "data": {"node": "n1", "id": "a"}},
		{"type": "test-wait", "data": {"node": "n2", "id": "b"}}], "properties": {"completion-mode": "grouped"}}`,
		"Cannot find device='n2' nor node-name='n2'")
	if got := r.Call("query-jobs", "{}"); got != "[]" {
		t.Error(got)
	}
	if got := outcomes(r.Ended("a")); len(got) > 0 {
		t.Errorf("there was %v", got)
	}
	if err := r.Graph.Node("n1").Blocked(block.OperationResize); err != nil {
		t.Error(err)
	}
	if !errors.Is(waiters["a"].Job().Err(), job.ErrCancelled) {
		t.Error("the job is not cancelled")
	}
}
