package cpu

// cache is one level of the caches that models show. They are nominal: what
// guests see of QEMU's models too, so that scheduling and tuning are the same.
type cache struct {
	kind      uint32 // 1 data, 2 instructions, 3 unified
	level     uint32
	ways      uint32
	sets      uint32
	flags     uint32 // EDX of leaf 4
	perSocket bool   // shared by the whole die, not by one core's threads
}

const cacheLine = 64

var caches = []cache{
	{kind: 1, level: 1, ways: 8, sets: 64, flags: 1},
	{kind: 2, level: 1, ways: 8, sets: 64, flags: 1},
	{kind: 3, level: 2, ways: 16, sets: 4096, flags: 1},
	{kind: 3, level: 3, ways: 16, sets: 16384, flags: 6, perSocket: true},
}

// Leaf 2: descriptors of the same caches (SDM volume 2, CPUID, table 3-12).
const (
	leaf2EAX    = 1          // one round
	leaf2ECXL3  = 0x4d       // L3 16 MiB
	leaf2EDXAll = 0x002c307d // L1 data 32 KiB, L1 code 32 KiB, L2 2 MiB: the nearest there is
)

// Leaves 0x80000005 and 0x80000006: TLBs and caches in AMD's form (APM volume 3,
// appendix E.4.4): L1 64 KiB of 2 ways each, L2 512 KiB of 16 ways, L3 16 MiB.
var (
	leafL1 = [4]uint32{0x01ff01ff, 0x01ff01ff, 0x40020140, 0x40020140}
	leafL2 = [4]uint32{0, 0x42004200, 0x02008140, 0x00808140}
)

// sharing returns how many APIC ids share a cache and how many cores' worth of
// them a socket has.
func (t Topology) sharing(c *cache) (threads, cores uint32) {
	if c.perSocket {
		return 1 << t.dieShift(), 1 << (t.packageShift() - t.coreShift())
	}
	return 1 << t.coreShift(), 1 << (t.packageShift() - t.coreShift())
}
