package machine

import (
	"encoding/binary"
	"fmt"
	"os"

	"govmd/internal/qmp"
)

// Fields of an entry of /proc/PID/pagemap (Linux, admin-guide/mm/pagemap).
const (
	pagemapPresent = 1 << 63
	pagemapFrame   = 1<<55 - 1
)

// hostPhysical returns where the host has what is at an address in this process.
func hostPhysical(addr uint64) (uint64, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page := uint64(os.Getpagesize())
	var b [8]byte
	if _, err := f.ReadAt(b[:], int64(addr/page*8)); err != nil {
		return 0, fmt.Errorf("cannot read pagemap: %w", err)
	}
	e := binary.NativeEndian.Uint64(b[:])
	switch {
	case e&pagemapPresent == 0:
		return 0, qmp.Errorf("Page not present")
	case e&pagemapFrame == 0:
		return 0, qmp.Errorf("the host keeps physical addresses to itself: that takes CAP_SYS_ADMIN")
	}
	return e&pagemapFrame*page + addr%page, nil
}
