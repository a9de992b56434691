package memory

// Borrow is RAM that is lent: the block stays until Release. It is a value, and
// it is released once. Making and releasing one allocates nothing.
type Borrow struct {
	block *Block
	off   uint64
	bytes []byte
	write bool
}

// Bytes returns the memory itself, for system calls (which answer EFAULT where it
// is missing). Go code touches it through CopyTo and CopyFrom or inside Touch:
// where a backing file was cut short anything else ends the process. The guest may
// change the bytes at any time.
func (b Borrow) Bytes() []byte { return b.bytes }

// Size returns the number of bytes lent.
func (b Borrow) Size() uint64 { return uint64(len(b.bytes)) }

// Block returns the block lent from, and the offset in it.
func (b Borrow) Block() (*Block, uint64) { return b.block, b.off }

// CopyTo copies to p from off on, and returns how many bytes: fewer than len(p)
// where the borrow ends.
func (b Borrow) CopyTo(p []byte, off uint64) (int, error) {
	n := b.clip(len(p), off)
	if n > 0 && !b.block.m.copyOut(p[:n], b.off+off) {
		return 0, b.block.fault(b.off+off, uint64(n), false, FaultGone)
	}
	return n, nil
}

// CopyFrom copies from p to the memory from off on, and returns how many bytes:
// fewer than len(p) where the borrow ends. Release marks them dirty.
func (b Borrow) CopyFrom(p []byte, off uint64) (int, error) {
	n := b.clip(len(p), off)
	if n == 0 {
		return 0, nil
	}
	if !b.write {
		return 0, b.block.fault(b.off+off, uint64(n), true, FaultReadOnly)
	}
	if !b.block.m.copyIn(b.off+off, p[:n]) {
		return 0, b.block.fault(b.off+off, uint64(n), true, FaultGone)
	}
	return n, nil
}

func (b Borrow) clip(n int, off uint64) int {
	if size := b.Size(); off >= size {
		return 0
	} else if rest := size - off; uint64(n) > rest {
		return int(rest)
	}
	return n
}

// Release gives the memory back. written is how many bytes from the start may
// have been written: their pages are dirty from now on.
func (b Borrow) Release(written uint64) {
	if b.block == nil {
		return
	}
	if b.write {
		b.block.markDirty(b.off, min(written, b.Size()))
	}
	b.block.release()
}
