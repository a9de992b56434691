package mirror

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blockjob/jobtest"
)

// ended waits for a job to be gone and checks how it has ended.
func ended(r *jobtest.Rig, id, want string) {
	r.Helper()
	seen := strings.Join(r.Ended(id), "\n")
	if !strings.Contains(seen, want) || strings.Contains(seen, `"error"`) {
		r.Errorf("the job has not ended by %s:\n%s", want, seen)
	}
}

// A target that takes over holds what the guest has written, which never sees a byte
// of another's.
func TestPivot(t *testing.T) {
	for seed, c := range []struct{ command, args, image string }{
		{"drive-mirror", `"sync": "full", "target": "t.qcow2"`, "t.qcow2"},
		{"drive-mirror", `"sync": "full", "target": "t.qcow2", "copy-mode": "write-blocking", "granularity": 4096, "buf-size": 300000`, "t.qcow2"},
		{"drive-mirror", `"sync": "full", "target": "t.raw", "format": "raw", "speed": 30000000, "unmap": false`, "t.raw"},
		{"drive-mirror", `"sync": "full", "target": "old.raw", "format": "raw", "mode": "existing"`, "old.raw"},
		{"drive-mirror", `"sync": "top", "target": "t.qcow2", "node-name": "new"`, "t.qcow2"},
		{"drive-mirror", `"sync": "top", "target": "over.qcow2", "mode": "existing", "copy-mode": "write-blocking"`, "over.qcow2"},
		{"blockdev-mirror", `"sync": "full", "target": "old", "filter-node-name": "f"`, "old.raw"},
		{"blockdev-mirror", `"sync": "full", "target": "old", "copy-mode": "write-blocking"`, "old.raw"},
	} {
		t.Run(c.command+" "+c.args, func(t *testing.T) {
			r := jobtest.New(t, Commands)
			want := r.Chain(rand.New(rand.NewPCG(uint64(seed), 1)))
			r.WriteFile("old.raw", bytes.Repeat([]byte{0xaa}, jobtest.Size))
			r.Sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "over.qcow2")
			r.Drive()
			if c.command == "blockdev-mirror" {
				r.OK("blockdev-add", `{"driver": "file", "node-name": "old", "filename": "old.raw"}`)
			}
			g := r.NewGuest("d0", want, uint64(seed))
			g.Start()
			r.OK(c.command, `{"device": "d0", `+c.args+`}`)
			r.Await(`BLOCK_JOB_READY {"type": "mirror", "device": "d0"`)
			r.OK("block-job-complete", `{"device": "d0"}`)
			ended(r, "d0", "BLOCK_JOB_COMPLETED")
			r.On(func() {
				if got := r.Graph.Backend("d0").Node().FileName(); got != c.image {
					t.Errorf("the drive is on %s", got)
				}
			})
			g.Stop()
			same(r, c.image, g.Want)
		})
	}
}

// What the guest has made zero does not come back from a backing file that the target
// is given in the end.
func TestZeroesOverABackingFile(t *testing.T) {
	for _, c := range []struct{ sync, more string }{{"top", ""}, {"none", ""}, {"top", `, "mode": "existing"`}} {
		t.Run(c.sync+c.more, func(t *testing.T) {
			r := jobtest.New(t, Commands)
			want := r.Chain(rand.New(rand.NewPCG(5, 5)))
			r.Sh("qemu-io", "-f", "qcow2", "-c", "write -z 0 2M", "top.qcow2")
			clear(want[:2<<20])
			r.Sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "t.qcow2")
			r.Drive()
			r.OK("drive-mirror", `{"device": "d0", "sync": "`+c.sync+`", "target": "t.qcow2"`+c.more+`}`)
			r.Await("BLOCK_JOB_READY")
			r.On(func() {
				if err := r.Graph.Backend("d0").Root().PwriteZeroes(4<<20, 2<<20, block.MayUnmap); err != nil {
					t.Error(err)
				}
			})
			clear(want[4<<20 : 6<<20])
			r.OK("block-job-complete", `{"device": "d0"}`)
			ended(r, "d0", "BLOCK_JOB_COMPLETED")
			same(r, "t.qcow2", want)
		})
	}
}

// same closes everything and compares an image with what it should show.
func same(r *jobtest.Rig, image string, want []byte) {
	r.Helper()
	r.Close()
	r.WriteFile("want", want)
	format := "raw"
	if strings.HasSuffix(image, ".qcow2") {
		format = "qcow2"
		r.Sh("qemu-img", "check", "-q", image)
	}
	r.Sh("qemu-img", "compare", "-f", "raw", "-F", format, "want", image)
}

// A job that is ready and cancelled leaves a copy as of then; with force, or before
// it is ready, it has failed.
func TestCancel(t *testing.T) {
	r := jobtest.New(t, Commands)
	want := r.Chain(rand.New(rand.NewPCG(3, 3)))
	r.Drive()
	g := r.NewGuest("d0", want, 3)
	g.Start()
	r.OK("drive-mirror", `{"device": "d0", "sync": "full", "target": "slow.qcow2", "speed": 65536}`)
	r.OK("block-job-cancel", `{"device": "d0"}`)
	ended(r, "d0", "BLOCK_JOB_CANCELLED")
	r.OK("drive-mirror", `{"device": "d0", "sync": "full", "target": "t.qcow2"}`)
	r.Await("BLOCK_JOB_READY")
	r.OK("block-job-cancel", `{"device": "d0", "force": true}`)
	ended(r, "d0", "BLOCK_JOB_CANCELLED")
	r.OK("drive-mirror", `{"device": "d0", "sync": "full", "target": "t.qcow2"}`)
	r.Await("BLOCK_JOB_READY")
	g.Stop()
	r.OK("block-job-cancel", `{"device": "d0"}`)
	ended(r, "d0", "BLOCK_JOB_COMPLETED")
	same(r, "t.qcow2", g.Want)
}

// Errors on either side are dealt with as asked for.
func TestErrors(t *testing.T) {
	for _, side := range []string{"read", "write"} {
		for _, policy := range []string{"report", "ignore", "stop", "enospc"} {
			for _, no := range []int{5, 28} {
				t.Run(fmt.Sprint(side, policy, no), func(t *testing.T) { onError(t, side, policy, no) })
			}
		}
	}
}

func onError(t *testing.T, side, policy string, no int) {
	r := jobtest.New(t, Commands)
	want := make([]byte, 4<<20)
	for i := range want {
		want[i] = byte(1 + i>>16)
	}
	r.WriteFile("source", want)
	r.WriteFile("target", make([]byte, len(want)))
	rules := map[string]string{side: fmt.Sprintf(`, "inject-error": [{"event": "none", "iotype": "%s", "once": true, "sector": 4096, "errno": %d}]`, side, no)}
	r.OK("blockdev-add", `{"driver": "blkdebug", "node-name": "source", "image": {"driver": "file", "filename": "source"}`+rules["read"]+`}`)
	r.OK("blockdev-add", `{"driver": "blkdebug", "node-name": "target", "image": {"driver": "file", "filename": "target"}`+rules["write"]+`}`)
	option := map[string]string{"read": "on-source-error", "write": "on-target-error"}[side]
	r.OK("blockdev-mirror", `{"job-id": "j", "device": "source", "target": "target", "sync": "full", "`+option+`": "`+policy+`"}`)
	action := policy
	if policy == "enospc" {
		action = map[int]string{5: "report", 28: "stop"}[no]
	}
	r.Await(`BLOCK_JOB_ERROR {"device": "j", "operation": "` + side + `", "action": "` + action + `"}`)
	if action == "report" {
		text := map[int]string{5: "Input/output error", 28: "No space left on device"}[no]
		if seen := strings.Join(r.Ended("j"), "\n"); !strings.Contains(seen, `"error": "`+text+`"`) {
			t.Errorf("it has not failed:\n%s", seen)
		}
		return
	}
	if action == "stop" {
		r.Await(`JOB_STATUS_CHANGE {"id": "j", "status": "paused"}`)
		r.OK("block-job-resume", `{"device": "j"}`)
	}
	r.Await("BLOCK_JOB_READY")
	r.OK("block-job-cancel", `{"device": "j"}`)
	ended(r, "j", "BLOCK_JOB_COMPLETED")
	r.Close()
	if got, err := os.ReadFile("target"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the target is not like the source: %v", err)
	}
}
