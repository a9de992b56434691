package machine

import (
	"fmt"

	"govmd/internal/machine/cpu"
)

// SMP is the arrangement of vCPUs: how many there are at the start, how many
// there may become, and how they are grouped.
type SMP struct {
	CPUs, MaxCPUs                 int
	Sockets, Dies, Cores, Threads int
}

func (s SMP) topology() cpu.Topology {
	return cpu.Topology{Sockets: s.Sockets, Dies: s.Dies, Cores: s.Cores, Threads: s.Threads}
}

// SMPOptions are the members of -smp as given; nil ones were not.
type SMPOptions struct {
	CPUs, MaxCPUs, Sockets, Dies, Cores, Threads *uint64
}

// Resolve fills in what was left out, as QEMU does: what is missing is taken as
// 1, but cores, or with cores given sockets, follow from the number of CPUs.
func (o SMPOptions) Resolve(machine string, max int) (SMP, error) {
	get := func(p *uint64) uint64 {
		if p == nil {
			return 0
		}
		return *p
	}
	for _, p := range []*uint64{o.CPUs, o.MaxCPUs, o.Sockets, o.Dies, o.Cores, o.Threads} {
		if p != nil && *p == 0 {
			return SMP{}, fmt.Errorf("Invalid CPU topology: CPU topology parameters must be greater than zero")
		}
		if p != nil && *p > 1<<16 {
			return SMP{}, fmt.Errorf("Invalid SMP CPUs %d. The max CPUs supported by machine '%s' is %d", *p, machine, max)
		}
	}
	cpus, maxcpus := get(o.CPUs), get(o.MaxCPUs)
	sockets, dies, cores, threads := get(o.Sockets), get(o.Dies), get(o.Cores), get(o.Threads)
	dies = orOne(dies)
	if cpus == 0 && maxcpus == 0 {
		sockets, cores, threads = orOne(sockets), orOne(cores), orOne(threads)
	} else {
		if maxcpus == 0 {
			maxcpus = cpus
		}
		switch {
		case cores == 0:
			sockets, threads = orOne(sockets), orOne(threads)
			cores = maxcpus / (sockets * dies * threads)
		case sockets == 0:
			threads = orOne(threads)
			sockets = maxcpus / (dies * cores * threads)
		}
		if threads == 0 {
			threads = maxcpus / (sockets * dies * cores)
		}
	}
	total := sockets * dies * cores * threads
	if maxcpus == 0 {
		maxcpus = total
	}
	if cpus == 0 {
		cpus = maxcpus
	}
	tree := fmt.Sprintf("sockets (%d) * cores (%d) * threads (%d)", sockets, cores, threads)
	if dies > 1 {
		tree = fmt.Sprintf("sockets (%d) * dies (%d) * cores (%d) * threads (%d)", sockets, dies, cores, threads)
	}
	switch {
	case total != maxcpus:
		return SMP{}, fmt.Errorf("Invalid CPU topology: product of the hierarchy must match maxcpus: %s != maxcpus (%d)", tree, maxcpus)
	case maxcpus < cpus:
		return SMP{}, fmt.Errorf("Invalid CPU topology: maxcpus must be equal to or greater than smp: %s == maxcpus (%d) < smp_cpus (%d)", tree, maxcpus, cpus)
	case maxcpus > uint64(max):
		return SMP{}, fmt.Errorf("Invalid SMP CPUs %d. The max CPUs supported by machine '%s' is %d", maxcpus, machine, max)
	}
	return SMP{int(cpus), int(maxcpus), int(sockets), int(dies), int(cores), int(threads)}, nil
}

func orOne(v uint64) uint64 {
	if v == 0 {
		return 1
	}
	return v
}
