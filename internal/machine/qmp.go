package machine

import (
	"slices"

	"govmd/internal/device/rtc"
	"govmd/internal/device/virtio/console"
	"govmd/internal/event"
	"govmd/internal/kvm"
	"govmd/internal/machine/cpu"
	"govmd/internal/machine/qtest"
	"govmd/internal/qmp"
	"govmd/internal/runstate"
)

type nameInfo struct {
	Name string `qmp:"name,optional"`
}

type uuidInfo struct {
	UUID string `qmp:"UUID"`
}

type kvmInfo struct {
	Enabled bool `qmp:"enabled"`
	Present bool `qmp:"present"`
}

// cpuProps is where a vCPU is plugged in.
type cpuProps struct {
	NodeID   *int64 `qmp:"node-id"`
	SocketID *int64 `qmp:"socket-id"`
	DieID    *int64 `qmp:"die-id"`
	CoreID   *int64 `qmp:"core-id"`
	ThreadID *int64 `qmp:"thread-id"`
}

// cpuInfo is what query-cpus tells of a vCPU.
type cpuInfo struct {
	CPU      int64    `qmp:"CPU"`
	Current  bool     `qmp:"current"`
	Halted   bool     `qmp:"halted"`
	QOMPath  string   `qmp:"qom_path"`
	ThreadID int64    `qmp:"thread_id"`
	Props    cpuProps `qmp:"props"`
	Arch     cpuArch  `qmp:"arch"`
	PC       uint64   `qmp:"pc"`
}

type cpuFastInfo struct {
	CPUIndex int64    `qmp:"cpu-index"`
	QOMPath  string   `qmp:"qom-path"`
	ThreadID int64    `qmp:"thread-id"`
	Props    cpuProps `qmp:"props"`
	Target   target   `qmp:"target"`
}

type cpuArch string

// EnumValues lists what vCPUs can be.
func (cpuArch) EnumValues() []string {
	return []string{"x86", "sparc", "ppc", "mips", "tricore", "s390", "riscv", "other"}
}

type target string

// EnumValues lists the targets.
func (target) EnumValues() []string { return []string{"x86_64"} }

// Events are the events that the machine's devices publish.
func Events() []event.Event { return append(rtc.Events(), console.PortChange{}) }

// QtestTarget is the machine as the qtest protocol drives it.
func (m *Machine) QtestTarget() qtest.Target {
	return qtest.Target{Mem: m.mem, IO: m.io, Clock: m.Env.Clock.Virtual, Lane: m.Lane, Root: m.Root}
}

// Commands returns the commands about the machine itself.
func (m *Machine) Commands() []qmp.Command {
	return append(slices.Concat(m.memoryCommands(), m.memsaveCommands(), m.hostCommands(), m.cpuModelCommands(), m.pciCommands(), m.ospmCommands(), m.Env.Input.Commands(), tpmCommands(), absentCommands()),
		qmp.New("query-name", func(*qmp.Context, *qmp.None) (nameInfo, error) {
			return nameInfo{m.Name}, nil
		}, qmp.NoLane, qmp.Preconfig),
		qmp.New("query-uuid", func(*qmp.Context, *qmp.None) (uuidInfo, error) {
			return uuidInfo{m.UUID.String()}, nil
		}, qmp.NoLane, qmp.Preconfig),
		qmp.New("query-kvm", func(*qmp.Context, *qmp.None) (kvmInfo, error) {
			return kvmInfo{Enabled: m.Accel != nil && m.Accel.Name() == "kvm", Present: true}, nil
		}, qmp.Preconfig),
		qmp.New("query-cpus-fast", func(*qmp.Context, *qmp.None) ([]cpuFastInfo, error) {
			list := []cpuFastInfo{}
			for _, c := range m.cpus {
				list = append(list, cpuFastInfo{
					CPUIndex: int64(c.index), QOMPath: c.Path(), ThreadID: c.threadID(), Props: m.cpuProps(c.index), Target: "x86_64",
				})
			}
			return list, nil
		}),
		qmp.NewAsync("query-cpus", func(c *qmp.Context, _ *qmp.None, r *qmp.Reply[[]cpuInfo]) {
			m.queryCPUs(m.currentCPU(c), r)
		}),
	)
}

func (m *Machine) cpuProps(index int) cpuProps {
	l := m.topology().Location(index)
	p := cpuProps{SocketID: number(l.Socket), CoreID: number(l.Core), ThreadID: number(l.Thread)}
	if m.SMP.Dies > 1 {
		p.DieID = number(l.Die)
	}
	if len(m.NUMA.Nodes) > 0 {
		p.NodeID = number(m.nodeOf(index))
	}
	return p
}

func number(v int) *int64 {
	n := int64(v)
	return &n
}

// queryCPUs asks each vCPU's thread for its registers, which interrupts the
// guest; it does so off the lane, so that a vCPU that is long in coming holds
// up nobody but the asker.
func (m *Machine) queryCPUs(current int64, r *qmp.Reply[[]cpuInfo]) {
	cpus := append([]*VCPU(nil), m.cpus...)
	infos := make([]cpuInfo, 0, len(cpus))
	for _, c := range cpus {
		infos = append(infos, cpuInfo{
			CPU: int64(c.index), Current: int64(c.index) == current, QOMPath: c.Path(), ThreadID: c.threadID(), Props: m.cpuProps(c.index), Arch: "x86",
		})
	}
	m.queries.Go(func() {
		for i, c := range cpus {
			pc, halted, err := c.position()
			if err != nil {
				r.Fail(err)
				return
			}
			infos[i].PC, infos[i].Halted = pc, halted
		}
		r.Return(infos)
	})
}

func (m *Machine) topology() cpu.Topology { return m.SMP.topology() }

// vcpuStopped turns a vCPU's own stop into what it means for the machine.
func (m *Machine) vcpuStopped(c *VCPU, s *kvm.Stop) {
	switch {
	case s.Kind == kvm.StopShutdown, s.Kind == kvm.StopSystemEvent && s.Event.Type == kvm.SystemEventReset:
		// A triple fault is the processor's way of asking for a reset.
		m.Run.RequestReset(runstate.CauseGuestReset)
		return
	case s.Kind == kvm.StopSystemEvent && s.Event.Type == kvm.SystemEventShutdown:
		m.Run.RequestShutdown(runstate.CauseGuestShutdown)
		return
	case s.Kind == kvm.StopSystemEvent && s.Event.Type == kvm.SystemEventCrash:
		m.Run.RequestPanicked()
		return
	case s.Kind == kvm.StopDebug:
		m.Run.RequestStop(runstate.Debug)
		return
	}
	m.log().Errorf("vCPU %d: %s", c.index, s)
	c.dump()
	m.Run.RequestStop(runstate.InternalError)
}
