package devtest

import (
	"cmp"
	"maps"
	"slices"
	"testing"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}

// NoAllocs fails the test when fn allocates. The race detector makes things
// allocate that do not otherwise: with it fn only runs.
func NoAllocs(t *testing.T, what string, fn func()) {
	t.Helper()
	if raceEnabled {
		fn()
		return
	}
	if n := testing.AllocsPerRun(100, fn); n != 0 {
		t.Errorf("%s allocates %g times", what, n)
	}
}
