// Command nested runs a command, as root, in the nested host: a machine that
// QEMU emulates without KVM, with AMD's SVM, in which a stock Debian kernel
// drives a KVM of its own with nested paging. A virtual machine monitor can be
// tested there whatever the host's KVM is or lacks. scripts/nested builds and
// starts it; `scripts/nested --help` says how it is used.
//
// The same program is the first process inside: the host side (host.go) packs
// itself and a few kernel modules into an initramfs, and talks over a
// virtio-serial port to the guest side (guest.go), which mounts the host's root
// and runs the command.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

// Exit statuses of nested's own, as env, timeout and docker have them.
const (
	exitTimeout = 124
	exitBroken  = 125 // the nested host failed
	exitNoExec  = 126
	exitNoEntry = 127
	exitSignal  = 128 // plus the signal's number
)

func main() {
	if os.Getpid() == 1 && os.Args[0] == "/init" {
		guestMain() // does not return
	}
	opts, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "nested: %v\n", err)
		os.Exit(exitBroken)
	}
	status, err := runHost(opts)
	if err != nil {
		fmt.Fprintf(os.Stderr, "nested: %v\n", err)
	}
	os.Exit(status)
}
