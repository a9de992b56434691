package kvm_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"govmd/internal/kvm"
	"govmd/internal/kvm/kvmtest"
)

const endPort = 0xf4 // a guest writes here when it is done

func untilEnd(t *testing.T, v *kvm.VCPU, handle func(kvm.Exit)) {
	t.Helper()
	kvmtest.Run(t, v, func(e kvm.Exit) bool {
		if e == kvm.ExitIO {
			if io, _ := v.IO(); io.Port == endPort {
				return false
			}
		}
		handle(e)
		return true
	})
}

func TestKVMPortIO(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	a := kvmtest.NewAsm(kvmtest.Org).Cld()
	a.MovEAX(0x11223344).MovEDX(0x100).OutAL().OutAX().OutEAX()
	a.InAL().StoreAL(kvmtest.Data).InAX().StoreAX(kvmtest.Data + 4).InEAX().StoreEAX(kvmtest.Data + 8)
	copy(g.Mem[kvmtest.Data+0x100:], "string!!")
	a.MovESI(kvmtest.Data + 0x100).MovECX(8).RepOuts(1)
	a.MovESI(kvmtest.Data + 0x100).MovECX(4).RepOuts(2)
	a.MovESI(kvmtest.Data + 0x100).MovECX(2).RepOuts(4)
	a.MovEDI(kvmtest.Data + 0x200).MovECX(8).RepIns(1)
	a.MovEDI(kvmtest.Data + 0x210).MovECX(4).RepIns(2)
	a.MovEDI(kvmtest.Data + 0x220).MovECX(2).RepIns(4)
	a.Out(endPort, 0)
	g.Load(a)
	v := g.NewVCPU(t, 0)

	var out []byte
	next := byte(0xa0)
	untilEnd(t, v, func(e kvm.Exit) {
		if e != kvm.ExitIO {
			t.Fatalf("exit %v", e)
		}
		io, data := v.IO()
		if io.Port != 0x100 {
			t.Fatalf("%+v", io)
		}
		if io.Out {
			out = append(out, data...)
			return
		}
		for i := range data {
			data[i] = next
			next++
		}
	})
	if got, want := string(out), "\x44\x44\x33\x44\x33\x22\x11"+"string!!string!!string!!"; got != want {
		t.Errorf("guest wrote %q, want %q", got, want)
	}
	for addr, want := range map[uint32]uint32{
		kvmtest.Data: 0xa0, kvmtest.Data + 4: 0xa2a1, kvmtest.Data + 8: 0xa6a5a4a3,
		kvmtest.Data + 0x200: 0xaaa9a8a7, kvmtest.Data + 0x204: 0xaeadacab,
		kvmtest.Data + 0x210: 0xb2b1b0af, kvmtest.Data + 0x214: 0xb6b5b4b3,
		kvmtest.Data + 0x220: 0xbab9b8b7, kvmtest.Data + 0x224: 0xbebdbcbb,
	} {
		if got := g.U32(addr); got != want {
			t.Errorf("guest read %#x at %#x, want %#x", got, addr, want)
		}
	}
}

func TestKVMMMIO(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	const dev = 0xd0000000
	a := kvmtest.NewAsm(kvmtest.Org).MovEAX(0x55667788)
	a.StoreAL(dev + 1).StoreAX(dev + 2).StoreEAX(dev + 4)
	a.LoadAL(dev + 1).StoreEAX(kvmtest.Data).LoadAX(dev + 2).StoreEAX(kvmtest.Data + 4)
	a.LoadEAX(dev + 4).StoreEAX(kvmtest.Data + 8)
	a.Out(endPort, 0)
	g.Load(a)
	v := g.NewVCPU(t, 0)

	type access struct {
		addr  uint64
		n     int
		value uint32
	}
	var writes, reads []access
	untilEnd(t, v, func(e kvm.Exit) {
		if e != kvm.ExitMMIO {
			t.Fatalf("exit %v", e)
		}
		m, data := v.MMIO()
		if m.Write {
			var b [8]byte
			copy(b[:], data)
			writes = append(writes, access{m.Addr, len(data), binary.LittleEndian.Uint32(b[:])})
			return
		}
		reads = append(reads, access{addr: m.Addr, n: len(data)})
		for i := range data {
			data[i] = byte(0xc0 + i)
		}
	})
	wantWrites := []access{{dev + 1, 1, 0x88}, {dev + 2, 2, 0x7788}, {dev + 4, 4, 0x55667788}}
	wantReads := []access{{dev + 1, 1, 0}, {dev + 2, 2, 0}, {dev + 4, 4, 0}}
	for i := range 3 {
		if len(writes) != 3 || writes[i] != wantWrites[i] {
			t.Fatalf("writes %+v", writes)
		}
		if len(reads) != 3 || reads[i] != wantReads[i] {
			t.Fatalf("reads %+v", reads)
		}
	}
	if a, b, c := g.U32(kvmtest.Data), g.U32(kvmtest.Data+4), g.U32(kvmtest.Data+8); a != 0x556677c0 || b != 0x5566c1c0 || c != 0xc3c2c1c0 {
		t.Errorf("guest read %#x %#x %#x", a, b, c)
	}
}

func TestKVMIOEventFD(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	const dev = 0xd0000000
	pio, any, match, fast := kvmtest.EventFD(t), kvmtest.EventFD(t), kvmtest.EventFD(t), kvmtest.EventFD(t)
	events := []kvm.IOEvent{
		{Addr: 0x200, PIO: true, Len: 2, FD: pio},
		{Addr: 0x210, PIO: true, FD: any},
		{Addr: dev, Len: 4, Match: true, Data: 7, FD: match},
		{Addr: dev + 16, FD: fast},
	}
	for i := range events {
		kvmtest.Check(t, g.VM.AddIOEvent(&events[i]))
	}
	a := kvmtest.NewAsm(kvmtest.Org).MovEAX(7)
	a.MovEDX(0x200).OutAX().OutAX().OutAL() // the last leaves: wrong length
	a.MovEDX(0x210).OutAL().OutAX().OutEAX()
	a.StoreEAX(dev).MovEAX(8).StoreEAX(dev) // the last leaves: wrong value
	a.StoreAL(dev + 16).StoreAX(dev + 16).StoreEAX(dev + 16)
	a.Out(endPort, 0)
	g.Load(a)
	v := g.NewVCPU(t, 0)
	left := 0
	untilEnd(t, v, func(kvm.Exit) { left++ })
	if left != 2 {
		t.Errorf("%d accesses left the kernel, want 2", left)
	}
	for i, want := range []uint64{2, 3, 1, 3} {
		if got := kvmtest.Drain(t, events[i].FD); got != want {
			t.Errorf("eventfd %d signalled %d times, want %d", i, got, want)
		}
	}
	for i := range events {
		kvmtest.Check(t, g.VM.RemoveIOEvent(&events[i]))
	}
	if err := g.VM.RemoveIOEvent(&events[0]); err == nil {
		t.Error("removing twice succeeds")
	}
	g.Flat(t, v, kvmtest.Org)
	left = 0
	untilEnd(t, v, func(kvm.Exit) { left++ })
	if left != 11 {
		t.Errorf("%d accesses left the kernel after removal, want 11", left)
	}
}

// counting returns a guest that counts interrupts of vector 0x40, ends each at
// the local APIC and reports each on port 0x300, sleeping in between.
func counting(t *testing.T, g *kvmtest.Guest) *kvm.VCPU {
	t.Helper()
	a := kvmtest.NewAsm(kvmtest.Org)
	a.MovEAX(0x1ff).StoreEAX(0xfee000f0) // spurious vector 0xff, APIC on
	a.Out(0x301, 0)                      // ready
	a.Label("sleep").Sti().Hlt().Jmp("sleep")
	a.Label("irq").IncMem(kvmtest.Data).MovEAX(0).StoreEAX(0xfee000b0)
	a.LoadEAX(kvmtest.Data).MovEDX(0x300).OutAL()
	a.MovESP(kvmtest.StackTop).Jmp("sleep") // instead of iret, which KVM does not emulate here
	g.Load(a)
	g.Gate(0x40, a.Addr("irq"))
	return g.NewVCPU(t, 0)
}

func TestKVMInterruptsWakeHLT(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	efd := kvmtest.EventFD(t)
	const gsi, msiAddr = 24, 0xfee00000
	routes := append(kvm.DefaultRoutes(), kvm.Route{GSI: gsi, MSI: true, Addr: msiAddr, Data: 0x40})
	kvmtest.Check(t, g.VM.SetGSIRouting(routes))
	kvmtest.Check(t, g.VM.IRQFD(efd, gsi, -1))
	v := counting(t, g)

	io, err := g.VM.IOAPIC()
	kvmtest.Check(t, err)
	io.RedirTable[17] = 0x40 // edge, fixed, to APIC 0; the PICs do not see it
	kvmtest.Check(t, g.VM.SetIOAPIC(&io))

	// Each report sets off the next interrupt, by another way.
	kvmtest.Run(t, v, func(e kvm.Exit) bool {
		access, data := v.IO()
		if e != kvm.ExitIO || !access.Out {
			t.Fatalf("exit %v %+v", e, access)
		}
		switch {
		case access.Port == 0x301:
			ok, err := g.VM.SignalMSI(msiAddr, 0x40)
			if err != nil || !ok {
				t.Fatalf("SignalMSI: %v %v", ok, err)
			}
		case data[0] == 1:
			kvmtest.Signal(t, efd)
		case data[0] == 2:
			kvmtest.Check(t, g.VM.IRQLine(17, true))
			kvmtest.Check(t, g.VM.IRQLine(17, false))
		case data[0] == 3:
			kvmtest.Check(t, g.VM.RemoveIRQFD(efd, gsi))
			return false
		}
		return true
	})
	if n := g.U32(kvmtest.Data); n != 3 {
		t.Errorf("%d interrupts", n)
	}
}

func TestKVMResampledLevelInterrupt(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	efd, resample := kvmtest.EventFD(t), kvmtest.EventFD(t)
	kvmtest.Check(t, g.VM.IRQFD(efd, 18, resample))
	v := counting(t, g)
	io, err := g.VM.IOAPIC()
	kvmtest.Check(t, err)
	io.RedirTable[18] = 0x40 | 1<<15 // level
	kvmtest.Check(t, g.VM.SetIOAPIC(&io))
	kvmtest.Run(t, v, func(e kvm.Exit) bool {
		access, _ := v.IO()
		if access.Port == 0x301 {
			kvmtest.Signal(t, efd)
			return true
		}
		return g.U32(kvmtest.Data) == 0
	})
	if n := kvmtest.Drain(t, resample); n != 1 {
		t.Errorf("end of interrupt was reported %d times", n)
	}
}

func TestKVMTripleFault(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	// An IDT with limit 0: any exception becomes a triple fault.
	g.Load(kvmtest.NewAsm(kvmtest.Org).Lidt(kvmtest.Data).Raw(0x0f, 0x0b))
	v := g.NewVCPU(t, 0)
	kvmtest.Run(t, v, func(e kvm.Exit) bool {
		if e != kvm.ExitShutdown {
			t.Errorf("exit %v", e)
		}
		return false
	})
}

func TestKVMDirtyLog(t *testing.T) {
	sys := kvmtest.Open(t)
	for _, manual := range []bool{false, true} {
		g := kvmtest.NewGuest(t, sys, 1<<20)
		if manual {
			if g.VM.Check(kvm.CapManualDirtyLogProtect2)&kvm.DirtyLogManualProtect == 0 {
				t.Fatal("no manual dirty log protection")
			}
			kvmtest.Check(t, g.VM.EnableManualDirtyLogProtect(kvm.DirtyLogManualProtect))
		}
		kvmtest.Check(t, g.VM.SetUserMemoryRegion(g.Slot(kvm.MemLogDirtyPages)))
		a := kvmtest.NewAsm(kvmtest.Org).MovEAX(1)
		a.StoreEAX(0x50000).StoreEAX(0x81000).StoreEAX(0x81004).Out(endPort, 0)
		g.Load(a)
		v := g.NewVCPU(t, 0)
		run := func() []uint64 {
			g.Flat(t, v, kvmtest.Org)
			untilEnd(t, v, func(kvm.Exit) { t.Fatal("unexpected exit") })
			bm := make([]uint64, kvm.DirtyWords(uint64(len(g.Mem))))
			kvmtest.Check(t, g.VM.GetDirtyLog(0, uint64(len(g.Mem)), bm))
			return bm
		}
		check := func(what string, bm []uint64, want bool) {
			t.Helper()
			for _, page := range []int{0x50, 0x81} {
				if got := bm[page/64]>>(page%64)&1 == 1; got != want {
					t.Errorf("manual %v, %s: page %#x dirty %v", manual, what, page, got)
				}
			}
			if bm[0x60/64]>>(0x60%64)&1 != 0 {
				t.Errorf("manual %v, %s: untouched page is dirty", manual, what)
			}
		}
		check("after a run", run(), true)
		again := make([]uint64, 4)
		kvmtest.Check(t, g.VM.GetDirtyLog(0, uint64(len(g.Mem)), again))
		check("read again", again, manual)
		if manual {
			kvmtest.Check(t, g.VM.ClearDirtyLog(0, 0, 256, again))
			clear(again)
			kvmtest.Check(t, g.VM.GetDirtyLog(0, uint64(len(g.Mem)), again))
			check("cleared", again, false)
		}
		check("after another run", run(), true)
		if err := g.VM.GetDirtyLog(0, uint64(len(g.Mem)), nil); err == nil {
			t.Error("a missing bitmap is accepted")
		}
	}
}

func TestKVMRefusedMSRIsNamed(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	v := g.NewVCPU(t, 0)
	msrs := make([]kvm.MSR, 300) // more than one batch
	for i := range msrs {
		msrs[i].Index = 0x10 // TSC
	}
	kvmtest.Check(t, v.GetMSRs(msrs))
	if msrs[299].Value == 0 {
		t.Error("the last MSR was not read")
	}
	const none = 0x7fffffff
	msrs[200].Index = none
	var e *kvm.MSRError
	if err := v.GetMSRs(msrs); !errors.As(err, &e) || e.Index != none || e.Done != 200 || e.Write {
		t.Errorf("got %v", err)
	}
	if err := v.SetMSRs(msrs[200:]); !errors.As(err, &e) || e.Index != none || e.Done != 0 || !e.Write {
		t.Errorf("got %v", err)
	}
}

func TestKVMStateCalls(t *testing.T) {
	sys := kvmtest.Open(t)
	g := kvmtest.NewGuest(t, sys, 1<<20)
	kvmtest.Check(t, g.VM.CreatePIT2(kvm.PITSpeakerDummy))
	v := g.NewVCPU(t, 0)

	list, err := sys.MSRIndexList()
	kvmtest.Check(t, err)
	features, err := sys.MSRFeatureIndexList()
	kvmtest.Check(t, err)
	leaves, err := sys.SupportedCPUID()
	kvmtest.Check(t, err)
	if len(list) < 10 || len(features) == 0 || len(leaves) < 10 {
		t.Errorf("%d MSRs, %d feature MSRs, %d CPUID leaves", len(list), len(features), len(leaves))
	}
	kvmtest.Check(t, v.SetCPUID(leaves))
	if got, err := v.CPUID(); err != nil || len(got) == 0 || got[0] != leaves[0] {
		t.Errorf("%d leaves of %d: %v", len(got), len(leaves), err)
	}

	regs := kvm.Regs{RAX: 1, R15: 2, RIP: 3, RFLAGS: 0x202}
	kvmtest.Check(t, v.SetRegs(&regs))
	var r kvm.Regs
	kvmtest.Check(t, v.Regs(&r))
	if r != regs {
		t.Errorf("registers %+v", r)
	}
	const xmm3, xstateBV = 160 + 3*16, 512
	xs := make([]byte, v.XSaveSize())
	kvmtest.Check(t, v.XSave(xs))
	xs[xmm3], xs[xstateBV] = 0x77, xs[xstateBV]|3
	kvmtest.Check(t, v.SetXSave(xs))
	clear(xs)
	kvmtest.Check(t, v.XSave(xs))
	var f kvm.FPU
	kvmtest.Check(t, v.FPU(&f))
	if xs[xmm3] != 0x77 || f.XMM[3][0] != 0x77 {
		t.Errorf("XMM3 is %#x in the XSAVE area, %#x in the FPU state", xs[xmm3], f.XMM[3][0])
	}
	f.XMM[3][0] = 0x78
	kvmtest.Check(t, v.SetFPU(&f))
	kvmtest.Check(t, v.FPU(&f))
	if f.XMM[3][0] != 0x78 {
		t.Errorf("XMM3 is %#x in the FPU state", f.XMM[3][0])
	}
	if err := v.XSave(xs[:100]); err == nil {
		t.Error("a short XSAVE buffer is accepted")
	}
	x, err := v.XCR0()
	kvmtest.Check(t, err)
	kvmtest.Check(t, v.SetXCR0(x))
	var l kvm.LAPIC
	kvmtest.Check(t, v.LAPIC(&l))
	l.SetReg(kvm.LAPICTPR, 0x20)
	kvmtest.Check(t, v.SetLAPIC(&l))
	var l2 kvm.LAPIC
	kvmtest.Check(t, v.LAPIC(&l2))
	if l2.Reg(kvm.LAPICTPR) != 0x20 {
		t.Errorf("TPR %#x", l2.Reg(kvm.LAPICTPR))
	}
	kvmtest.Check(t, v.SetMPState(kvm.MPHalted))
	if s, err := v.MPState(); err != nil || s != kvm.MPHalted {
		t.Errorf("%v %v", s, err)
	}
	var e kvm.VCPUEvents
	kvmtest.Check(t, v.Events(&e))
	kvmtest.Check(t, v.SetEvents(&e))
	d := kvm.DebugRegs{DB: [4]uint64{1, 2, 3, 4}, DR6: 0xffff0ff0, DR7: 0x400}
	kvmtest.Check(t, v.SetDebugRegs(&d))
	var d2 kvm.DebugRegs
	kvmtest.Check(t, v.DebugRegs(&d2))
	if d2.DB != d.DB {
		t.Errorf("debug registers %+v", d2)
	}
	if khz, err := v.TSCKHz(); err != nil || khz <= 0 {
		t.Errorf("TSC frequency %d %v", khz, err)
	}
	if v.HasTSCOffset() {
		kvmtest.Check(t, v.SetTSCOffset(12345)) // PVM takes it but keeps its own
		_, err := v.TSCOffset()
		kvmtest.Check(t, err)
	}
	kvmtest.Check(t, v.KVMClockCtrl())
	kvmtest.Check(t, v.NMI())
	if tr, err := v.Translate(0x1234); err != nil || !tr.Valid || tr.Physical != 0x1234 {
		t.Errorf("%+v %v", tr, err)
	}
	if sys.Check(kvm.CapSregs2) != 0 {
		var s kvm.Sregs2
		kvmtest.Check(t, v.Sregs2(&s))
		kvmtest.Check(t, v.SetSregs2(&s))
	}
	if caps, err := sys.MCECap(); err == nil {
		kvmtest.Check(t, v.SetupMCE(caps|10))
	} else {
		t.Error(err)
	}
	max := sys.Check(kvm.CapNestedState)
	if n, err := v.NestedState(max); err != nil || (max == 0) != (n == nil) {
		t.Errorf("nested state %d bytes of %d, %v", len(n), max, err)
	}

	c, err := g.VM.Clock()
	kvmtest.Check(t, err)
	c.Nanoseconds += 1e12
	kvmtest.Check(t, g.VM.SetClock(&c))
	if c2, err := g.VM.Clock(); err != nil || c2.Nanoseconds < c.Nanoseconds {
		t.Errorf("clock %d after setting %d, %v", c2.Nanoseconds, c.Nanoseconds, err)
	}
	pic, err := g.VM.PIC(kvm.IRQChipPICSlave)
	kvmtest.Check(t, err)
	pic.IRQBase = 0x70
	kvmtest.Check(t, g.VM.SetPIC(kvm.IRQChipPICSlave, &pic))
	if p, err := g.VM.PIC(kvm.IRQChipPICSlave); err != nil || p != pic {
		t.Errorf("PIC %+v %v, want %+v", p, err, pic)
	}
	pit, err := g.VM.PIT()
	kvmtest.Check(t, err)
	pit.Channels[2].Count = 0x1234
	kvmtest.Check(t, g.VM.SetPIT(&pit))
	if p, err := g.VM.PIT(); err != nil || p.Channels[2].Count != 0x1234 {
		t.Errorf("PIT %+v %v", p, err)
	}
	kvmtest.Check(t, g.VM.SetPITReinject(false))
	if g.VM.MaxVCPUs() < 1 || g.VM.MaxVCPUID() < g.VM.MaxVCPUs() || g.VM.MaxRoutes() < 24 {
		t.Errorf("limits %d %d %d", g.VM.MaxVCPUs(), g.VM.MaxVCPUID(), g.VM.MaxRoutes())
	}
}

// A list that has no room where KVM puts it is asked for again with more.
func TestKVMListsGrow(t *testing.T) {
	sys := kvmtest.Open(t)
	entries, msrs, err := kvm.ListsGrowingFrom(sys, 1, 0)
	kvmtest.Check(t, err)
	wantEntries, err := sys.SupportedCPUID()
	kvmtest.Check(t, err)
	wantMSRs, err := sys.MSRIndexList()
	kvmtest.Check(t, err)
	if len(entries) != len(wantEntries) || len(entries) < 2 || !slices.Equal(msrs, wantMSRs) || len(msrs) == 0 {
		t.Errorf("%d leaves and %d MSRs, otherwise %d and %d", len(entries), len(msrs), len(wantEntries), len(wantMSRs))
	}
}
