package machine

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"govmd/internal/kvm"
	"govmd/internal/qmp"
)

type memsaveArgs struct {
	Val      int64  `qmp:"val"`
	Size     int64  `qmp:"size"`
	Filename string `qmp:"filename"`
	CPUIndex *int64 `qmp:"cpu-index,alias=cpu"`
}

type pmemsaveArgs struct {
	Val      int64  `qmp:"val"`
	Size     int64  `qmp:"size"`
	Filename string `qmp:"filename"`
}

// saveChunk is how much guest memory is read at once; it is within one page of
// each size where addresses are virtual.
const saveChunk = 1 << 20

const pageSize = 4096 // of address translation

// memsaveCommands returns the commands that write guest memory to files. They
// run off the lane: files can be slow, and ranges large.
func (m *Machine) memsaveCommands() []qmp.Command {
	return []qmp.Command{
		qmp.NewAsync("memsave", func(c *qmp.Context, a *memsaveArgs, r *qmp.Reply[qmp.None]) {
			m.memsave(c, a, func(err error) { r.Finish(qmp.None{}, err) })
		}),
		qmp.NewAsync("pmemsave", func(_ *qmp.Context, a *pmemsaveArgs, r *qmp.Reply[qmp.None]) {
			m.pmemsave(a, func(err error) { r.Finish(qmp.None{}, err) })
		}),
	}
}

// memsave calls done when memory as a vCPU sees it has been saved.
func (m *Machine) memsave(c *qmp.Context, a *memsaveArgs, done func(error)) {
	cpu, err := m.cpuArg(c, a.CPUIndex)
	if err == nil {
		err = checkSize(a.Size)
	}
	if err != nil {
		done(err)
		return
	}
	m.queries.Go(func() {
		done(m.saveMemory(a.Filename, uint64(a.Val), uint64(a.Size), pageSize, func(addr uint64, p []byte) error {
			at, err := cpu.physical(addr)
			if err != nil {
				return err
			}
			return m.readSaved(at, p)
		}))
	})
}

// pmemsave calls done when physical memory has been saved.
func (m *Machine) pmemsave(a *pmemsaveArgs, done func(error)) {
	if err := checkSize(a.Size); err != nil {
		done(err)
		return
	}
	m.queries.Go(func() {
		done(m.saveMemory(a.Filename, uint64(a.Val), uint64(a.Size), saveChunk, m.readSaved))
	})
}

// readSaved reads guest memory as QEMU saves it: what is not mapped is zero.
func (m *Machine) readSaved(addr uint64, p []byte) error {
	for len(p) > 0 {
		n := min(uint64(len(p)), pageSize-addr%pageSize)
		if _, mapped := m.mem.Lookup(addr); !mapped {
			clear(p[:n])
		} else if err := m.mem.Read(addr, p[:n]); err != nil {
			return err
		}
		p, addr = p[n:], addr+n
	}
	return nil
}

func checkSize(size int64) error {
	if size < 0 {
		return qmp.InvalidValue("size", "a size that is not negative")
	}
	return nil
}

// cpuArg returns the vCPU that an argument names, or the session's own.
func (m *Machine) cpuArg(c *qmp.Context, index *int64) (*VCPU, error) {
	n := m.currentCPU(c)
	if index != nil {
		n = *index
	}
	if n < 0 || n >= int64(len(m.cpus)) {
		return nil, qmp.InvalidValue("cpu-index", "a CPU number")
	}
	return m.cpus[n], nil
}

// physical returns the physical address of a virtual one, by the vCPU's page
// tables. Where nothing executes there are none.
func (c *VCPU) physical(addr uint64) (at uint64, err error) {
	if c.thread == nil {
		if addr >= 1<<32 { // paging is off
			return 0, unix.EFAULT
		}
		return addr, nil
	}
	err = c.do(func(v *kvm.VCPU) error {
		t, err := v.Translate(addr &^ (pageSize - 1))
		if err == nil && !t.Valid {
			err = unix.EFAULT
		}
		at = t.Physical | addr&(pageSize-1)
		return err
	})
	return at, err
}

// saveMemory writes size bytes of guest memory from addr on to a file. read is
// asked for what does not cross a multiple of chunk. It ends early when the
// machine does.
func (m *Machine) saveMemory(name string, addr, size, chunk uint64, read func(uint64, []byte) error) (err error) {
	// Not blocking: a FIFO that nobody reads must not keep the machine from its end.
	f, err := m.Files.Open(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NONBLOCK, 0o666)
	if err != nil {
		return qmp.Errorf("Could not open '%s': %s", name, qmp.Strerror(err))
	}
	defer func() {
		if e := f.Close(); e != nil && err == nil {
			err = qmp.Errorf("Could not write '%s': %s", name, qmp.Strerror(e))
		}
	}()
	stop := context.AfterFunc(m.living, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, min(size, chunk))
	for at, left := addr, size; left > 0; {
		if m.living.Err() != nil {
			return qmp.Errorf("The machine is shutting down")
		}
		p := buf[:min(left, chunk-at%chunk)]
		if err := read(at, p); err != nil {
			return qmp.Errorf("Invalid addr 0x%016x/size %d specified", addr, size)
		}
		if _, err := f.Write(p); err != nil {
			return qmp.Errorf("Could not write '%s': %s", name, qmp.Strerror(err))
		}
		at, left = at+uint64(len(p)), left-uint64(len(p))
	}
	return nil
}

// currentCPU returns the index of the vCPU that the session has chosen.
func (m *Machine) currentCPU(c *qmp.Context) int64 {
	if c.Session == nil {
		return 0
	}
	return m.current[c.Session.SessionID()]
}

// setCurrentCPU is the command cpu: it chooses the session's vCPU.
func (m *Machine) setCurrentCPU(c *qmp.Context, index int64) error {
	if index < 0 || index >= int64(len(m.cpus)) {
		return qmp.InvalidValue("index", "a CPU number")
	}
	if c.Session == nil {
		return fmt.Errorf("only a monitor has a default CPU")
	}
	if m.current == nil {
		m.current = make(map[uint64]int64)
	}
	m.current[c.Session.SessionID()] = index
	return nil
}

// SessionEnds forgets what a monitor session has chosen. Any goroutine may call it.
func (m *Machine) SessionEnds(session uint64) {
	m.Lane.Post(func() { delete(m.current, session) })
}
