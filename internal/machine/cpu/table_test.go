package cpu

import (
	"fmt"
	"strings"
	"testing"
)

// dump has one line a leaf: "leaf/sub eax ebx ecx edx"; leaves that are all 0 are left out.
func dump(m *Model, index, tscKHz int) map[string]string {
	out := map[string]string{}
	for _, e := range m.CPUID(index, tscKHz) {
		if e.EAX|e.EBX|e.ECX|e.EDX != 0 {
			out[fmt.Sprintf("%x/%x", e.Function, e.Index)] = fmt.Sprintf("%08x %08x %08x %08x", e.EAX, e.EBX, e.ECX, e.EDX)
		}
	}
	return out
}

func compare(t *testing.T, name string, got map[string]string, want string) {
	t.Helper()
	seen := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(want), "\n") {
		leaf, regs, _ := strings.Cut(strings.TrimSpace(line), " ")
		seen[leaf] = true
		if got[leaf] != regs {
			t.Errorf("%s: leaf %s is %s, want %s", name, leaf, got[leaf], regs)
		}
	}
	for leaf, regs := range got {
		if !seen[leaf] {
			t.Errorf("%s: leaf %s is %s, want none", name, leaf, regs)
		}
	}
}

// What QEMU's guests see of the same models.
func TestLeavesOfModels(t *testing.T) {
	m, _ := mustResolve(t, "kvm64", fakeHost(vendorIntel, modern), Topology{1, 1, 2, 1})
	compare(t, "kvm64 -smp 2", dump(m, 0, 0), `
		0/0 0000000d 756e6547 6c65746e 49656e69
		1/0 00000f61 00020800 80202001 178bfbff
		2/0 00000001 00000000 0000004d 002c307d
		4/0 04000121 01c0003f 0000003f 00000001
		4/1 04000122 01c0003f 0000003f 00000001
		4/2 04000143 03c0003f 00000fff 00000001
		4/3 04004163 03c0003f 00003fff 00000006
		5/0 00000000 00000000 00000003 00000000
		b/0 00000000 00000001 00000100 00000000
		b/1 00000001 00000002 00000201 00000000
		b/2 00000000 00000000 00000002 00000000
		40000000/0 40000001 4b4d564b 564b4d56 0000004d
		40000001/0 0100007b 00000000 00000000 00000000
		80000000/0 80000008 756e6547 6c65746e 49656e69
		80000001/0 00000f61 00000000 00000000 20100800
		80000002/0 6d6d6f43 4b206e6f 70204d56 65636f72
		80000003/0 726f7373 00000000 00000000 00000000
		80000005/0 01ff01ff 01ff01ff 40020140 40020140
		80000006/0 00000000 42004200 02008140 00808140
		80000008/0 00003028 00000000 00001001 00000000`)
	m, _ = mustResolve(t, "qemu64", fakeHost(vendorAMD, modern), Topology{})
	compare(t, "qemu64", dump(m, 0, 0), `
		0/0 0000000d 68747541 444d4163 69746e65
		1/0 00060fb1 00000800 80202001 078bfbfd
		5/0 00000000 00000000 00000003 00000000
		b/0 00000000 00000001 00000100 00000000
		b/1 00000000 00000001 00000201 00000000
		b/2 00000000 00000000 00000002 00000000
		40000000/0 40000001 4b4d564b 564b4d56 0000004d
		40000001/0 0100007b 00000000 00000000 00000000
		80000000/0 8000000a 68747541 444d4163 69746e65
		80000001/0 00060fb1 00000000 00000001 2193fbfd
		80000002/0 554d4551 72695620 6c617574 55504320
		80000003/0 72657620 6e6f6973 352e3220 0000002b
		80000005/0 01ff01ff 01ff01ff 40020140 40020140
		80000006/0 00000000 42004200 02008140 00808140
		80000008/0 00003028 00000000 00000000 00000000`)
}

func TestLeavesOfTopology(t *testing.T) {
	m, _ := mustResolve(t, "kvm64,+topoext", fakeHost(vendorIntel, modern), Topology{2, 2, 3, 2})
	last := dump(m, 23, 0) // socket 1, die 1, core 2, thread 1: 1 1 10 1
	for leaf, want := range map[string]string{
		"b/0":  "00000001 00000002 00000100 0000001d",
		"b/1":  "00000004 0000000c 00000201 0000001d",
		"1f/0": "00000001 00000002 00000100 0000001d",
		"1f/1": "00000003 00000006 00000201 0000001d",
		"1f/2": "00000004 0000000c 00000502 0000001d",
		"1f/3": "00000000 00000000 00000003 0000001d",
		// L1 is shared by 2 ids, L3 by the 8 of a die; a socket has 8 core ids.
		"4/0":        "1c004121 01c0003f 0000003f 00000001",
		"4/3":        "1c01c163 03c0003f 00003fff 00000006",
		"8000001d/3": "0001c163 03c0003f 00003fff 00000006",
		"8000001e/0": "0000001d 00000105 00000103 00000000",
		"80000008/0": "00003028 00000000 0000400b 00000000",
	} {
		if last[leaf] != want {
			t.Errorf("leaf %s is %s, want %s", leaf, last[leaf], want)
		}
	}
	if got := last["1/0"][9:17]; got != "1d0c0800" {
		t.Errorf("leaf 1 EBX %s", got)
	}
	m, _ = mustResolve(t, "kvm64,cpuid-0xb=off,l3-cache=off", fakeHost(vendorIntel, modern), Topology{1, 1, 2, 1})
	got := dump(m, 0, 0)
	if got["b/0"] != "" || got["4/3"] != "" || got["2/0"] != "00000001 00000000 00000000 002c307d" {
		t.Errorf("leaves that are off: %q", got)
	}
	amd, _ := mustResolve(t, "qemu64", fakeHost(vendorAMD, modern), Topology{1, 1, 2, 1})
	if got := dump(amd, 1, 0); got["80000001/0"] != "00060fb1 00000000 00000003 2193fbfd" || got["4/0"] != "" {
		t.Errorf("AMD with two cores: %q", got)
	}
}

func TestLeavesOfState(t *testing.T) {
	m, _ := mustResolve(t, "host,-pku", fakeHost(vendorIntel, modern), Topology{})
	got := dump(m, 0, 0)
	for leaf, want := range map[string]string{
		"d/0": "000000e7 00000240 00000a80 00000000",
		"d/1": "00000007 00000000 00000000 00000000",
		"d/2": "00000100 00000240 00000000 00000000",
		"d/7": "00000400 00000680 00000000 00000000",
		"d/9": "",
		"6/0": "00000004 00000000 00000000 00000000",
	} {
		if got[leaf] != want {
			t.Errorf("leaf %s is %q, want %q", leaf, got[leaf], want)
		}
	}
	m, _ = mustResolve(t, "host,kvm=off,+la57", fakeHost(vendorIntel, modern+" la57"), Topology{})
	got = dump(m, 0, 0)
	if got["40000000/0"] != "" || got["80000008/0"] != "00003930 00000000 00000000 00000000" {
		t.Errorf("%q", got)
	}
	m, _ = mustResolve(t, "host,+invtsc", fakeHost(vendorIntel, modern), Topology{})
	got = dump(m, 0, 2500000)
	if got["40000000/0"][:8] != "40000010" || got["40000010/0"] != "002625a0 000f4240 00000000 00000000" {
		t.Errorf("TSC leaf %q", got)
	}
}
