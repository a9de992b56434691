package cpu

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"govmd/internal/kvm"
	"govmd/internal/kvm/kvmtest"
)

// A vCPU after power-on is at the reset vector, in real mode.
func TestKVMReset(t *testing.T) {
	m := newMachine(t, "max", Topology{Cores: 2})
	for i := range 2 {
		var before *State
		m.do(t, i, func() (err error) { before, err = m.cpus[i].Save(); return err })
		r, s := &before.Regs, &before.Sregs
		if r.RIP != 0xfff0 || r.RFLAGS != 2 || r.RDX != uint64(m.model.signature) {
			t.Errorf("vCPU %d: %+v", i, r)
		}
		if s.CS.Base != 0xffff0000 || s.CS.Selector != 0xf000 || s.CR0&1 != 0 || s.EFER != 0 || s.APICBase>>8&1 != uint64(1-i) {
			t.Errorf("vCPU %d: %+v", i, s)
		}
		if want := []kvm.MPState{kvm.MPRunnable, kvm.MPUninitialized}[i]; kvm.MPState(before.MPState) != want {
			t.Errorf("vCPU %d is %v", i, kvm.MPState(before.MPState))
		}
		if l := kvm.LAPIC(before.LAPIC); l.Reg(kvm.LAPICID)>>24 != uint32(i) || l.Reg(kvm.LAPICSVR) != 0xff {
			t.Errorf("vCPU %d: APIC id %#x, spurious %#x", i, l.Reg(kvm.LAPICID), l.Reg(kvm.LAPICSVR))
		}

		// Whatever is changed, a reset takes it back.
		m.do(t, i, func() error {
			s := *before
			s.Regs = kvm.Regs{RAX: 1, RIP: 0x1234, RFLAGS: 0x246}
			s.Sregs.CR2, s.Sregs.CR8 = 0x5678, 3
			s.DebugRegs.DB[1] = 0x1000
			s.XSave = append([]byte(nil), s.XSave...)
			s.XSave[160], s.XSave[512] = 0x55, s.XSave[512]|3
			s.LAPIC = append([]byte(nil), s.LAPIC...)
			s.LAPIC[kvm.LAPICTPR] = 0x30
			s.MSRs = append([]MSR(nil), s.MSRs...)
			for k := range s.MSRs {
				if s.MSRs[k].Index == 0x174 { // SYSENTER_CS
					s.MSRs[k].Value = 8
				}
			}
			s.MPState = uint32(kvm.MPHalted)
			if err := m.cpus[i].Load(&s); err != nil {
				return err
			}
			changed, err := m.cpus[i].Save()
			if err != nil {
				return err
			}
			if changed.Regs != s.Regs || changed.DebugRegs.DB != s.DebugRegs.DB || changed.XSave[160] != 0x55 || changed.MPState != s.MPState {
				t.Errorf("vCPU %d: loaded %+v", i, changed)
			}
			if err := m.cpus[i].Reset(); err != nil {
				return err
			}
			after, err := m.cpus[i].Save()
			if err != nil {
				return err
			}
			same(t, before, after)
			return nil
		})
	}
}

// same compares what does not move by itself: the TSC does.
func same(t *testing.T, a, b *State) {
	t.Helper()
	mask := func(s *State) State {
		c := *s
		c.MSRs = nil
		for _, m := range s.MSRs {
			switch m.Index {
			case msrTSC:
			default:
				c.MSRs = append(c.MSRs, m)
			}
		}
		return c
	}
	x, y := mask(a), mask(b)
	if !reflect.DeepEqual(x, y) {
		for i := range x.MSRs {
			if i < len(y.MSRs) && x.MSRs[i] != y.MSRs[i] {
				t.Errorf("MSR %#x: %#x, %#x", x.MSRs[i].Index, x.MSRs[i].Value, y.MSRs[i].Value)
			}
		}
		if !bytes.Equal(x.XSave, y.XSave) {
			t.Error("extended states differ")
		}
		if !bytes.Equal(x.LAPIC, y.LAPIC) {
			t.Error("local APICs differ")
		}
		x.XSave, y.XSave, x.LAPIC, y.LAPIC, x.MSRs, y.MSRs = nil, nil, nil, nil, nil, nil
		if !reflect.DeepEqual(x, y) {
			t.Errorf("states differ:\n%+v\n%+v", x, y)
		}
	}
}

// A guest is saved in the middle of its work and goes on in another machine.
func TestKVMSaveAndLoad(t *testing.T) {
	const topo = 2
	a := newMachine(t, "max", Topology{Cores: topo})
	// Counts in EBX and memory, sleeping for an interrupt in between.
	code := kvmtest.NewAsm(kvmtest.Org).MovEAX(0x1ff).StoreEAX(0xfee000f0)
	code.MovEBX(0x77)
	code.Out(0x101, 0)
	code.Label("sleep").Sti().Hlt().Jmp("sleep")
	code.Label("irq").IncMem(kvmtest.Data).MovEAX(0).StoreEAX(0xfee000b0)
	code.LoadEAX(kvmtest.Data).MovEDX(0x100).OutAL().MovESP(kvmtest.StackTop).Jmp("sleep")
	a.Load(code)
	a.Gate(0x40, code.Addr("irq"))
	a.do(t, 0, func() error { a.Flat(t, a.cpus[0].KVM(), kvmtest.Org); return nil })
	for _, th := range a.threads {
		th.Resume()
	}
	a.hear(t, "101/1: 0")
	interrupt := func(m *machine) {
		_, err := m.VM.SignalMSI(0xfee00000, 0x40)
		kvmtest.Check(t, err)
	}
	interrupt(a)
	a.hear(t, "100/1: 1")
	for _, th := range a.threads {
		th.Pause()
	}
	var states [topo][]byte
	for i := range states {
		a.do(t, i, func() error {
			s, err := a.cpus[i].Save()
			if err == nil {
				states[i], err = cbor.Marshal(s)
			}
			return err
		})
	}

	b := newMachine(t, "max", Topology{Cores: topo})
	copy(b.Mem, a.Mem)
	for i := range states {
		var in State
		kvmtest.Check(t, cbor.Unmarshal(states[i], &in))
		b.do(t, i, func() error {
			if err := b.cpus[i].Load(&in); err != nil {
				return err
			}
			out, err := b.cpus[i].Save()
			if err == nil {
				same(t, &in, out)
			}
			return err
		})
	}
	for _, th := range b.threads {
		th.Resume()
	}
	interrupt(b)
	b.hear(t, "100/1: 2")
	b.do(t, 0, func() error {
		var r kvm.Regs
		err := b.cpus[0].KVM().Regs(&r)
		if r.RBX != 0x77 {
			t.Errorf("RBX %#x", r.RBX)
		}
		return err
	})
}

func TestKVMLoadRefusesWhatCannotBe(t *testing.T) {
	m := newMachine(t, "max", Topology{})
	var good *State
	m.do(t, 0, func() (err error) { good, err = m.cpus[0].Save(); return err })
	for name, spoil := range map[string]func(*State){
		"short extended state": func(s *State) { s.XSave = s.XSave[:100] },
		"no local APIC":        func(s *State) { s.LAPIC = nil },
		"multiprocessing":      func(s *State) { s.MPState = 99 },
		"many MSRs":            func(s *State) { s.MSRs = make([]MSR, maxSavedMSRs+1) },
		"nested":               func(s *State) { s.Nested = make([]byte, 1<<20) },
		"frequency":            func(s *State) { s.TSCKHz = -1 },
		"registers":            func(s *State) { s.Sregs.CR0, s.Sregs.EFER = 1<<31, 1<<10 }, // paging without protection
	} {
		bad := *good
		spoil(&bad)
		var err error
		m.do(t, 0, func() error { err = m.cpus[0].Load(&bad); return nil })
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	// An MSR that does not exist is left out.
	odd := *good
	odd.MSRs = append([]MSR{{Index: 0x7fffffff, Value: 1}}, good.MSRs...)
	m.do(t, 0, func() error { return m.cpus[0].Load(&odd) })
	m.do(t, 0, m.cpus[0].Reset)
}

// The leaves that a model makes are accepted for every model.
func TestKVMModels(t *testing.T) {
	for _, spec := range []string{"qemu64", "kvm64", "host", "max,migratable=off", "base", "host,pmu=off,kvm=off,-x2apic"} {
		m := newMachine(t, spec, Topology{Sockets: 2, Cores: 2, Threads: 2})
		got, err := m.cpus[7].KVM().CPUID()
		kvmtest.Check(t, err)
		if len(got) < 3 {
			t.Errorf("%s: %d leaves", spec, len(got))
		}
	}
}
