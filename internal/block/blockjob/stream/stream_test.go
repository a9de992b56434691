package stream

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"govmd/internal/block/blockjob/jobtest"
)

func TestStream(t *testing.T) {
	for seed, args := range []string{
		`{"device": "d0"}`, `{"device": "d0", "base": "base.raw"}`, `{"device": "d0", "base": "mid.qcow2", "speed": 20000000}`,
		`{"device": "d0", "filter-node-name": "f"}`,
	} {
		t.Run(args, func(t *testing.T) {
			r := jobtest.New(t, Commands)
			want := r.Chain(rand.New(rand.NewPCG(uint64(seed), 1)))
			r.Drive()
			g := r.NewGuest("d0", want, uint64(seed))
			g.Start()
			r.OK("block-stream", args)
			if seen := strings.Join(r.Ended("d0"), "\n"); !strings.Contains(seen, "BLOCK_JOB_COMPLETED") || strings.Contains(seen, "error") {
				t.Error(seen)
			}
			g.Stop()
			r.Same("top.qcow2", g.Want)
			if out := r.Sh("qemu-img", "info", "top.qcow2"); strings.Contains(out, "backing") == !strings.Contains(args, "base") {
				t.Errorf("after %s: %s", args, out)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	const once = `{"event": "read_aio", "errno": 5, "once": true}`
	const full = `{"event": "read_aio", "errno": 28, "once": true}`
	ignored := `"len": 16777216, "offset": 16777216, "speed": 0, "error": "Input/output error"`
	for _, c := range []struct{ policy, rule, action, end string }{
		{"report", once, "report", `"error": "Input/output error"`},
		{"ignore", once, "ignore", ignored},
		{"enospc", once, "report", `"error": "Input/output error"`},
		{"enospc", full, "stop", ""},
		{"auto", full, "stop", ""},
		{"stop", once, "stop", ""},
	} {
		t.Run(c.policy+" "+c.action, func(t *testing.T) {
			r := jobtest.New(t, Commands)
			want := r.Chain(rand.New(rand.NewPCG(7, 7)))
			r.Nodes(c.rule, "")
			r.OK("block-stream", `{"device": "top", "job-id": "j", "on-error": "`+c.policy+`"}`)
			r.Await(`BLOCK_JOB_ERROR {"device": "j", "operation": "read", "action": "` + c.action + `"}`)
			if c.action == "stop" {
				r.Await(`JOB_STATUS_CHANGE {"id": "j", "status": "paused"}`)
				status := "failed"
				if c.rule == full {
					status = "nospace"
				}
				if got := r.Call("query-block-jobs", "{}"); !strings.Contains(got, `"paused": true`) || !strings.Contains(got, `"io-status": "`+status+`"`) {
					t.Error(got)
				}
				r.Fails("block-job-cancel", `{"device": "j"}`, "The block job for device 'j' is currently paused")
				r.OK("block-job-resume", `{"device": "j"}`)
			}
			seen := strings.Join(r.Ended("j"), "\n")
			if !strings.Contains(seen, "BLOCK_JOB_COMPLETED") || !strings.Contains(seen, c.end) || strings.Contains(seen, `"error"`) != (c.end != "") {
				t.Error(seen)
			}
			r.Same("top.qcow2", want)
			backed := strings.Contains(r.Sh("qemu-img", "info", "top.qcow2"), "backing file")
			if backed != (c.end != "") {
				t.Errorf("a backing file: %v", backed)
			}
		})
	}
}

// A job that is paused, slowed down and cancelled leaves the disk as it is.
func TestSteered(t *testing.T) {
	r := jobtest.New(t, Commands)
	want := r.Chain(rand.New(rand.NewPCG(8, 8)))
	r.Drive()
	g := r.NewGuest("d0", want, 8)
	g.Start()
	r.OK("block-stream", `{"device": "d0", "speed": 1000000}`)
	r.OK("block-job-pause", `{"device": "d0"}`)
	r.Await(`JOB_STATUS_CHANGE {"id": "d0", "status": "paused"}`)
	r.Fails("block-job-pause", `{"device": "d0"}`, "Job is already paused")
	r.Fails("block-stream", `{"device": "d0"}`, "Node 'd0' is busy: block device is in use by block job: stream")
	r.OK("block-job-set-speed", `{"device": "d0", "speed": 500000}`)
	if got := r.Call("query-block-jobs", "{}"); !strings.Contains(got, `"speed": 500000`) {
		t.Error(got)
	}
	r.OK("block-job-resume", `{"device": "d0"}`)
	r.Await(`JOB_STATUS_CHANGE {"id": "d0", "status": "running"}`)
	r.OK("block-job-cancel", `{"device": "d0"}`)
	if seen := strings.Join(r.Ended("d0"), "\n"); !strings.Contains(seen, `BLOCK_JOB_CANCELLED {"type": "stream", "device": "d0"`) {
		t.Error(seen)
	}
	g.Stop()
	r.Same("top.qcow2", g.Want)
	if out := r.Sh("qemu-img", "info", "top.qcow2"); !strings.Contains(out, "backing file: mid.qcow2") {
		t.Error(out)
	}
}

// Drains, as of snapshots and reopening, find the job anywhere, and it goes on.
func TestDrained(t *testing.T) {
	r := jobtest.New(t, Commands)
	want := r.Chain(rand.New(rand.NewPCG(3, 3)))
	r.Drive()
	g := r.NewGuest("d0", want, 3)
	g.Start()
	r.OK("block-stream", `{"device": "d0", "speed": 6000000}`)
	for i := range 40 {
		r.On(func() {
			nodes := r.Graph.Nodes()
			n := nodes[i%len(nodes)]
			if err := n.Drain(context.Background()); err != nil {
				t.Error(err)
			}
			for _, b := range r.Jobs.Infos() {
				if b.Busy {
					t.Errorf("the job is at work although %s is drained", n.Name())
				}
			}
			n.Undrain()
		})
	}
	r.Call("block-job-set-speed", `{"device": "d0", "speed": 0}`) // if it is not over yet
	if seen := strings.Join(r.Ended("d0"), "\n"); !strings.Contains(seen, "BLOCK_JOB_COMPLETED") || strings.Contains(seen, "error") {
		t.Error(seen)
	}
	g.Stop()
	r.Same("top.qcow2", g.Want)
}
