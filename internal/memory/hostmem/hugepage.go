package hostmem

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"govmd/internal/fd"
)

// defaultHugePage is the size of the host's usual hugepages in bytes.
func defaultHugePage() uint64 {
	const usual = 2 << 20
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return usual
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), "Hugepagesize:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 32)
			if err == nil && kib > 0 {
				return kib << 10
			}
		}
	}
	return usual
}

// rawFD is a file's descriptor, which its blocking mode does not matter to.
func rawFD(f *fd.File) uintptr {
	n := ^uintptr(0)
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { n = fd })
	}
	return n
}
