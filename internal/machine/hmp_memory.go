package machine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"govmd/internal/qmp"
)

// dumpLine is how many bytes a line of a dump shows.
const dumpLine = 16

// errNoAccess is what a person is told of memory that is not there.
var errNoAccess = errors.New("Cannot access memory")

// errInterrupted is the end of a long output that a person wants to see no more of.
var errInterrupted = errors.New("interrupted")

// memoryHumanCommands are the human monitor's commands about guest memory. They may
// wait for a vCPU, and so do not run on the lane.
func (m *Machine) memoryHumanCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "x", Args: "fmt:/,addr:l", Params: "/fmt addr", Help: "virtual memory dump starting at 'addr'", NoLane: true,
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				c, err := m.cpuOf(ctx)
				if err != nil {
					return err
				}
				return m.dumpMemory(ctx, out, a.Format(), uint64(a.Int("addr", 0)), c, func(addr uint64, p []byte) error {
					return m.readVirtual(c, addr, p)
				})
			},
		},
		{
			Name: "xp", Args: "fmt:/,addr:l", Params: "/fmt addr", Help: "physical memory dump starting at 'addr'", NoLane: true,
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				c, _ := m.cpuOf(ctx)
				return m.dumpMemory(ctx, out, a.Format(), uint64(a.Int("addr", 0)), c, m.readPhysical)
			},
		},
		{
			Name: "sum", Args: "start:i,size:i", Params: "addr size", Help: "compute the checksum of a memory region", NoLane: true,
			Run: m.humanSum,
		},
		{
			Name: "gva2gpa", Args: "addr:l", Params: "addr", NoLane: true,
			Help: "print the guest physical address corresponding to a guest virtual address",
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				return m.translate(ctx, a, out, func(phys uint64) error {
					_, err := fmt.Fprintf(out, "gpa: %#x\n", phys)
					return err
				})
			},
		},
		{
			Name: "gpa2hva", Args: "addr:l", Params: "addr", Help: "print the host virtual address corresponding to a guest physical address", NoLane: true,
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				return m.hostAddress(out, uint64(a.Int("addr", 0)), "virtual")
			},
		},
		{
			Name: "gpa2hpa", Args: "addr:l", Params: "addr", Help: "print the host physical address corresponding to a guest physical address", NoLane: true,
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				return m.hostAddress(out, uint64(a.Int("addr", 0)), "physical")
			},
		},
		{
			Name: "gva2hva", Args: "addr:l", Params: "addr", Help: "print the host virtual address corresponding to a guest virtual address", NoLane: true,
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				return m.translate(ctx, a, out, func(phys uint64) error { return m.hostAddress(out, phys, "virtual") })
			},
		},
		{
			Name: "i", Args: "fmt:/,addr:i,index:i.", Params: "/fmt addr", Help: "I/O port read", NoLane: true,
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				port := uint16(a.Int("addr", 0))
				if a.Has("index") {
					m.io.WriteIO(uint64(port), []byte{byte(a.Int("index", 0))})
					port++
				}
				size, letter := portSize(a.Format())
				p := make([]byte, size)
				m.io.ReadIO(uint64(port), p)
				_, err := fmt.Fprintf(out, "port%c[0x%04x] = 0x%0*x\n", letter, port, 2*size, little(p))
				return err
			},
		},
		{
			Name: "o", Args: "fmt:/,addr:i,val:i", Params: "/fmt addr value", Help: "I/O port write", NoLane: true,
			Run: func(_ *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				size, _ := portSize(a.Format())
				p, v := make([]byte, size), a.Int("val", 0)
				for i := range p {
					p[i] = byte(v >> (8 * i))
				}
				m.io.WriteIO(uint64(uint16(a.Int("addr", 0))), p)
				return nil
			},
		},
	}
}

// cpuOf returns the vCPU that a human command is about.
func (m *Machine) cpuOf(ctx *qmp.Context) (*VCPU, error) {
	n := ctx.CPU()
	if n < 0 || n >= len(m.cpus) {
		return nil, errors.New("there is no CPU")
	}
	return m.cpus[n], nil
}

// translate calls show with the physical address of the virtual one that a human
// command names, and says so when there is none.
func (m *Machine) translate(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer, show func(phys uint64) error) error {
	c, err := m.cpuOf(ctx)
	if err != nil {
		return err
	}
	phys, err := c.physical(uint64(a.Int("addr", 0)))
	if errors.Is(err, unix.EFAULT) {
		_, err = fmt.Fprintln(out, "Unmapped")
		return err
	}
	if err != nil {
		return err
	}
	return show(phys)
}

// readPhysical reads guest-physical memory; all of it must be there.
func (m *Machine) readPhysical(addr uint64, p []byte) error {
	for len(p) > 0 {
		s, ok := m.mem.Lookup(addr)
		if !ok {
			return errNoAccess
		}
		n := len(p)
		if rest := s.Last() - addr; rest < uint64(n) {
			n = int(rest) + 1
		}
		if err := m.mem.Read(addr, p[:n]); err != nil {
			return errNoAccess
		}
		p, addr = p[n:], addr+uint64(n)
	}
	return nil
}

// readVirtual reads memory as a vCPU's page tables show it.
func (m *Machine) readVirtual(c *VCPU, addr uint64, p []byte) error {
	for len(p) > 0 {
		phys, err := c.physical(addr)
		if errors.Is(err, unix.EFAULT) {
			return errNoAccess
		}
		if err != nil {
			return err
		}
		n := min(len(p), int(pageSize-addr%pageSize))
		if err := m.readPhysical(phys, p[:n]); err != nil {
			return err
		}
		p, addr = p[n:], addr+uint64(n)
	}
	return nil
}

// dumpMemory is x and xp. C says in what mode instructions are to be read.
func (m *Machine) dumpMemory(ctx context.Context, out io.Writer, f qmp.HumanFormat, addr uint64, c *VCPU, read func(uint64, []byte) error) error {
	if f.Letter == 'i' {
		mode := 16
		if c != nil {
			r, err := c.registers()
			if err != nil {
				return err
			}
			mode = r.Mode()
		}
		return disassemble(ctx, out, addr, f.Count, mode, read)
	}
	size := f.Size
	if size != 1 && size != 2 && size != 4 && size != 8 {
		size = 4
	}
	f.Size = size
	left, perLine := f.Count, min(dumpLine/size, 8)
	if f.Letter == 'c' { // shows bytes, as many as there are in all
		if size > 1 {
			perLine = dumpLine
		}
		left, size, f.Size = left*int64(size), 1, 1
	}
	line := make([]byte, dumpLine)
	for left > 0 {
		if ctx.Err() != nil {
			return errInterrupted
		}
		n := int(min(left, int64(perLine)))
		if _, err := fmt.Fprintf(out, "%016x:", addr); err != nil {
			return err
		}
		p := line[:n*size]
		if err := read(addr, p); err != nil {
			if errors.Is(err, errNoAccess) {
				_, err = fmt.Fprintf(out, " %s\n", err)
			}
			return err
		}
		for i := range n {
			if _, err := fmt.Fprintf(out, " %s", f.Column(little(p[i*size:(i+1)*size]))); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(out, "\n"); err != nil {
			return err
		}
		left, addr = left-int64(n), addr+uint64(n*size)
	}
	return nil
}

// little is the value of little-endian bytes.
func little(p []byte) (v uint64) {
	for i, b := range p {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// humanSum is the checksum that `sum` of BSD computes.
func (m *Machine) humanSum(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
	addr, size := uint64(uint32(a.Int("start", 0))), uint64(uint32(a.Int("size", 0)))
	var sum uint16
	var buf [4096]byte
	for size > 0 {
		if ctx.Err() != nil {
			return errInterrupted
		}
		p := buf[:min(size, uint64(len(buf)))]
		if m.readPhysical(addr, p) != nil {
			for i := range p { // what is not there reads as zero
				if m.readPhysical(addr+uint64(i), p[i:i+1]) != nil {
					p[i] = 0
				}
			}
		}
		for _, b := range p {
			sum = sum>>1 | sum<<15
			sum += uint16(b)
		}
		addr, size = addr+uint64(len(p)), size-uint64(len(p))
	}
	_, err := fmt.Fprintf(out, "%05d\n", sum)
	return err
}

// hostAddress says where the host has guest memory: the "virtual" address in this
// process or the "physical" one.
func (m *Machine) hostAddress(out io.Writer, addr uint64, kind string) error {
	s, ok := m.mem.Lookup(addr)
	var err error
	switch {
	case !ok:
		_, err = fmt.Fprintf(out, "No memory is mapped at address 0x%x\n", addr)
	case s.Block == nil:
		_, err = fmt.Fprintf(out, "Memory at address 0x%x is not RAM\n", addr)
	default:
		at := uint64(s.Block.HostAddr()) + s.Offset + (addr - s.Addr)
		if kind == "physical" {
			if at, err = hostPhysical(at); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(out, "Host %s address for 0x%x (%s) is 0x%x\n", kind, addr, s.Block.Name(), at)
	}
	return err
}

// portSize is the size of an access to a port, and the letter that shows it.
func portSize(f qmp.HumanFormat) (size int, letter byte) {
	switch f.Size {
	case 2:
		return 2, 'w'
	case 4:
		return 4, 'l'
	}
	return 1, 'b'
}
