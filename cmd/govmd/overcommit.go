package main

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// lockMemory keeps all that the process maps, now and later, in RAM. The limit is
// lifted first, while we may: a process that has given up root's rights and gets
// no more memory does not live on.
func (v *vm) lockMemory(context.Context) error {
	if !v.setup.memLock {
		return nil
	}
	all := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	raised := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &all)
	err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE)
	if err == nil && v.setup.runAs != nil {
		err = raised
	}
	if err != nil {
		return &usageError{"-overcommit mem-lock=on", fmt.Errorf("locking memory failed: %w; raise the limit (ulimit -l, or LimitMEMLOCK= of the service)", err)}
	}
	return nil
}
