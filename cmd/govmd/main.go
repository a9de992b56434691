// Command govmd is a virtual machine: options in, machine out.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"govmd/internal/block/img"
)

// heapPercent keeps the heap small: a virtual machine's memory is its guest's.
const heapPercent = 50

func main() {
	if isTerminalGuard() {
		guardTerminal()
		return
	}
	if status, ok := asClient(os.Args); ok {
		os.Exit(status)
	}
	debug.SetGCPercent(heapPercent)
	os.Exit(run(os.Args[1:]))
}

// run does what the command line asks for and returns the exit status.
func run(args []string) int {
	if len(args) > 0 && args[0] == "img" {
		return img.Main(program()+" img", args[1:], os.Stdout, os.Stderr)
	}
	d := asDaemon()
	if d == nil && wantsDaemon(args) {
		return startDaemon(os.Args)
	}
	s, err := parseArgs(args)
	if err != nil {
		return complain(err)
	}
	if s.help != nil {
		if err := s.help(); err != nil {
			return complain(err)
		}
		return 0
	}
	v, err := newVM(s, d)
	if err != nil {
		return complain(err)
	}
	code, err := v.live()
	if err != nil {
		return complain(err)
	}
	return code
}

// complain says what is wrong, in one line, and returns the exit status for it.
func complain(err error) int {
	fmt.Fprintf(os.Stderr, "%s%s: %s\n", messagePrefix(), program(), oneLine(err.Error()))
	return 1
}
