package cpu

import (
	"strings"
	"testing"
)

func TestThreadsWithoutTopoext(t *testing.T) {
	two := Topology{Sockets: 1, Dies: 1, Cores: 1, Threads: 2}
	for _, c := range []struct {
		model string
		topo  Topology
		warns bool
	}{
		{"qemu64", two, true},
		{"qemu64,topoext=on", two, false},
		{"qemu64", Topology{Sockets: 1, Dies: 1, Cores: 2, Threads: 1}, false},
		{"qemu64,vendor=GenuineIntel", two, false},
	} {
		s, _, err := Parse(c.model)
		if err != nil {
			t.Fatal(err)
		}
		_, warnings, err := s.Resolve(nil, c.topo)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(warnings, "\n"), "topoext=on"); got != c.warns {
			t.Errorf("%s, %+v: warnings %q", c.model, c.topo, warnings)
		}
	}
}
