package backup

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

const size = 24<<20 + 512 // not whole units

// disk makes base.raw and disk.qcow2 over it and opens that as drive d0. It returns
// what it shows.
func disk(r *jobtest.Rig) []byte {
	r.Helper()
	rnd := rand.New(rand.NewPCG(7, 7))
	want := make([]byte, size)
	for off := 0; off+300<<10 < size; off += 2 << 20 {
		for i := range want[off : off+300<<10] {
			want[off+i] = byte(rnd.Uint32())
		}
	}
	if err := os.WriteFile("base.raw", want, 0o644); err != nil {
		r.Fatal(err)
	}
	r.Sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "disk.qcow2")
	args := []string{"qemu-io", "-f", "qcow2"}
	for range 20 {
		n := 512 * (1 + rnd.IntN(400))
		off := 512 * rnd.IntN((size-n)/512)
		v := byte(1 + rnd.IntN(255))
		for i := range want[off : off+n] {
			want[off+i] = v
		}
		args = append(args, "-c", fmt.Sprintf("write -P %d %d %d", v, off, n))
	}
	r.Sh(append(args, "disk.qcow2")...)
	r.On(func() {
		b, err := r.Graph.NewBackend("d0")
		if err != nil {
			r.Fatal(err)
		}
		n, err := r.Open("disk.qcow2")
		if err != nil {
			r.Fatal(err)
		}
		defer n.Unref()
		if err := b.InsertMedium(n); err != nil {
			r.Fatal(err)
		}
	})
	return want
}

// holds checks that an image is sound and shows want.
func holds(r *jobtest.Rig, image, format string, want []byte) {
	r.Helper()
	if format != "raw" {
		r.Sh("qemu-img", "check", "-q", "-f", format, image)
	}
	r.Sh("qemu-img", "convert", "-f", format, "-O", "raw", image, "shown")
	got, err := os.ReadFile("shown")
	if err != nil {
		r.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				r.Fatalf("%s is not as the disk was, from %d on (of %d bytes)", image, i, len(got))
			}
		}
	}
}

// completed checks how a job has ended, by its events.
func completed(r *jobtest.Rig, id string) {
	r.Helper()
	seen := strings.Join(r.Ended(id), "\n")
	if !strings.Contains(seen, "BLOCK_JOB_COMPLETED") || strings.Contains(seen, `"error"`) {
		r.Errorf("the job has not succeeded:\n%s", seen)
	}
}

// A backup is exact as of its start, whatever the guest does meanwhile.
func TestBackupIsOfItsStart(t *testing.T) {
	for seed, c := range []struct{ args, format string }{
		{`"sync": "full"`, "qcow2"},
		{`"sync": "full", "format": "raw"`, "raw"},
		{`"sync": "full", "compress": true`, "qcow2"},
		{`"sync": "top", "x-perf": {"use-copy-range": false, "max-workers": 3, "max-chunk": 200000}`, "qcow2"},
		{`"sync": "none"`, "qcow2"},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := jobtest.New(t, Commands)
			want := disk(r)
			then := bytes.Clone(want)
			g := r.NewGuest("d0", want, uint64(seed))
			r.OK("drive-backup", `{"device": "d0", "target": "target", "speed": 8000000, `+c.args+`}`)
			g.Start()
			if strings.Contains(c.args, "none") {
				r.Await(`JOB_STATUS_CHANGE {"id": "d0", "status": "running"}`)
				g.Stop()
				// What has not changed is still read from the disk: as of now the two are one.
				r.On(func() {
					n := r.Graph.Nodes()[len(r.Graph.Nodes())-1]
					for _, x := range r.Graph.Nodes() {
						if x.FileName() == "target" && x.DriverName() == "qcow2" {
							n = x
						}
					}
					b, err := r.Graph.NewBackend("")
					if err == nil {
						err = b.SetPerms(block.PermRead, block.PermAll)
					}
					if err == nil {
						err = b.InsertMedium(n)
					}
					if err != nil {
						t.Fatal(err)
					}
					defer b.Close()
					got := make([]byte, size)
					if err := b.Root().Pread(0, got); err != nil || !bytes.Equal(got, then) {
						t.Errorf("the target does not show what the disk held: %v", err)
					}
				})
				r.OK("block-job-cancel", `{"device": "d0"}`)
				r.Ended("d0")
				return
			}
			r.Await(`JOB_STATUS_CHANGE {"id": "d0", "status": "running"}`)
			r.OK("block-job-set-speed", `{"device": "d0", "speed": 0}`)
			completed(r, "d0")
			g.Stop()
			r.Close()
			holds(r, "target", c.format, then)
			holds(r, "disk.qcow2", "qcow2", g.Want)
		})
	}
}

// What is marked is copied, and the bitmap is as its mode has it afterwards: of a
// backup that succeeds, and of one that is cancelled.
func TestBitmapModes(t *testing.T) {
	const mib = 1 << 20
	for _, mode := range []string{"on-success", "never", "always"} {
		for _, cancel := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cancelled %v", mode, cancel), func(t *testing.T) {
				r := jobtest.New(t, Commands)
				then := bytes.Clone(disk(r))
				r.OK("block-dirty-bitmap-add", `{"node": "d0", "name": "b", "granularity": 65536}`)
				var m *block.Bitmap
				var c *block.Child
				r.On(func() {
					b := r.Graph.Backend("d0")
					if err := b.SetPerms(block.PermRead|block.PermWrite, block.PermAll&^block.PermWrite); err != nil {
						t.Fatal(err)
					}
					c, m = b.Root(), b.Node().Bitmap("b")
				})
				write := func(off int64, v byte) {
					if err := c.Pwrite(off, bytes.Repeat([]byte{v}, mib)); err != nil {
						t.Fatal(err)
					}
				}
				write(2*mib, 0x11)
				copy(then[2*mib:], bytes.Repeat([]byte{0x11}, mib))
				write(8*mib, 0x22)
				r.Sh("qemu-img", "create", "-q", "-f", "raw", "target", fmt.Sprint(size))
				r.OK("drive-backup", `{"device": "d0", "target": "target", "mode": "existing", "format": "raw", "speed": 65536,
					"sync": "bitmap", "bitmap": "b", "bitmap-mode": "`+mode+`", "x-perf": {"max-workers": 1, "max-chunk": 65536}}`)
				r.Await(`JOB_STATUS_CHANGE {"id": "d0", "status": "running"}`)
				r.Fails("block-dirty-bitmap-clear", `{"node": "`+m.Node().Name()+`", "name": "b"}`, "Bitmap 'b' is currently in use by another operation and cannot be used")
				write(8*mib, 0x33)  // what was marked is copied before
				write(20*mib, 0x44) // what was not is not
				want := int64(mib)
				if cancel {
					r.OK("block-job-cancel", `{"device": "d0"}`)
					r.Ended("d0")
					want = 3 * mib
					if mode == "always" {
						// What the guest's write had copied counts as copied, but is marked by that write;
						// of the rest one piece may be done.
						if got := m.Count(); got > 3*mib || got < 3*mib-1<<17 {
							t.Errorf("%d bytes are marked", got)
						}
						return
					}
				} else {
					r.OK("block-job-set-speed", `{"device": "d0", "speed": 0}`)
					completed(r, "d0")
					want = 2 * mib
					if mode == "never" {
						want = 3 * mib
					}
					got, err := os.ReadFile("target")
					if err != nil {
						t.Fatal(err)
					}
					for off := int64(0); off < size; off += mib {
						part := got[off:min(off+mib, size)]
						switch off {
						case 2 * mib:
							if !bytes.Equal(part, then[off:off+mib]) {
								t.Error("what was marked is not there")
							}
						case 8 * mib:
							if !bytes.Equal(part, bytes.Repeat([]byte{0x22}, mib)) {
								t.Error("what was marked is not as it was")
							}
						default:
							if !block.IsZeroBytes(part) {
								t.Errorf("what was not marked is there, at %d", off)
							}
						}
					}
				}
				if got := m.Count(); got != want {
					t.Errorf("%d bytes are marked, not %d", got, want)
				}
				if m.Busy() || !m.Enabled() {
					t.Error("the bitmap is still in use, or does not mark")
				}
			})
		}
	}
}

// Errors on either side are dealt with as asked for.
func TestErrors(t *testing.T) {
	for _, side := range []string{"read", "write"} {
		for _, policy := range []string{"report", "ignore", "stop", "enospc", "enospc full"} {
			t.Run(side+" "+policy, func(t *testing.T) { onError(t, side, policy) })
		}
	}
}

func onError(t *testing.T, side, policy string) {
	r := jobtest.New(t, Commands)
	want := make([]byte, 4<<20)
	for i := range want {
		want[i] = byte(i >> 16)
	}
	if err := os.WriteFile("source", want, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("target", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.Sh("truncate", "-s", "4M", "target")
	policy, full := strings.CutSuffix(policy, " full")
	no := 5
	if full {
		no = 28
	}
	inject := fmt.Sprintf(`, "inject-error": [{"event": "none", "iotype": "%s", "once": true, "sector": 4096, "errno": %d}]`, side, no)
	rules := map[string]string{"read": "", "write": ""}
	rules[side] = inject
	r.OK("blockdev-add", `{"driver": "blkdebug", "node-name": "source", "image": {"driver": "file", "filename": "source"}`+rules["read"]+`}`)
	r.OK("blockdev-add", `{"driver": "blkdebug", "node-name": "target", "image": {"driver": "file", "filename": "target"}`+rules["write"]+`}`)
	operation, option := side, "on-source-error"
	if side == "write" {
		option = "on-target-error"
	}
	r.OK("blockdev-backup", `{"job-id": "j", "device": "source", "target": "target", "sync": "full", "`+option+`": "`+policy+`"}`)
	stops, fails := policy == "stop" || full, policy == "report" || policy == "enospc" && !full
	action := map[bool]string{true: "stop", false: "ignore"}[stops]
	if fails {
		action = "report"
	}
	r.Await(`BLOCK_JOB_ERROR {"device": "j", "operation": "` + operation + `", "action": "` + action + `"}`)
	if stops {
		r.Await(`JOB_STATUS_CHANGE {"id": "j", "status": "paused"}`)
		status := map[bool]string{true: "nospace", false: "failed"}[full]
		if got := r.Call("query-block-jobs", "{}"); !strings.Contains(got, `"io-status": "`+status+`"`) || !strings.Contains(got, `"paused": true`) {
			t.Errorf("while it waits: %s", got)
		}
		r.OK("block-job-resume", `{"device": "j"}`)
	}
	seen := strings.Join(r.Ended("j"), "\n")
	got, err := os.ReadFile("target")
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case fails:
		if text := map[bool]string{true: "No space left on device", false: "Input/output error"}[full]; !strings.Contains(seen, `"error": "`+text+`"`) {
			t.Errorf("it did not fail:\n%s", seen)
		}
	case strings.Contains(seen, `"error"`):
		t.Errorf("it failed:\n%s", seen)
	case !bytes.Equal(got, want):
		t.Error("the target is not as the source was")
	}
}

// Backups of a transaction are of one moment; in a group they succeed or fail as one.
func TestTransaction(t *testing.T) {
	for _, grouped := range []bool{false, true} {
		t.Run(fmt.Sprint(grouped), func(t *testing.T) {
			r := jobtest.New(t, Commands)
			for _, n := range []string{"a", "b"} {
				r.Sh("truncate", "-s", "4M", n, n+".copy")
				r.OK("blockdev-add", `{"driver": "file", "node-name": "`+n+`", "filename": "`+n+`"}`)
			}
			bad := `, "inject-error": [{"event": "none", "iotype": "write-zeroes"}]`
			r.OK("blockdev-add", `{"driver": "file", "node-name": "a.copy", "filename": "a.copy"}`)
			r.OK("blockdev-add", `{"driver": "blkdebug", "node-name": "b.copy", "image": {"driver": "file", "filename": "b.copy"}`+bad+`}`)
			r.OK("block-dirty-bitmap-add", `{"node": "a", "name": "m"}`)
			properties := ""
			if grouped {
				properties = `, "properties": {"completion-mode": "grouped"}`
			}
			action := func(n, more string) string {
				return `{"type": "blockdev-backup", "data": {"job-id": "` + n + `", "device": "` + n + `", "target": "` + n + `.copy", "sync": "full"` + more + `}}`
			}
			// One that cannot begin keeps all from beginning.
			r.Fails("transaction", `{"actions": [`+action("a", "")+`, `+action("b", `, "speed": -1`)+`]`+properties+`}`,
				"Parameter 'speed' expects a non-negative value")
			r.Ended("a")
			r.OK("transaction", `{"actions": [`+action("a", `, "bitmap": "m", "bitmap-mode": "on-success"`)+`, `+action("b", "")+`]`+properties+`}`)
			seen := ""
			for _, n := range []string{"b", "a"} {
				if !strings.Contains(seen, `"id": "`+n+`", "status": "null"`) {
					seen += strings.Join(r.Ended(n), "\n")
				}
			}
			if !strings.Contains(seen, `"error": "Input/output error"`) {
				t.Errorf("b has not failed:\n%s", seen)
			}
			if got := strings.Contains(seen, "BLOCK_JOB_CANCELLED"); got != grouped {
				t.Errorf("a was cancelled: %v\n%s", got, seen)
			}
			if got := r.Call("query-block-jobs", "{}"); got != "[]" {
				t.Errorf("left: %s", got)
			}
		})
	}
}
