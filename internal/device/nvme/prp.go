package nvme

import (
	"encoding/binary"

	"govmd/internal/memory"
)

// listSize is how much of a PRP list is read at once, in bytes.
const listSize = 512

// lend collects the n bytes of guest memory that the command's PRP entries describe
// (section 4.3): a first page that may begin anywhere, and a second one, or a list of
// others. write says that guest memory will be written.
func (r *request) lend(n int, write bool) uint16 {
	page, dma := r.d.pageSize(), r.d.dma
	r.segs.Begin(write)
	first, second := r.command.prp1(), r.command.prp2()
	if first%4 != 0 {
		return statusPRPOffset
	}
	size := min(page-first%page, uint64(n))
	if !r.add(dma, first, size) {
		return statusTransfer
	}
	left := uint64(n) - size
	switch {
	case left == 0:
	case left <= page:
		if second%page != 0 {
			return statusPRPOffset
		}
		if !r.add(dma, second, left) {
			return statusTransfer
		}
	default:
		return r.lendList(dma, second, left, page)
	}
	return statusOK
}

func (r *request) add(dma *memory.DMA, addr, size uint64) bool {
	return addr+size-1 >= addr && r.segs.Add(dma, addr, size) == nil
}

// lendList collects what a list describes. The last entry of a page of the list leads
// to the next one, unless it is the last of all.
func (r *request) lendList(dma *memory.DMA, list, left, page uint64) uint16 {
	if list%8 != 0 {
		return statusPRPOffset
	}
	var run, size uint64 // pages that follow each other
	flush := func() bool { return size == 0 || r.add(dma, run, size) }
	for left > 0 {
		here := (page - list%page) / 8 // entries to the end of the page
		n := min(here, listSize/8, (left+page-1)/page)
		if dma.Read(list, r.list[:8*n]) != nil {
			return statusTransfer
		}
		next := list + 8*n
		for i := range n {
			addr := binary.LittleEndian.Uint64(r.list[8*i:])
			if addr%page != 0 {
				return statusPRPOffset
			}
			if i+1 == here && left > page {
				next = addr
				break
			}
			take := min(page, left)
			left -= take
			if size > 0 && run+size == addr {
				size += take
				continue
			}
			if !flush() {
				return statusTransfer
			}
			run, size = addr, take
		}
		list = next
	}
	if !flush() {
		return statusTransfer
	}
	return statusOK
}

// send gives the host a reply.
func (r *request) send(p []byte) uint16 {
	if status := r.lend(len(p), true); status != statusOK {
		return status
	}
	if err := r.segs.Vec().Write(p); err != nil {
		return statusTransfer
	}
	return statusOK
}

// receive takes data from the host.
func (r *request) receive(p []byte) uint16 {
	if status := r.lend(len(p), false); status != statusOK {
		return status
	}
	if err := r.segs.Vec().Read(p); err != nil {
		return statusTransfer
	}
	return statusOK
}
