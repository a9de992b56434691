package cpu

import (
	"fmt"
	"strings"
)

// definition is a CPU model by name, before it meets a host.
type definition struct {
	name, desc string
	level      uint32 // highest basic leaf
	xlevel     uint32 // highest extended leaf
	vendor     string // without KVM; with it the host's is taken
	family     uint32
	model      uint32
	stepping   uint32
	modelID    string
	features   Features
	all        bool // all that the host has, with the host's identity
	needsKVM   bool
}

// everyP6 is what every x86 processor since the Pentium Pro has.
const everyP6 = "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2"

// paravirtual is what models have of KVM's interfaces by default.
const paravirtual = "kvmclock kvm-nopiodelay kvm-asyncpf kvm-steal-time kvm-pv-eoi kvmclock-stable-bit x2apic hypervisor"

var definitions = []definition{
	{
		name: "qemu64", desc: "QEMU Virtual CPU version 2.5+",
		level: 0xd, xlevel: 0x8000000a, vendor: "AuthenticAMD", family: 15, model: 107, stepping: 1,
		modelID:  "QEMU Virtual CPU version 2.5+",
		features: set(everyP6 + " pni cx16 lm syscall nx lahf-lm " + paravirtual),
	},
	{
		name: "kvm64", desc: "Common KVM processor",
		level: 0xd, xlevel: 0x80000008, vendor: "GenuineIntel", family: 15, model: 6, stepping: 1,
		modelID:  "Common KVM processor",
		features: set(everyP6 + " vme pni cx16 lm syscall nx " + paravirtual),
	},
	{
		name: "base", desc: "base CPU model type with no features enabled",
		level: 0, xlevel: 0x80000008, vendor: "AuthenticAMD", modelID: "",
	},
	{name: "host", desc: "processor with all supported host features", all: true, needsKVM: true},
	{name: "max", desc: "Enables all features supported by the accelerator in the current host", all: true},
}

// DefaultModel is the model of machines that are not told one.
const DefaultModel = "qemu64"

func findDefinition(name string) *definition {
	name = strings.TrimSuffix(name, "-v1") // the only version that models have
	for i := range definitions {
		d := &definitions[i]
		if d.name == name {
			return d
		}
	}
	return nil
}

// TypeName returns the object type of a CPU model: "qemu64-x86_64-cpu".
func TypeName(model string) string { return model + "-x86_64-cpu" }

// ModelInfo describes a CPU model for lists of them.
type ModelInfo struct {
	Name, Description string
	AliasOf           string // or empty
}

// Models returns the CPU models that Parse knows.
func Models() []ModelInfo {
	var list []ModelInfo
	for _, d := range definitions {
		if d.all || d.name == "base" {
			list = append(list, ModelInfo{Name: d.name, Description: d.desc})
			continue
		}
		list = append(list, ModelInfo{Name: d.name, Description: "(alias configured by machine type)", AliasOf: d.name + "-v1"},
			ModelInfo{Name: d.name + "-v1", Description: d.desc})
	}
	return list
}

// Help returns what "-cpu help" prints.
func Help() string {
	var b strings.Builder
	b.WriteString("Available CPUs:\n")
	for _, m := range Models() {
		fmt.Fprintf(&b, "x86 %-20s  %s\n", m.Name, m.Description)
	}
	b.WriteString("\nRecognized CPUID flags:\n")
	line := " "
	for _, n := range FeatureNames() {
		if len(line)+1+len(n) > 78 {
			b.WriteString(line + "\n")
			line = " "
		}
		line += " " + n
	}
	b.WriteString(line + "\n")
	return b.String()
}
