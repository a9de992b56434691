package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"govmd/test/initramfs"
)

// Modules that the guest side loads: first those that bring the root file
// system, then those that make it a host.
var (
	rootModules = []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"}
	hostModules = []string{"kvm-amd"}
)

// writeImage writes the initramfs: this program as /init, and modules.
func writeImage(path string, k *initramfs.Kernel) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := bufio.NewWriterSize(f, 1<<20)
	w := initramfs.NewWriter(buf)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	w.Copy("init", self)
	// The kernel opens the console for init, and Go wants /dev/null, before
	// anybody can have mounted /dev.
	w.Char("dev/console", 0o600, 5, 1)
	w.Char("dev/null", 0o666, 1, 3)
	for _, dir := range []string{"proc", "sys", "lower", "upper", "root"} {
		w.Dir(dir)
	}

	var order strings.Builder
	added := make(map[string]bool)
	for i, names := range [][]string{rootModules, hostModules} {
		if i > 0 {
			order.WriteString("\n")
		}
		files, err := k.Modules(names...)
		if err != nil {
			return err
		}
		for _, file := range files {
			if added[file] {
				continue
			}
			added[file] = true
			name := "/modules/" + filepath.Base(file)
			w.Copy(name, file)
			order.WriteString(name + "\n")
		}
	}
	w.File(modulesList, 0o644, []byte(order.String()))
	if err := w.Close(); err != nil {
		return err
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	return f.Close()
}
