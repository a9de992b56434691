package machine

import (
	"errors"
	"fmt"

	"govmd/internal/memory"
	"govmd/internal/memory/hostmem"
	"govmd/internal/object"
	"govmd/internal/qmp"
)

// memorySystem returns the guest's memory as a whole, to which what the user has
// made belongs already.
func (m *Machine) memorySystem() *memory.System {
	if m.Objects == nil {
		m.Objects = &object.Collection{}
		m.onClose(m.Objects.Close)
	}
	if sys, ok := object.Service[*memory.System](m.Objects); ok {
		return sys
	}
	return m.ProvideMemory()
}

// ProvideMemory makes the guest's memory known to c.Objects: those that are pieces of
// it are made as c says. Who makes objects before the machine calls it before that.
func (c *Config) ProvideMemory() *memory.System {
	sys := memory.NewSystem()
	object.Provide(c.Objects, sys)
	b := c.Board.common()
	object.Provide(c.Objects, hostmem.Defaults{Merge: b.memMerge, Dump: b.dumpGuestCore, Prealloc: c.MemPrealloc})
	return sys
}

// makeRAM finds, or makes, what RAM consists of.
func (m *Machine) makeRAM() error {
	c := m.Board.common()
	if err := m.NUMA.checkNodes(); err != nil {
		return err
	}
	id := c.memoryBackend
	switch {
	case id != "" && m.MemPath != "":
		return errors.New("'-mem-path' can't be used together with '-machine memory-backend'")
	case id != "" && m.NUMA.usesBackends():
		return errors.New("'-machine memory-backend' and '-numa memdev' properties are mutually exclusive")
	case id != "":
		b, err := m.takeBackend(id)
		if err != nil {
			return err
		}
		if m.RAM == 0 {
			m.RAM = b.Size()
		}
		if m.RAM != b.Size() {
			return errors.New("Machine memory size does not match the size of the memory backend")
		}
	case m.NUMA.usesBackends():
		for _, n := range m.NUMA.Nodes {
			b, err := m.takeBackend(n.Memdev)
			if err != nil {
				return err
			}
			n.Size = b.Size()
		}
	default:
		if err := m.checkAddressSpace(); err != nil {
			return err
		}
		if err := m.defaultRAM(); err != nil {
			return err
		}
	}
	if err := m.checkAddressSpace(); err != nil {
		return err
	}
	m.warnOfCPUs()
	return m.NUMA.check(m.RAM)
}

// memorySize is the property "memory" of the machine.
type memorySize struct {
	Size    qmp.Size  `qmp:"size"`
	Slots   *uint64   `qmp:"slots"`
	MaxSize *qmp.Size `qmp:"max-size"`
}

// smpInfo is the property "smp" of the machine.
type smpInfo struct {
	CPUs     int64 `qmp:"cpus"`
	Sockets  int64 `qmp:"sockets"`
	Dies     int64 `qmp:"dies"`
	Clusters int64 `qmp:"clusters"`
	Cores    int64 `qmp:"cores"`
	Threads  int64 `qmp:"threads"`
	MaxCPUs  int64 `qmp:"maxcpus"`
}

// describeBoard gives /machine the properties that say how large it is.
func (m *Machine) describeBoard() {
	n := m.Board.Obj()
	n.AddProperty(object.Getter("memory", "MemorySizeConfiguration", func(Board) any {
		s := memorySize{Size: qmp.Size(m.RAM)}
		if m.MaxRAM > m.RAM {
			limit := qmp.Size(m.MaxRAM)
			s.Slots, s.MaxSize = &m.Slots, &limit
		}
		return s
	}, "Memory size configuration"))
	n.AddProperty(object.Getter("smp", "SMPConfiguration", func(Board) any {
		t := m.SMP
		return smpInfo{int64(t.CPUs), int64(t.Sockets), int64(t.Dies), 1, int64(t.Cores), int64(t.Threads), int64(t.MaxCPUs)}
	}, "CPU topology"))
}

// defaultRAM makes RAM that the user has not made: an object like the others.
func (m *Machine) defaultRAM() error {
	name := ramName(m.Board)
	if m.Objects.Find(name) != nil {
		return fmt.Errorf("object name '%s' is reserved for the default RAM backend, it can't be used for any other purposes: "+
			"change the object's 'id' to something else", name)
	}
	b, err := hostmem.New(m.RAM, m.MemPath)
	if err != nil {
		return err
	}
	if m.MemPrealloc {
		b.SetThreads(m.SMP.CPUs)
	}
	if err := m.Objects.Insert(b, name); err != nil {
		return err // which says what it was to be
	}
	m.onClose(func() { m.Objects.Drop(b) })
	m.Board.common().memoryBackend = name
	_, err = m.takeBackend(name)
	return err
}

// takeBackend makes the back end of that ID the next piece of RAM.
func (m *Machine) takeBackend(id string) (*hostmem.Backend, error) {
	o := m.Objects.Find(id)
	if o == nil {
		return nil, fmt.Errorf("Memory backend '%s' not found", id)
	}
	b, ok := o.(*hostmem.Backend)
	switch {
	case !ok:
		return nil, fmt.Errorf("object '%s' is no memory backend", id)
	case b.Users() != "":
		return nil, fmt.Errorf("memory backend %s can't be used multiple times.", id)
	case b.Size()%memory.PageSize != 0:
		return nil, fmt.Errorf("the size of memory backend %s, %d, is not a multiple of %d", id, b.Size(), memory.PageSize)
	case b.Block().HostReadOnly():
		return nil, fmt.Errorf("memory backend %s is read-only: a guest cannot have it as RAM", id)
	}
	m.onClose(object.Use(b, "the machine, as RAM"))
	m.ram = append(m.ram, b)
	return b, nil
}

// ramRegion returns a region that shows size bytes of RAM from offset on.
func (m *Machine) ramRegion(name string, offset, size uint64) (*memory.Region, error) {
	sys := m.Env.Memory
	if len(m.ram) == 1 {
		return sys.NewRAM(name, m.ram[0].Block(), offset, size), nil
	}
	all := sys.NewContainer(name, size)
	var at uint64 // where the piece begins
	for _, b := range m.ram {
		first, end := max(at, offset), min(at+b.Size(), offset+size)
		if first < end {
			if err := all.Add(first-offset, sys.NewRAM(b.Name(), b.Block(), first-at, end-first)); err != nil {
				return nil, err
			}
		}
		at += b.Size()
	}
	return all, nil
}
