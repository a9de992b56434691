// Command govmd is a virtual machine: options in, machine out.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"govmd/internal/kvm"
)

// heapPercent keeps the heap small: a virtual machine's memory is its guest's.
const heapPercent = 50

func main() {
	debug.SetGCPercent(heapPercent)
	s, err := parseArgs(os.Args[1:])
	if err == nil && s.help != nil {
		s.help()
		return
	}
	code := 0
	if err == nil {
		code, err = run(s)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program(), err)
		var usage *usageError
		if errors.As(err, &usage) && usage.option != "" && usage.text == "requires an argument" {
			fmt.Fprintf(os.Stderr, "%s: -help lists the options\n", program())
		}
		code = 1
	}
	os.Exit(code)
}

func run(s *setup) (code int, err error) {
	vm, err := newVM(s)
	if err != nil {
		return 1, err
	}
	runtime.GOMAXPROCS(kvm.Procs(vm.cfg.SMP.CPUs, 0))
	defer vm.close()
	if err := vm.build(); err != nil {
		return 1, err
	}
	return vm.wait()
}
