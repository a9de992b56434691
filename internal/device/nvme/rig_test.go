package nvme

import (
	"context"
	"encoding/binary"

	"govmd/internal/device/devtest"
	"govmd/internal/device/drive/drivetest"
	"govmd/internal/device/pci"
	"govmd/internal/device/virtio/virtiotest"
)

const (
	base = 0xfd000000
	slot = 4 << 3

	adminSQ  = 0x100000
	adminCQ  = 0x101000
	ioSQ     = 0x102000
	ioCQ     = 0x103000
	data     = 0x110000
	list     = 0x108000
	entries  = 16
	diskSize = 4 << 20
)

// rig is a machine with a controller, and the driver's side of its queues.
type rig struct {
	*devtest.Machine
	bus *virtiotest.PCIBus
	dev *Device
	hd  *drivetest.Drive

	tails [2]uint32 // of the submission queues 0 and 1
	heads [2]uint32 // of the completion queues
	laps  [2]uint32
	cid   uint16
}

func newRig(m *devtest.Machine, props ...string) *rig {
	r := rigWithout(m)
	r.hd = drivetest.New(m, "d0", drivetest.Pattern(diskSize))
	r.plug(props...)
	r.enable()
	return r
}

func rigWithout(m *devtest.Machine) *rig { return &rig{Machine: m, bus: virtiotest.NewPCIBus(m)} }

func (r *rig) plug(props ...string) {
	r.dev = r.Plug(r.bus.Dev, TypeName, "nvme0", append([]string{"addr", "4", "drive", "d0", "serial", "SN-42"}, props...)...).(*Device)
	r.bus.WriteConfig(0, slot, 0x10, 4, base)
	r.bus.WriteConfig(0, slot, 4, 2, pci.CommandMemory|pci.CommandMaster)
}

// enable does what a driver does: the administrator's queues, and a pair for I/O.
func (r *rig) enable() {
	r.TB.Helper()
	for _, at := range []uint64{adminSQ, adminCQ, ioSQ, ioCQ} {
		r.WriteMem(at, make([]byte, 4096))
	}
	r.tails, r.heads, r.laps = [2]uint32{}, [2]uint32{}, [2]uint32{}
	r.Write32(base+regAQA, (entries-1)<<16|(entries-1))
	r.Write64(base+regASQ, adminSQ)
	r.Write64(base+regACQ, adminCQ)
	r.Write32(base+regCC, 0x00460001)
	if got := r.Read32(base + regCSTS); got != cstsReady {
		r.TB.Fatalf("CSTS is %#x", got)
	}
	r.admin("create a completion queue", cmd{op: adminCreateCQ, prp1: ioCQ, dw: [6]uint32{1 | (entries-1)<<16, 3}}, statusOK)
	r.admin("create a submission queue", cmd{op: adminCreateSQ, prp1: ioSQ, dw: [6]uint32{1 | (entries-1)<<16, 1 | 1<<16}}, statusOK)
}

// cmd is a command.
type cmd struct {
	op         byte
	flags      byte
	nsid       uint32
	prp1, prp2 uint64
	dw         [6]uint32 // 10 to 15
}

func (c cmd) bytes(cid uint16) []byte {
	p := make([]byte, commandSize)
	le := binary.LittleEndian
	p[0], p[1] = c.op, c.flags
	le.PutUint16(p[2:], cid)
	le.PutUint32(p[4:], c.nsid)
	le.PutUint64(p[24:], c.prp1)
	le.PutUint64(p[32:], c.prp2)
	for i, v := range c.dw {
		le.PutUint32(p[40+4*i:], v)
	}
	return p
}

// add puts a command into queue q, without telling the controller.
func (r *rig) add(q int, c cmd) (cid uint16) {
	r.cid++
	r.WriteMem([]uint64{adminSQ, ioSQ}[q]+uint64(r.tails[q])*commandSize, c.bytes(r.cid))
	r.tails[q] = (r.tails[q] + 1) % entries
	return r.cid
}

func (r *rig) ring(q int) { r.Write32(base+doorbells+uint64(8*q), r.tails[q]) }

// settle waits until all that was asked for has been done.
func (r *rig) settle() {
	for range 3 {
		r.dev.worker.Sync()
		_ = r.dev.queue.Wait(context.Background())
	}
}

// take returns the next entry of completion queue q.
func (r *rig) take(q int) (e entry, ok bool) {
	p := r.ReadMem([]uint64{adminCQ, ioCQ}[q]+uint64(r.heads[q])*completionSize, completionSize)
	le := binary.LittleEndian
	last := le.Uint32(p[12:])
	if last>>16&1 == r.laps[q]&1 {
		return e, false
	}
	if r.heads[q]++; r.heads[q] == entries {
		r.heads[q] = 0
		r.laps[q]++
	}
	return entry{
		Result: le.Uint32(p), SQHead: le.Uint16(p[8:]), SQ: le.Uint16(p[10:]), CID: uint16(last), Status: uint16(last >> 17),
	}, true
}

func (r *rig) taken(q int) { r.Write32(base+doorbells+uint64(8*q+4), r.heads[q]) }

// do carries out a command.
func (r *rig) do(q int, c cmd) entry {
	r.TB.Helper()
	cid := r.add(q, c)
	r.ring(q)
	r.settle()
	e, ok := r.take(q)
	if !ok {
		r.TB.Fatalf("command %#x of queue %d has not ended", c.op, q)
	}
	r.taken(q)
	if e.CID != cid || e.SQ != uint16(q) || e.SQHead != uint16(r.tails[q]) {
		r.TB.Errorf("command %#x: %+v, want command %d", c.op, e, cid)
	}
	return e
}

func (r *rig) admin(what string, c cmd, want uint16) uint32 {
	r.TB.Helper()
	e := r.do(0, c)
	if e.Status != want {
		r.TB.Errorf("%s: status %#x, want %#x", what, e.Status, want)
	}
	return e.Result
}

func (r *rig) io(what string, c cmd, want uint16) {
	r.TB.Helper()
	if c.nsid == 0 {
		c.nsid = namespaceID
	}
	if e := r.do(1, c); e.Status != want {
		r.TB.Errorf("%s: status %#x, want %#x", what, e.Status, want)
	}
}
