package machine

import (
	"errors"
	"fmt"
	"os"

	"govmd/internal/device"
	"govmd/internal/kvm"
	"govmd/internal/machine/accel"
	"govmd/internal/machine/boot"
	"govmd/internal/machine/cpu"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

// VCPU is a virtual processor as a device of the machine.
type VCPU struct {
	device.Base
	m      *Machine
	index  int
	apicID uint32
	thread *kvm.Thread // nil where nothing executes
	cpu    *cpu.VCPU   // of the thread
}

func init() {
	device.Register(object.Type{Name: "cpu", Abstract: true})
	device.Register(object.Type{Name: "x86_64-cpu", Parent: "cpu", Abstract: true, Props: cpuProperties()})
	for _, model := range cpu.Models() {
		device.Register(object.Type{
			Name: cpu.TypeName(model.Name), Parent: "x86_64-cpu", Description: model.Description,
			New: func() object.Object { return &VCPU{} },
		})
	}
}

// chooseAccel makes the accelerator that the configuration names.
func (m *Machine) chooseAccel() error {
	if !m.Board.common().info.RAM {
		return nil
	}
	switch m.Config.Accel {
	case "kvm", "":
		a, err := accel.NewKVM(m.log(), m.wantsPIT())
		if err != nil {
			return fmt.Errorf("failed to initialize kvm: %w", err)
		}
		m.Accel, m.Env.MSI, m.Env.KVM = a, a.MSI(), true
		if m.CPUPM {
			return a.LeaveIdle()
		}
		return nil
	case "qtest":
		a := accel.NewQtest(m.log())
		m.Accel, m.Env.MSI = a, a.MSI()
		m.Env.Clock.Virtual.SetManual()
		return nil
	}
	return fmt.Errorf("invalid accelerator %s: kvm and qtest are supported", m.Config.Accel)
}

// wantsPIT reports whether the machine has an interval timer.
func (m *Machine) wantsPIT() bool {
	if b, ok := m.Board.(interface{ wantsPIT() bool }); ok {
		return b.wantsPIT()
	}
	return true
}

// makeVCPUs resolves the CPU model and starts a paused thread for each vCPU.
func (m *Machine) makeVCPUs() error {
	text := m.CPU
	if text == "" {
		text = m.Board.common().info.DefaultCPU
	}
	spec, warnings, err := cpu.Parse(text)
	m.warn(warnings)
	if err != nil {
		return err
	}
	a, onKVM := m.Accel.(*accel.KVM)
	var host *cpu.Host
	if onKVM {
		if host, err = cpu.NewHost(a.System); err != nil {
			return err
		}
	}
	model, warnings, err := spec.Resolve(host, m.topology())
	m.warn(warnings)
	if err != nil {
		return err
	}
	m.model = model
	m.blockState()
	var set *cpu.Set
	if onKVM {
		if set, err = cpu.Prepare(cpu.Config{System: a.System, VM: a.VM, Log: m.log(), Model: model}); err != nil {
			return err
		}
	}
	for i := range m.SMP.CPUs {
		d, err := m.create(spec.TypeName())
		if err != nil {
			return err
		}
		c := d.(*VCPU)
		c.m, c.index, c.apicID = m, i, m.topology().APICID(i)
		if onKVM {
			if err := c.start(a, set); err != nil {
				return err
			}
		}
		device.PlaceUnattached(m.Env, c)
		if err := device.Plug(m.Env, nil, c); err != nil {
			return err
		}
		m.cpus = append(m.cpus, c)
	}
	return nil
}

func (m *Machine) warn(warnings []string) {
	for _, w := range warnings {
		m.log().Warn(w)
	}
}

func (c *VCPU) start(a *accel.KVM, set *cpu.Set) error {
	t, err := a.StartVCPU(c.index, int(c.apicID), func(s *kvm.Stop) {
		c.m.vcpuStopped(c, s)
	})
	if err != nil {
		return err
	}
	c.thread = t
	return c.do(func(v *kvm.VCPU) (err error) {
		if c.cpu, err = set.Setup(v, c.index); err != nil {
			return err
		}
		return c.cpu.StopTSC()
	})
}

// runChanged has what is saved of the vCPU's time be that of its stopping.
func (c *VCPU) runChanged(running bool, _ runstate.State) {
	err := c.do(func(*kvm.VCPU) error {
		if running {
			c.cpu.StartTSC()
			return nil
		}
		return c.cpu.StopTSC()
	})
	if err != nil {
		c.m.log().Debugf("vCPU %d: TSC: %v", c.index, err)
	}
}

// do runs fn on the vCPU's thread.
func (c *VCPU) do(fn func(*kvm.VCPU) error) (err error) {
	if c.thread == nil {
		return nil
	}
	if e := c.thread.Do(func(v *kvm.VCPU) { err = fn(v) }); e != nil {
		return e
	}
	return err
}

// Realize implements device.Device.
func (c *VCPU) Realize() error {
	if c.m == nil {
		return errors.New("vCPUs are made by -smp")
	}
	if c.thread != nil {
		c.Defer(c.Env().Run.AddNotifier(0, c.runChanged))
	}
	return nil
}

// Unrealize implements device.Device.
func (c *VCPU) Unrealize() {}

// StateName implements device.StateNamer.
func (c *VCPU) StateName() string { return fmt.Sprintf("cpu/%d", c.index) }

// States implements device.Stater.
func (c *VCPU) States() []state.Entry {
	if c.thread == nil {
		return nil
	}
	return []state.Entry{{
		Version: cpu.StateVersion, Priority: state.PriorityLast,
		Save: func() (any, error) {
			var s *cpu.State
			err := c.do(func(*kvm.VCPU) (err error) { s, err = c.cpu.Save(); return err })
			return s, err
		},
		New: func() any { return &cpu.State{} },
		Load: func(v any, _ int) error {
			return c.do(func(*kvm.VCPU) error { return c.cpu.Load(v.(*cpu.State)) })
		},
	}}
}

// reset puts the vCPU into the state after power-on.
func (c *VCPU) reset() error {
	return c.do(func(*kvm.VCPU) error { return c.cpu.Reset() })
}

// enter has the vCPU begin at an entry point instead of the reset vector.
func (c *VCPU) enter(e *boot.Entry) error {
	return c.do(func(*kvm.VCPU) error { return c.cpu.Enter(e) })
}

// withoutFirmware does what firmware would have done to the vCPU.
func (c *VCPU) withoutFirmware() error {
	return c.do(func(*kvm.VCPU) error { return c.cpu.WithoutFirmware() })
}

// setPC has the vCPU begin at an address, in the mode that it is in.
func (c *VCPU) setPC(pc uint64) error {
	return c.do(func(*kvm.VCPU) error {
		return c.cpu.SetRegisters(func(r *kvm.Regs, _ *kvm.Sregs) { r.RIP = pc })
	})
}

// threadID is the host's id of the vCPU's thread; the process's where there is none.
func (c *VCPU) threadID() int64 {
	if c.thread == nil {
		return int64(os.Getpid())
	}
	return int64(c.thread.TID())
}

// position returns where the vCPU is and whether it sleeps.
func (c *VCPU) position() (pc uint64, halted bool, err error) {
	err = c.do(func(v *kvm.VCPU) error {
		mp, err := v.MPState()
		if err != nil {
			return err
		}
		var r kvm.Regs
		if err := v.Regs(&r); err != nil {
			return err
		}
		var s kvm.Sregs
		if err := v.Sregs(&s); err != nil {
			return err
		}
		pc, halted = s.CS.Base+r.RIP, mp != kvm.MPRunnable
		return nil
	})
	return pc, halted, err
}

// dump logs the vCPU's registers. It runs on the vCPU's own thread.
func (c *VCPU) dump() {
	_ = c.do(func(v *kvm.VCPU) error {
		var r kvm.Regs
		var s kvm.Sregs
		if err := errors.Join(v.Regs(&r), v.Sregs(&s)); err != nil {
			return err
		}
		c.m.log().Errorf("vCPU %d: RIP %#x RFLAGS %#x RSP %#x RAX %#x RBX %#x RCX %#x RDX %#x RSI %#x RDI %#x CS %#x base %#x CR0 %#x CR2 %#x CR3 %#x CR4 %#x EFER %#x",
			c.index, r.RIP, r.RFLAGS, r.RSP, r.RAX, r.RBX, r.RCX, r.RDX, r.RSI, r.RDI, s.CS.Selector, s.CS.Base, s.CR0, s.CR2, s.CR3, s.CR4, s.EFER)
		return nil
	})
}
