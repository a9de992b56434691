package machine

import (
	"slices"

	"govmd/internal/machine/cpu"
	"govmd/internal/object"
)

// cpuProperties are those of vCPUs, which -cpu and -smp have set: where one is, and
// what it is.
func cpuProperties() []object.Property {
	place := func(name string, part func(cpu.Location) int) object.Property {
		return object.Getter(name, "int32", func(c *VCPU) any { return int64(part(c.m.topology().Location(c.index))) }, "")
	}
	model := func(name, kind string, get func(*cpu.Model) any) object.Property {
		return object.Getter(name, kind, func(c *VCPU) any { return get(c.m.model) }, "")
	}
	identity := func(name string, which int) object.Property {
		return model(name, "int", func(m *cpu.Model) any {
			family, model, stepping := m.Identity()
			return int64([]uint32{family, model, stepping}[which])
		})
	}
	list := []object.Property{
		object.Getter("apic-id", "uint32", func(c *VCPU) any { return uint64(c.apicID) }, ""),
		object.Getter("node-id", "int32", func(c *VCPU) any {
			if len(c.m.NUMA.Nodes) == 0 {
				return int64(-1)
			}
			return int64(c.m.nodeOf(c.index))
		}, ""),
		place("socket-id", func(l cpu.Location) int { return l.Socket }),
		place("die-id", func(l cpu.Location) int { return l.Die }),
		place("core-id", func(l cpu.Location) int { return l.Core }),
		place("thread-id", func(l cpu.Location) int { return l.Thread }),
		identity("family", 0), identity("model", 1), identity("stepping", 2),
		model("vendor", "string", func(m *cpu.Model) any { return m.Vendor }),
		model("model-id", "string", func(m *cpu.Model) any { return m.ModelID }),
		model("level", "uint32", func(m *cpu.Model) any { return uint64(m.Level) }),
		model("xlevel", "uint32", func(m *cpu.Model) any { return uint64(m.XLevel) }),
		model("phys-bits", "uint32", func(m *cpu.Model) any { return uint64(m.PhysBits) }),
		model("pmu", "bool", func(m *cpu.Model) any { return m.PMU }),
		model("unavailable-features", "strList", func(m *cpu.Model) any { return slices.Concat([]string{}, m.Unavailable) }),
	}
	for _, name := range cpu.FeatureNames() {
		list = append(list, model(name, "bool", func(m *cpu.Model) any { return m.Features.Has(name) }))
	}
	return list
}
