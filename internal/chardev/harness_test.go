package chardev

import (
	"testing"

	"govmd/internal/fd"
)

// newRegistry returns a registry with a table of descriptors, which ends with the
// test.
func newRegistry(t *testing.T) *Registry {
	t.Helper()
	r := &Registry{FDs: &fd.Table{}}
	t.Cleanup(func() {
		r.Close()
		r.FDs.Close()
	})
	return r
}
