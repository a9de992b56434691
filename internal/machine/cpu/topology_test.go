package cpu

import (
	"reflect"
	"testing"
)

// The ids are those that QEMU gives for the same -smp.
func TestAPICIDs(t *testing.T) {
	for _, c := range []struct {
		topo Topology
		want []uint32
	}{
		{Topology{}, []uint32{0}},
		{Topology{1, 1, 5, 1}, []uint32{0, 1, 2, 3, 4}},
		{Topology{2, 1, 3, 1}, []uint32{0, 1, 2, 4, 5, 6}},
		{Topology{3, 1, 2, 1}, []uint32{0, 1, 2, 3, 4, 5}},
		{Topology{1, 1, 3, 2}, []uint32{0, 1, 2, 3, 4, 5}},
		{Topology{1, 2, 3, 2}, []uint32{0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13}},
	} {
		var got []uint32
		for i := range c.topo.CPUs() {
			got = append(got, c.topo.APICID(i))
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.topo, got, c.want)
		}
		if c.topo.MaxAPICID() != c.want[len(c.want)-1] {
			t.Errorf("%+v: highest id %d", c.topo, c.topo.MaxAPICID())
		}
	}
	if l := (Topology{2, 2, 3, 2}).Location(23); l != (Location{1, 1, 2, 1}) {
		t.Errorf("last CPU is at %+v", l)
	}
}
