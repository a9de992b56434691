package file

import (
	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

// probeAlign finds out what O_DIRECT asks of offsets, lengths and memory.
func (h *handle) probeAlign() {
	h.align, h.memAlign = 1, 1
	if !h.direct {
		return
	}
	h.align, h.memAlign = 4096, 4096
	var st unix.Statx_t
	if unix.Statx(h.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st) == nil && st.Mask&unix.STATX_DIOALIGN != 0 &&
		st.Dio_offset_align > 0 {
		h.align, h.memAlign = pow2(st.Dio_offset_align), pow2(st.Dio_mem_align)
		return
	}
	if h.blockDev {
		if n, err := unix.IoctlGetInt(h.fd, unix.BLKSSZGET); err == nil && n > 0 {
			h.align, h.memAlign = pow2(uint32(n)), pow2(uint32(n))
			return
		}
	}
	// Try: a read that is not aligned well enough fails with EINVAL.
	buf := block.AlignedBuffer(4096, 4096)
	for _, a := range []int{512, 1024, 2048} {
		if _, err := unix.Pread(h.fd, buf[:a], 0); err == nil {
			h.align = a
			break
		}
	}
	buf = block.AlignedBuffer(8192, 4096)
	for _, a := range []int{512, 1024, 2048} {
		if _, err := unix.Pread(h.fd, buf[a:a+h.align], 0); err == nil {
			h.memAlign = a
			break
		}
	}
}

func pow2(n uint32) int {
	if n == 0 || n&(n-1) != 0 || n > 1<<16 {
		return 4096
	}
	return int(n)
}
