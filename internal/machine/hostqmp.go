package machine

import (
	"govmd/internal/runstate"
	"slices"

	"govmd/internal/device/pci"
	"govmd/internal/kvm"
	"govmd/internal/machine/cpu"
	"govmd/internal/qmp"
)

type targetInfo struct {
	Arch target `qmp:"arch"`
}

type machineInfo struct {
	Name             string  `qmp:"name"`
	Alias            *string `qmp:"alias"`
	IsDefault        bool    `qmp:"is-default,optional"`
	CPUMax           int     `qmp:"cpu-max"`
	HotpluggableCPUs bool    `qmp:"hotpluggable-cpus"`
	NUMAMemSupported bool    `qmp:"numa-mem-supported"`
	Deprecated       bool    `qmp:"deprecated"`
	DefaultCPUType   *string `qmp:"default-cpu-type"`
	DefaultRAMID     *string `qmp:"default-ram-id"`
}

type currentMachine struct {
	WakeupSuspendSupport bool `qmp:"wakeup-suspend-support"`
}

// hostCommands returns the commands about kinds of machines and this one's own.
func (m *Machine) hostCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-target", func(*qmp.Context, *qmp.None) (targetInfo, error) {
			return targetInfo{"x86_64"}, nil
		}, qmp.NoLane, qmp.Preconfig),
		qmp.New("query-machines", func(*qmp.Context, *qmp.None) ([]machineInfo, error) {
			return machineInfos(), nil
		}, qmp.NoLane, qmp.Preconfig),
		qmp.New("query-current-machine", func(*qmp.Context, *qmp.None) (currentMachine, error) {
			_, sleeps := m.Board.(sleeper)
			return currentMachine{sleeps}, nil
		}),
		qmp.New("cpu", func(c *qmp.Context, a *struct {
			Index int64 `qmp:"index"`
		}) (qmp.None, error) {
			return qmp.None{}, m.setCurrentCPU(c, a.Index)
		}, qmp.Deprecated),
		qmp.NewAsync("inject-nmi", func(_ *qmp.Context, _ *qmp.None, r *qmp.Reply[qmp.None]) {
			m.injectNMI(func(err error) { r.Finish(qmp.None{}, err) })
		}),
		qmp.New("rtc-reset-reinjection", func(*qmp.Context, *qmp.None) (qmp.None, error) {
			if r := m.rtc(); r != nil {
				r.ForgetMissed()
			}
			return qmp.None{}, nil
		}),
	}
}

func machineInfos() []machineInfo {
	list := []machineInfo{}
	for _, b := range Boards() {
		i := machineInfo{Name: b.Name, CPUMax: b.MaxCPUs, IsDefault: b.Default}
		if b.Alias != "" {
			i.Alias = &b.Alias
		}
		if o, err := NewBoard(b.Name); err == nil {
			ram := ramName(o)
			i.DefaultRAMID = &ram
		}
		if b.RAM {
			cpuType := cpu.TypeName(b.DefaultCPU)
			i.DefaultCPUType = &cpuType
		}
		list = append(list, i)
	}
	return list
}

// injectNMI pulses LINT1 of every vCPU, as the NMI button of a PC does, and calls done
// then. vCPUs are asked off the lane, as one may be long in coming.
func (m *Machine) injectNMI(done func(error)) {
	if len(m.cpus) == 0 {
		done(qmp.Errorf("machine does not provide NMIs"))
		return
	}
	cpus := slices.Clone(m.cpus)
	m.queries.Go(func() {
		for _, c := range cpus {
			if err := c.do(pulseLINT1); err != nil {
				done(err)
				return
			}
		}
		done(nil)
	})
}

// watchdog does what a watchdog that has expired is to do to the machine.
func (m *Machine) watchdog(a runstate.WatchdogAction) {
	if a == runstate.WatchdogDebug {
		m.log().Warn("the guest has not fed its watchdog in time")
		return
	}
	m.injectNMI(func(err error) {
		if err != nil {
			m.log().Warnf("watchdog: %v", err)
		}
	})
}

// Fields of a local vector table entry (SDM volume 3, section 11.5.1).
const (
	lvtMasked      = 1 << 16
	lvtDelivery    = 7 << 8
	lvtDeliveryNMI = 4 << 8
)

// pulseLINT1 has the vCPU take an NMI if its guest has its local APIC deliver one.
func pulseLINT1(v *kvm.VCPU) error {
	var l kvm.LAPIC
	if err := v.LAPIC(&l); err != nil {
		return err
	}
	if !deliversNMI(l.Reg(kvm.LAPICLVT1)) {
		return nil
	}
	return v.NMI()
}

// deliversNMI reports whether a local vector table entry makes its line an NMI.
func deliversNMI(lvt uint32) bool { return lvt&lvtMasked == 0 && lvt&lvtDelivery == lvtDeliveryNMI }

// pciBus returns the board's PCI bus, or nil.
func (m *Machine) pciBus() *pci.Bus {
	if b, ok := m.Board.(interface{ pciBus() *pci.Bus }); ok {
		return b.pciBus()
	}
	return nil
}

// pciCommands returns the commands about the PCI bus.
func (m *Machine) pciCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-pci", func(*qmp.Context, *qmp.None) ([]pci.BusInfo, error) {
			list := []pci.BusInfo{}
			if b := m.pciBus(); b != nil {
				list = append(list, b.Info())
			}
			return list, nil
		}),
	}
}
