package commit

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"govmd/internal/block/blockjob/jobtest"
)

// well is how the events of a job end that has succeeded.
func well(seen []string) bool {
	text := strings.Join(seen, "\n")
	return strings.Contains(text, "BLOCK_JOB_COMPLETED") && !strings.Contains(text, `"error"`)
}

func TestIntermediate(t *testing.T) {
	for seed, args := range []string{
		`{"device": "d0", "top": "mid.qcow2"}`,
		`{"device": "d0", "top": "mid.qcow2", "base": "base.raw", "backing-file": "base.raw", "speed": 100000000}`,
		`{"device": "d0", "top": "mid.qcow2", "filter-node-name": "f", "job-id": "d0"}`,
	} {
		t.Run(args, func(t *testing.T) {
			r := jobtest.New(t, Commands)
			want := r.Chain(rand.New(rand.NewPCG(uint64(seed), 1)))
			r.Drive()
			g := r.NewGuest("d0", want, uint64(seed))
			g.Start()
			r.OK("block-commit", args)
			if seen := r.Ended("d0"); !well(seen) {
				t.Error(seen)
			}
			g.Stop()
			r.Same("top.qcow2", g.Want)
			out := r.Sh("qemu-img", "info", "top.qcow2")
			if !strings.Contains(out, "backing file: base.raw") || !strings.Contains(out, "backing file format: raw") {
				t.Errorf("after %s: %s", args, out)
			}
			// What the images have is now all in the base: nobody needs the middle.
			r.Sh("rm", "mid.qcow2")
			r.Sh("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "want", "top.qcow2")
		})
	}
}

// The active layer is committed while the guest writes, before the job is ready and
// after; then the base is what the guest has, or not.
func TestActive(t *testing.T) {
	for seed, c := range []struct{ args, end string }{
		{`{"device": "d0"}`, "block-job-complete"},
		{`{"device": "d0", "base": "mid.qcow2", "speed": 100000000}`, "block-job-complete"},
		{`{"device": "d0", "top": "top.qcow2", "filter-node-name": "f"}`, "block-job-cancel"},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := jobtest.New(t, Commands)
			want := r.Chain(rand.New(rand.NewPCG(uint64(seed), 2)))
			r.Drive()
			g := r.NewGuest("d0", want, uint64(seed))
			g.Start()
			r.OK("block-commit", c.args)
			r.Await(`BLOCK_JOB_READY {"type": "commit", "device": "d0"`)
			if c.end == "block-job-cancel" {
				g.Stop()
			}
			r.OK(c.end, `{"device": "d0"}`)
			if seen := r.Ended("d0"); !well(seen) {
				t.Error(seen)
			}
			if c.end == "block-job-complete" {
				g.Stop()
			}
			base := "base.raw"
			if strings.Contains(c.args, "mid") {
				base = "mid.qcow2"
			}
			name := r.Graph.Backend("d0").Node().FileName()
			if taken := name == base; taken != (c.end == "block-job-complete") {
				t.Errorf("after %s the disk is %s", c.end, name)
			}
			r.Same(base, g.Want)
		})
	}
}

func TestErrors(t *testing.T) {
	const read = `{"event": "read_aio", "errno": 5, "once": true}`
	const full = `{"event": "write_aio", "errno": 28, "once": true}`
	const failed = `"error": "Input/output error"`
	for _, c := range []struct{ top, policy, base, mid, operation, action, end string }{
		{"mid", "report", "", read, "read", "report", failed},
		{"mid", "ignore", "", read, "read", "ignore", ""}, // means to try again
		{"mid", "enospc", full, "", "write", "stop", ""},
		{"mid", "enospc", "", read, "read", "report", failed},
		{"mid", "stop", full, "", "write", "stop", ""},
		{"mid", "stop", "", read, "read", "stop", ""},
		{"top", "report", "", read, "read", "report", failed},
		{"top", "ignore", full, "", "write", "ignore", ""},
		{"top", "auto", full, "", "write", "stop", ""},
		{"top", "stop", "", read, "read", "stop", ""},
	} {
		t.Run(c.top+" "+c.policy+" "+c.operation, func(t *testing.T) {
			r := jobtest.New(t, Commands)
			want := r.Chain(rand.New(rand.NewPCG(7, 7)))
			r.Nodes(c.base, c.mid)
			r.OK("block-commit", `{"device": "top", "top-node": "`+c.top+`", "job-id": "j", "on-error": "`+c.policy+`"}`)
			r.Await(`BLOCK_JOB_ERROR {"device": "j", "operation": "` + c.operation + `", "action": "` + c.action + `"}`)
			if c.action == "stop" {
				r.Await(`JOB_STATUS_CHANGE {"id": "j", "status": "paused"}`)
				r.OK("block-job-resume", `{"device": "j"}`)
			}
			if c.top == "top" && c.end == "" {
				r.Await("BLOCK_JOB_READY")
				r.OK("block-job-complete", `{"device": "j"}`)
			}
			seen := r.Ended("j")
			if well(seen) != (c.end == "") || !strings.Contains(strings.Join(seen, "\n"), c.end) {
				t.Error(seen)
			}
			if c.top == "top" && c.end == "" {
				r.Same("base.raw", want)
				return
			}
			r.Same("top.qcow2", want)
			if mid := strings.Contains(r.Sh("qemu-img", "info", "top.qcow2"), "mid.qcow2"); mid != (c.end != "") {
				t.Errorf("mid.qcow2 is still there: %v", mid)
			}
		})
	}
}

// A job that is cancelled leaves the disk as it is.
func TestCancelled(t *testing.T) {
	r := jobtest.New(t, Commands)
	want := r.Chain(rand.New(rand.NewPCG(8, 8)))
	r.Drive()
	g := r.NewGuest("d0", want, 8)
	g.Start()
	r.OK("block-commit", `{"device": "d0", "top": "mid.qcow2", "speed": 1000000}`)
	r.Fails("block-commit", `{"device": "d0"}`, "Need a root block node")
	r.OK("block-job-cancel", `{"device": "d0"}`)
	if seen := strings.Join(r.Ended("d0"), "\n"); !strings.Contains(seen, "BLOCK_JOB_CANCELLED") {
		t.Error(seen)
	}
	g.Stop()
	r.Same("top.qcow2", g.Want)
}

// The human monitor's commit is done when it returns, and the image is empty then.
func TestAtOnce(t *testing.T) {
	r := jobtest.New(t, Commands)
	want := r.Chain(rand.New(rand.NewPCG(9, 9)))
	r.Drive()
	g := r.NewGuest("d0", want, 9)
	g.Start()
	var err error
	r.On(func() { err = commitDrives(context.Background(), r.Graph, "d0") })
	if err != nil {
		t.Error(err)
	}
	g.Stop()
	r.On(func() { err = commitDrives(context.Background(), r.Graph, "all") })
	if err != nil {
		t.Error(err)
	}
	r.Same("mid.qcow2", g.Want)
	r.Sh("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "want", "top.qcow2")
	if out := r.Sh("qemu-img", "map", "--output=json", "top.qcow2"); strings.Contains(out, `"depth": 0`) {
		t.Errorf("something is left in the image: %s", out)
	}
}
