// Command guest-initramfs writes the initramfs of the test guest.
package main

import (
	"fmt"
	"os"
	"strings"

	"govmd/test/guest"
	"govmd/test/initramfs"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: guest-initramfs OUT [NAME=FILE...]   (each FILE becomes /tests/NAME)")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "guest-initramfs: %v\n", err)
		os.Exit(1)
	}
}

func run(out string, tests []string) error {
	extra := make(map[string]string)
	for _, arg := range tests {
		name, file, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=FILE", arg)
		}
		extra[name] = file
	}
	k, err := initramfs.FindKernel()
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	if err := guest.Write(f, k, extra); err != nil {
		f.Close()
		os.Remove(out)
		return err
	}
	return f.Close()
}
