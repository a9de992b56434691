// Package guest makes the initramfs of the test guest: busybox, a few modules of
// the Debian kernel, and an init that says on the console when it is ready. The
// file init says what it understands.
package guest

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"

	"govmd/test/initramfs"
)

// Lines that the guest's init prints on the console.
const (
	// Init is the first line of user space.
	Init = "govmd-guest: init"
	// Ready begins the line after which there is a shell, or a test runs.
	Ready = "govmd-guest: ready"
	// Exit begins the line with the exit status of the test or shell, after
	// which the guest powers off.
	Exit = "govmd-guest: exit "
	// PowerButton is printed when the guest obeys its power button.
	PowerButton = "govmd-guest: power button"
	// Prompt is the shell's prompt.
	Prompt = "guest# "
)

//go:embed init power tests
var files embed.FS

// modules are loaded by the guest's init: transports and simple devices, and
// what turns the ACPI power button into an input event.
var modules = []string{
	"virtio_pci", "virtio_mmio", "virtio_console", "virtio-rng",
	"evdev", "button", "pvpanic-mmio", "i6300esb",
}

// Write writes the initramfs with modules of k, and the more that are named. extra
// maps names of further executables below /tests to their paths here.
func Write(w io.Writer, k *initramfs.Kernel, extra map[string]string, more ...string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("the test guest needs a static busybox, run scripts/deps: %w", err)
	}
	a := initramfs.NewWriter(w)
	a.Char("dev/console", 0o600, 5, 1)
	a.Copy("bin/busybox", busybox)
	if err := addFile(a, "init", "init"); err != nil {
		return err
	}
	// The name is that of the event in busybox's acpid.
	if err := addFile(a, "etc/acpi/PWRF/00000080", "power"); err != nil {
		return err
	}
	tests, err := fs.Glob(files, "tests/*")
	if err != nil {
		return err
	}
	for _, name := range tests {
		if err := addFile(a, name, name); err != nil {
			return err
		}
	}
	for name, from := range extra {
		a.Copy(path.Join("tests", name), from)
	}
	paths, err := k.Modules(append(slices.Clone(modules), more...)...)
	if err != nil {
		return err
	}
	var order []byte
	for _, from := range paths {
		name := "/modules/" + filepath.Base(from)
		a.Copy(name, from)
		order = append(order, name+"\n"...)
	}
	a.File("modules/order", 0o644, order)
	return a.Close()
}

func addFile(a *initramfs.Writer, to, from string) error {
	data, err := files.ReadFile(from)
	if err != nil {
		return err
	}
	a.File(to, 0o755, data)
	return nil
}
