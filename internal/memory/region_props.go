package memory

// change runs fn with the topology lock held; fn returns whether it changed anything.
func (r *Region) change(fn func() bool) {
	r.sys.begin()
	defer r.sys.end()
	if fn() {
		r.sys.changed = true
	}
}

func set[T comparable](r *Region, p *T, v T) {
	r.change(func() bool {
		differs := *p != v
		*p = v
		return differs
	})
}

func get[T any](r *Region, p *T) T {
	r.sys.begin()
	defer r.sys.end()
	return *p
}

// SetEnabled makes the region appear or disappear, wherever it and its aliases are.
func (r *Region) SetEnabled(on bool) { set(r, &r.off, !on) }

// SetReadOnly makes the RAM that is or shows up in the region read-only. ROM stays so.
func (r *Region) SetReadOnly(on bool) { set(r, &r.readOnly, on) }

// SetOffset moves the region within its parent.
func (r *Region) SetOffset(offset uint64) { set(r, &r.offset, offset) }

// SetAliasOffset has an alias show its target from another offset.
func (r *Region) SetAliasOffset(offset uint64) { set(r, &r.aliasOff, offset) }

// SetSize changes the size; 0 means 2^64. A RAM region stays within its block.
func (r *Region) SetSize(size uint64) {
	if r.kind == kindRAM {
		if rest := r.block.size - r.blockOff; size == 0 || size > rest {
			size = rest
		}
	}
	r.change(func() bool {
		if r.last == size-1 {
			return false
		}
		r.last = size - 1
		if r.ops != nil {
			r.ops = &ops{h: r.ops.h, spec: r.ops.spec, last: r.last}
		}
		return true
	})
}

// SetPriority changes the region's standing among its siblings.
func (r *Region) SetPriority(priority int) {
	r.change(func() bool {
		if r.priority == priority {
			return false
		}
		r.priority = priority
		if r.parent != nil {
			r.parent.sortChildren()
		}
		return true
	})
}

// SetWriteHandler has h serve the guest's writes to ROM, as flash needs it; nil
// drops them again. On RAM it acts while that is read-only. h serves reads too
// while SetDirectRead(false) is in force.
func (r *Region) SetWriteHandler(h Handler, spec Spec) {
	if r.kind != kindRAM {
		return
	}
	r.change(func() bool {
		r.ops = nil
		if h != nil {
			r.ops = &ops{h: h, spec: spec.normal(), last: r.last}
		}
		return true
	})
}

// SetDirectRead says whether reads of ROM with a write handler see the memory
// (the default) or call the handler.
func (r *Region) SetDirectRead(on bool) { set(r, &r.indirect, !on) }

// SetOwner says whose region it and those in it are that have no other: owner
// returns what `info mtree -o` shows of that.
func (r *Region) SetOwner(owner func() string) {
	r.sys.begin()
	defer r.sys.end()
	r.owner = owner
}

// Name returns the name that the region was made with.
func (r *Region) Name() string { return r.name }

// Size returns the size in bytes, 0 for 2^64.
func (r *Region) Size() uint64 { return get(r, &r.last) + 1 }

// Offset returns the place within the parent.
func (r *Region) Offset() uint64 { return get(r, &r.offset) }

// Priority returns the standing among siblings.
func (r *Region) Priority() int { return get(r, &r.priority) }

// Enabled returns what SetEnabled has set, initially true.
func (r *Region) Enabled() bool { return !get(r, &r.off) }

// Parent returns the region that holds r, or nil.
func (r *Region) Parent() *Region { return get(r, &r.parent) }

// Block returns the block of RAM or ROM, nil for others.
func (r *Region) Block() *Block { return r.block }

// AddIoEventFD has guest writes of size bytes (0 for any size, else 1, 2, 4 or
// 8) to offset signal the eventfd fd instead of calling the handler; with match
// only writes of that value. The descriptor stays the caller's, who keeps it
// open until it is removed and the region was quiesced. Where the kernel does not
// take such a write off the vCPU, WriteIO does.
func (r *Region) AddIoEventFD(offset uint64, size int, match *uint64, fd int) {
	r.change(func() bool {
		r.fds = append(r.fds[:len(r.fds):len(r.fds)], newIoEventFD(offset, size, match, fd))
		return true
	})
}

// RemoveIoEventFD takes back what AddIoEventFD did with the same arguments.
func (r *Region) RemoveIoEventFD(offset uint64, size int, match *uint64, fd int) {
	gone := newIoEventFD(offset, size, match, fd)
	r.change(func() bool {
		for i, f := range r.fds {
			if f == gone {
				r.fds = append(r.fds[:i:i], r.fds[i+1:]...)
				return true
			}
		}
		return false
	})
}

func newIoEventFD(offset uint64, size int, match *uint64, fd int) IoEventFD {
	f := IoEventFD{Addr: offset, Size: size, FD: fd}
	if match != nil {
		f.Match, f.Value = true, *match
	}
	return f
}
