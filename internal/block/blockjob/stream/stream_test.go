package stream

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"govmd/internal/block/blockjob/jobtest"
)

const size = 16 << 20

// chain makes base.raw, mid.qcow2 and top.qcow2, each with data of its own, and
// returns what top shows.
func chain(r *jobtest.Rig, rnd *rand.Rand) []byte {
	r.Helper()
	want := make([]byte, size)
	fill := func(p []byte) {
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
	}
	for off := 0; off < size; off += 1 << 20 {
		fill(want[off : off+300<<10])
	}
	if err := os.WriteFile("base.raw", want, 0o644); err != nil {
		r.Fatal(err)
	}
	below, format := "base.raw", "raw"
	for _, name := range []string{"mid.qcow2", "top.qcow2"} {
		r.Sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", format, name)
		below, format = name, "qcow2"
		args := []string{"qemu-io", "-f", "qcow2"}
		for range 12 {
			n := 512 * (1 + rnd.IntN(400))
			off := 512 * rnd.IntN((size-n)/512)
			b := 1 + byte(rnd.IntN(255))
			for i := range want[off : off+n] {
				want[off+i] = b
			}
			args = append(args, "-c", fmt.Sprintf("write -P %d %d %d", b, off, n))
		}
		r.Sh(append(args, name)...)
	}
	return want
}

// drive opens top.qcow2 as the drive d0.
func drive(r *jobtest.Rig) {
	r.Helper()
	r.On(func() {
		b, err := r.Graph.NewBackend("d0")
		if err != nil {
			r.Fatal(err)
		}
		n, err := r.Open("top.qcow2")
		if err != nil {
			r.Fatal(err)
		}
		defer n.Unref()
		if err := b.InsertMedium(n); err != nil {
			r.Fatal(err)
		}
	})
}

func TestStream(t *testing.T) {
	for seed, args := range []string{
		`{"device": "d0"}`, `{"device": "d0", "base": "base.raw"}`, `{"device": "d0", "base": "mid.qcow2", "speed": 20000000}`,
		`{"device": "d0", "filter-node-name": "f"}`,
	} {
		t.Run(args, func(t *testing.T) {
			r := jobtest.New(t, Commands)
			want := chain(r, rand.New(rand.NewPCG(uint64(seed), 1)))
			drive(r)
			g := r.NewGuest("d0", want, uint64(seed))
			g.Start()
			r.OK("block-stream", args)
			if seen := strings.Join(r.Ended("d0"), "\n"); !strings.Contains(seen, "BLOCK_JOB_COMPLETED") || strings.Contains(seen, "error") {
				t.Error(seen)
			}
			g.Stop()
			r.Close()
			if err := os.WriteFile("want", g.Want, 0o644); err != nil {
				t.Fatal(err)
			}
			r.Sh("qemu-img", "check", "-q", "top.qcow2")
			r.Sh("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "want", "top.qcow2")
			if out := r.Sh("qemu-img", "info", "top.qcow2"); strings.Contains(out, "backing") == !strings.Contains(args, "base") {
				t.Errorf("after %s: %s", args, out)
			}
		})
	}
}
