package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"govmd/test/guest"
)

// bootBenchmarks: from exec to the first line of the guest's init.
func bootBenchmarks(kernel, initrd string) (all []benchmark) {
	for _, machine := range machines {
		for _, image := range []struct{ name, file string }{{"bzImage", "vmlinuz"}, {"ELF", "vmlinux"}} {
			all = append(all, benchmark{
				name: fmt.Sprintf("exec to guest's init, %s, %s", machine, image.name), unit: "s", runs: 5, nested: true,
				once: func(c contender) (float64, error) {
					return bootTime(c, machine, filepath.Join(kernel, image.file), initrd)
				},
			})
		}
	}
	return all
}

func bootTime(c contender, machine, kernel, initrd string) (float64, error) {
	out, theirOut, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer out.Close()
	p, err := start(c, 0, theirOut, "-M", machine, "-accel", "kvm", "-cpu", "host,-xsave", "-m", "256",
		"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1",
		"-chardev", "stdio,id=console", "-serial", "chardev:console", "-no-reboot")
	theirOut.Close()
	if err != nil {
		return 0, err
	}
	defer p.stop()
	out.SetReadDeadline(time.Now().Add(limit))
	var text []byte
	buf := make([]byte, 4096)
	for {
		n, err := out.Read(buf)
		text = append(text, buf[:n]...)
		if bytes.Contains(text, []byte(guest.Init)) {
			return time.Since(p.started).Seconds(), nil
		}
		if err != nil {
			return 0, fmt.Errorf("waiting for the guest's init: %w; it said: %q %s", err, text, p.stderr.Bytes())
		}
	}
}
