package block

// DebugEvent is a point in a driver's work at which blkdebug can act.
type DebugEvent uint8

// The events, by the names that QEMU has for them.
const (
	EventL1Update DebugEvent = iota
	EventL1GrowAllocTable
	EventL1GrowWriteTable
	EventL1GrowActivateTable
	EventL2Load
	EventL2Update
	EventL2UpdateCompressed
	EventL2AllocCOWRead
	EventL2AllocWrite
	EventReadAIO
	EventReadBackingAIO
	EventReadCompressed
	EventWriteAIO
	EventWriteCompressed
	EventVMStateLoad
	EventVMStateSave
	EventCOWRead
	EventCOWWrite
	EventReftableLoad
	EventReftableGrow
	EventReftableUpdate
	EventRefblockLoad
	EventRefblockUpdate
	EventRefblockUpdatePart
	EventRefblockAlloc
	EventRefblockAllocHookup
	EventRefblockAllocWrite
	EventRefblockAllocWriteBlocks
	EventRefblockAllocWriteTable
	EventRefblockAllocSwitchTable
	EventClusterAlloc
	EventClusterAllocBytes
	EventClusterFree
	EventFlushToOS
	EventFlushToDisk
	EventPwritevRMWHead
	EventPwritevRMWAfterHead
	EventPwritevRMWTail
	EventPwritevRMWAfterTail
	EventPwritev
	EventPwritevZero
	EventPwritevDone
	EventEmptyImagePrepare
	EventL1ShrinkWriteTable
	EventL1ShrinkFreeL2Clusters
	EventCORWrite
	EventClusterAllocSpace
	EventNone
	NumDebugEvents
)

var debugNames = [NumDebugEvents]string{
	"l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table", "l2_load", "l2_update",
	"l2_update_compressed", "l2_alloc_cow_read", "l2_alloc_write", "read_aio", "read_backing_aio", "read_compressed",
	"write_aio", "write_compressed", "vmstate_load", "vmstate_save", "cow_read", "cow_write", "reftable_load",
	"reftable_grow", "reftable_update", "refblock_load", "refblock_update", "refblock_update_part", "refblock_alloc",
	"refblock_alloc_hookup", "refblock_alloc_write", "refblock_alloc_write_blocks", "refblock_alloc_write_table",
	"refblock_alloc_switch_table", "cluster_alloc", "cluster_alloc_bytes", "cluster_free", "flush_to_os",
	"flush_to_disk", "pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_tail", "pwritev_rmw_after_tail",
	"pwritev", "pwritev_zero", "pwritev_done", "empty_image_prepare", "l1_shrink_write_table",
	"l1_shrink_free_l2_clusters", "cor_write", "cluster_alloc_space", "none",
}

func (e DebugEvent) String() string { return debugNames[e] }

// DebugEventNames returns the names of all events, in order.
func DebugEventNames() []string { return append([]string(nil), debugNames[:]...) }

// ParseDebugEvent returns the event of that name.
func ParseDebugEvent(name string) (DebugEvent, bool) {
	for i, n := range debugNames {
		if n == name {
			return DebugEvent(i), true
		}
	}
	return 0, false
}

// Debugger is a driver that acts on the events of its parents (blkdebug).
type Debugger interface {
	// DebugEvent may wait: it is how a request is held at a breakpoint.
	DebugEvent(e DebugEvent)
}

// Breakpointer lets a user hold requests at an event: qemu-io's break, resume,
// remove_break and wait_break.
type Breakpointer interface {
	SetBreak(event, tag string) error
	RemoveBreak(tag string) error
	ResumeBreak(tag string) error
	// WaitBreak returns when a request is held by the breakpoint, or stop is closed.
	WaitBreak(tag string, stop <-chan struct{}) error
}

// Debug tells the child, if it wants to know, that its parent is at an event. It
// costs nothing when it does not.
func (c *Child) Debug(e DebugEvent) {
	if d := c.Node().debug; d != nil {
		d.DebugEvent(e)
	}
}

// BreakpointsOf returns what holds requests below n: the first blkdebug on the way
// down, or nil.
func BreakpointsOf(n *Node) Breakpointer {
	for ; n != nil; n = n.Primary() {
		if b, ok := n.drv.(Breakpointer); ok {
			return b
		}
	}
	return nil
}

// debugEvent tells the node's own driver.
func (n *Node) debugEvent(e DebugEvent) {
	if n.debug != nil {
		n.debug.DebugEvent(e)
	}
}
