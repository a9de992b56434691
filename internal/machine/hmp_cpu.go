package machine

import (
	"fmt"
	"io"

	"govmd/internal/kvm"
	"govmd/internal/machine/cpu"
	"govmd/internal/qmp"
)

// Register returns a register of a vCPU by the name that expressions of the human
// monitor have for it; known is false where there is none. It waits for the vCPU, and
// may be called from any goroutine but the lane's.
func (m *Machine) Register(index int, name string) (value int64, known bool, err error) {
	if index < 0 || index >= len(m.cpus) {
		return 0, false, nil
	}
	r, err := m.cpus[index].registers()
	if err != nil {
		return 0, false, err
	}
	v, known := r.Register(name)
	return int64(v), known, nil
}

// CPUs returns how many vCPUs there are. Any goroutine.
func (m *Machine) CPUs() int { return len(m.cpus) }

// registers reads the vCPU's registers. Where nothing executes they are what they
// were when the power came on.
func (c *VCPU) registers() (r *cpu.Registers, err error) {
	if c.thread == nil {
		return c.m.model.PowerOn(), nil
	}
	err = c.do(func(*kvm.VCPU) error {
		r, err = c.cpu.Registers()
		return err
	})
	return r, err
}

// cpuInfoCommands are the second words of `info` about vCPUs.
func (m *Machine) cpuInfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "cpus", Help: "show infos for each CPU",
			Run: func(ctx *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
				for _, c := range m.cpus {
					mark := ' '
					if c.index == ctx.CPU() {
						mark = '*'
					}
					if _, err := fmt.Fprintf(out, "%c CPU #%d: thread_id=%d\n", mark, c.index, c.threadID()); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			Name: "registers", Args: "cpustate_all:-a,vcpu:i?", Params: "[-a|vcpu]", NoLane: true,
			Help: "show the cpu registers (-a: show register info for all cpus; vcpu: specific vCPU to query; show the current CPU's registers if no argument is specified)",
			Run:  m.infoRegisters,
		},
	}
}

func (m *Machine) infoRegisters(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
	cpus := m.cpus
	if !a.Bool("cpustate_all") {
		n := a.Int("vcpu", int64(ctx.CPU()))
		if n < 0 || n >= int64(len(cpus)) {
			what := "No CPU available"
			if a.Has("vcpu") {
				what = fmt.Sprintf("CPU#%d not available", n)
			}
			_, err := fmt.Fprintln(out, what)
			return err
		}
		cpus = cpus[n : n+1]
	}
	for _, c := range cpus {
		r, err := c.registers()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "\nCPU#%d\n%s", c.index, r); err != nil {
			return err
		}
	}
	return nil
}
