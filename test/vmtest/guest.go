package vmtest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"govmd/test/guest"
	"govmd/test/initramfs"
)

// RunWithGuest runs the tests of a package that has whole-system tests, and returns
// the exit status. Where such tests run it finds the stock kernel first, and makes the
// test guest's initramfs, with more modules, at a path that there is until the end.
func RunWithGuest(m *testing.M, kernel **initramfs.Kernel, path *string, more ...string) int {
	flag.Parse()
	if os.Getenv(systemVariable) == "" {
		return m.Run() // each test says why it is skipped
	}
	dir, err := os.MkdirTemp("", "guest")
	if err == nil {
		defer os.RemoveAll(dir)
		*path = filepath.Join(dir, "guest")
		*kernel, err = makeGuest(*path, more)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func makeGuest(path string, more []string) (*initramfs.Kernel, error) {
	kernel, err := initramfs.FindKernel()
	if err != nil {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return kernel, guest.Write(f, kernel, nil, more...)
}
