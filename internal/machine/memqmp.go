package machine

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"govmd/internal/qmp"
)

type memorySummary struct {
	Base    qmp.Size `qmp:"base-memory"`
	Plugged qmp.Size `qmp:"plugged-memory"`
}

// memoryDevice is a piece of memory that was added, of which there are none yet.
type memoryDevice struct {
	Type string     `qmp:"type"`
	Data qmp.Object `qmp:"data"`
}

// hotpluggableCPU is a place for a CPU, and what is there.
type hotpluggableCPU struct {
	Type    string   `qmp:"type"`
	Count   int64    `qmp:"vcpus-count"`
	Props   cpuProps `qmp:"props"`
	QOMPath *string  `qmp:"qom-path"`
}

// memoryCommands are the commands about what memory and CPUs there are.
func (m *Machine) memoryCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-memory-size-summary", func(*qmp.Context, *qmp.None) (memorySummary, error) {
			return memorySummary{Base: qmp.Size(m.RAM)}, nil
		}),
		qmp.New("query-memory-devices", func(*qmp.Context, *qmp.None) ([]memoryDevice, error) { return []memoryDevice{}, nil }),
		qmp.New("query-hotpluggable-cpus", func(*qmp.Context, *qmp.None) ([]hotpluggableCPU, error) { return m.hotpluggableCPUs() },
			qmp.Preconfig),
	}
}

func (m *Machine) hotpluggableCPUs() ([]hotpluggableCPU, error) {
	if len(m.cpus) == 0 {
		return nil, qmp.Errorf("machine does not support hot-plugging CPUs")
	}
	list := make([]hotpluggableCPU, m.SMP.MaxCPUs)
	for i := range list {
		list[i] = hotpluggableCPU{Type: m.cpus[0].TypeName(), Count: 1, Props: m.cpuProps(i)}
	}
	for _, c := range m.cpus {
		path := c.Path()
		list[c.index].QOMPath = &path
	}
	slices.Reverse(list) // the last place first, as clients know it
	return list, nil
}

// memoryInfoCommands are the second words of `info` about memory and CPUs to come.
func (m *Machine) memoryInfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{Name: "numa", Help: "show NUMA information", Run: m.infoNUMA},
		{
			Name: "memory_size_summary", Help: "show the amount of initially allocated and present hotpluggable (if enabled) memory in bytes.",
			Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
				_, err := fmt.Fprintf(out, "base memory: %d\nplugged memory: 0\n", m.RAM)
				return err
			},
		},
		{
			Name: "memory-devices", Help: "show memory devices",
			Run: func(*qmp.Context, qmp.HumanArgs, io.Writer) error { return nil },
		},
		{Name: "tpm", Help: "show the TPM device", Run: infoTPM},
		{Name: "hotpluggable-cpus", Help: "Show information about hotpluggable CPUs", Run: m.infoHotpluggable},
	}
}

func (m *Machine) infoNUMA(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d nodes\n", len(m.NUMA.Nodes))
	for id, node := range m.NUMA.Nodes {
		fmt.Fprintf(&b, "node %d cpus:", id)
		for _, c := range m.cpus {
			if m.nodeOf(c.index) == id {
				fmt.Fprintf(&b, " %d", c.index)
			}
		}
		fmt.Fprintf(&b, "\nnode %d size: %d MB\nnode %d plugged: 0 MB\n", id, node.Size>>20, id)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (m *Machine) infoHotpluggable(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
	list, err := m.hotpluggableCPUs()
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("Hotpluggable CPUs:\n")
	for _, c := range list {
		fmt.Fprintf(&b, "  type: \"%s\"\n  vcpus_count: \"%d\"\n", c.Type, c.Count)
		if c.QOMPath != nil {
			fmt.Fprintf(&b, "  qom_path: \"%s\"\n", *c.QOMPath)
		}
		b.WriteString("  CPUInstance Properties:\n")
		for _, p := range []struct {
			name  string
			value *int64
		}{
			{"node-id", c.Props.NodeID}, {"socket-id", c.Props.SocketID}, {"die-id", c.Props.DieID},
			{"core-id", c.Props.CoreID}, {"thread-id", c.Props.ThreadID},
		} {
			if p.value != nil {
				fmt.Fprintf(&b, "    %s: \"%d\"\n", p.name, *p.value)
			}
		}
	}
	_, err = io.WriteString(out, b.String())
	return err
}
