package qcow2_test

import (
	"os"
	"testing"
)

// TestMain keeps the images in memory where it can: what the tests would wait for
// otherwise is the disk.
func TestMain(m *testing.M) {
	if dir, err := os.MkdirTemp("/dev/shm", "govmd-qcow2-"); err == nil {
		_ = os.Setenv("TMPDIR", dir) // the name is valid
		code := m.Run()
		_ = os.RemoveAll(dir) // only test files
		os.Exit(code)
	}
	os.Exit(m.Run())
}
