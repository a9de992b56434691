package machine

import (
	"strings"
	"testing"
)

func TestSMP(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	for _, c := range []struct {
		name string
		in   SMPOptions
		want SMP
		err  string
	}{
		{"nothing", SMPOptions{}, SMP{1, 1, 1, 1, 1, 1}, ""},
		{"cpus", SMPOptions{CPUs: n(4)}, SMP{4, 4, 1, 1, 4, 1}, ""},
		{"cores", SMPOptions{CPUs: n(8), Cores: n(2), Threads: n(2)}, SMP{8, 8, 2, 1, 2, 2}, ""},
		{"sockets", SMPOptions{CPUs: n(4), Sockets: n(2)}, SMP{4, 4, 2, 1, 2, 1}, ""},
		{"maxcpus", SMPOptions{CPUs: n(1), MaxCPUs: n(4)}, SMP{1, 4, 1, 1, 4, 1}, ""},
		{"only a tree", SMPOptions{Sockets: n(2), Cores: n(3)}, SMP{6, 6, 2, 1, 3, 1}, ""},
		{"zero", SMPOptions{CPUs: n(0)}, SMP{}, "must be greater than zero"},
		{"product", SMPOptions{CPUs: n(3), Sockets: n(2), Cores: n(2)}, SMP{}, "product of the hierarchy must match maxcpus"},
		{"too few", SMPOptions{CPUs: n(4), MaxCPUs: n(2)}, SMP{}, "maxcpus must be equal to or greater than smp"},
		{"too many", SMPOptions{CPUs: n(300)}, SMP{}, "Invalid SMP CPUs 300. The max CPUs supported by machine 'pc' is 255"},
		{"absurd", SMPOptions{CPUs: n(1 << 63), Cores: n(1 << 62)}, SMP{}, "Invalid SMP CPUs"},
	} {
		got, err := c.in.Resolve("pc", 255)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.name, err, c.err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}
