package cpu

import "testing"

func TestStateMSRs(t *testing.T) {
	list := stateMSRs([]uint32{0x174, 0x6e0, 0x10, 0x40000021, 0x480, 0x10a, 0x277, 0x17b, 0x174})
	at := map[uint32]int{}
	for i, m := range list {
		if _, twice := at[m]; twice {
			t.Errorf("MSR %#x is there twice", m)
		}
		at[m] = i
	}
	if list[0] != 0x10 || list[len(list)-1] != 0x6e0 {
		t.Errorf("the first is %#x, the last %#x", list[0], list[len(list)-1])
	}
	for _, m := range []uint32{0x174, 0x277, 0x200, 0x20f, 0x250, 0x26f, 0x2ff, 0x17b, 0x400, 0x427} {
		if _, ok := at[m]; !ok {
			t.Errorf("MSR %#x is missing", m)
		}
	}
	for _, m := range []uint32{0x40000021, 0x480, 0x10a, 0x210, 0x428} {
		if _, ok := at[m]; ok {
			t.Errorf("MSR %#x is no state", m)
		}
	}
}
