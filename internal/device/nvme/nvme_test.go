package nvme

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/device/devtest"
	"govmd/internal/device/drive/drivetest"
	"govmd/internal/runstate"
)

func TestRegisters(t *testing.T) {
	r := newRig(devtest.New(t))
	for off, want := range map[uint64]uint32{regCAP: 0x0f0107ff, regCAP + 4: 0x00400020, regVS: 0x10400, regCC: 0x460001, 0x38: 0} {
		r.CheckRead32(base+off, want, "register")
	}
	if id := r.bus.ReadConfig(0, slot, 0, 4); id != 0x00101b36 {
		t.Errorf("it is function %#x", id)
	}
	r.Write32(base+regCC, 0x464001) // a shutdown
	r.settle()
	r.CheckRead32(base+regCSTS, cstsReady|cstsShutDown, "after a shutdown")
	r.Write32(base+regCC, 0)
	r.CheckRead32(base+regCSTS, 0, "disabled")
	r.Write64(base+regASQ, 0)
	r.Write32(base+regCC, 0x460001)
	r.CheckRead32(base+regCSTS, cstsFatal, "enabled without a queue")
	r.Write32(base+regCC, 0)
	r.enable()
	r.io("flush after a reset", cmd{op: ioFlush}, statusOK)
}

func TestIdentify(t *testing.T) {
	r := newRig(devtest.New(t), "physical_block_size", "4096")
	page := func(cns, nsid uint32, want uint16) []byte {
		t.Helper()
		r.admin("identify", cmd{op: adminIdentify, nsid: nsid, prp1: data, dw: [6]uint32{cns}}, want)
		return r.ReadMem(data, identifySize)
	}
	le := binary.LittleEndian
	p := page(identifyController, 0, statusOK)
	if string(p[4:24]) != "SN-42               " || !strings.HasPrefix(string(p[24:64]), "QEMU NVMe Ctrl ") || p[77] != 7 || le.Uint32(p[516:]) != 1 {
		t.Errorf("the controller is %q, serial number %q", p[24:64], p[4:24])
	}
	p = page(identifyNamespace, 1, statusOK)
	if le.Uint64(p) != diskSize/512 || p[130] != 9 || le.Uint16(p[64:]) != 7 {
		t.Errorf("a namespace of %d blocks of 1<<%d", le.Uint64(p), p[130])
	}
	if p = page(identifyActive, 0, statusOK); le.Uint64(p) != 1 {
		t.Errorf("namespaces %x", p[:8])
	}
	if p = page(identifyActive, 1, statusOK); le.Uint64(p) != 0 {
		t.Errorf("namespaces after the first %x", p[:8])
	}
	if p = page(identifyDescriptors, 1, statusOK); p[0] != 3 || p[1] != 16 {
		t.Errorf("descriptors %x", p[:24])
	}
	page(identifyNamespace, 2, statusInvalidNamespace)
	page(identifyActive, allNamespaces, statusInvalidNamespace)
	page(0x99, 0, statusInvalidField)
	r.admin("no memory", cmd{op: adminIdentify, prp1: 0xf0000000, dw: [6]uint32{1}}, statusTransfer)
	r.admin("no command", cmd{op: 0x77}, statusInvalidOpcode)
}

func TestQueues(t *testing.T) {
	r := newRig(devtest.New(t), "max_ioqpairs", "3", "msix_qsize", "3")
	for _, c := range []struct {
		what string
		cmd
		want uint16
	}{
		{"cq: in use", cmd{op: adminCreateCQ, prp1: data, dw: [6]uint32{1 | 15<<16, 3}}, statusInvalidQueue},
		{"cq: 0", cmd{op: adminCreateCQ, prp1: data, dw: [6]uint32{0 | 15<<16, 3}}, statusInvalidQueue},
		{"cq: too many", cmd{op: adminCreateCQ, prp1: data, dw: [6]uint32{4 | 15<<16, 3}}, statusInvalidQueue},
		{"cq: of one", cmd{op: adminCreateCQ, prp1: data, dw: [6]uint32{2, 3}}, statusInvalidSize},
		{"cq: too large", cmd{op: adminCreateCQ, prp1: data, dw: [6]uint32{2 | 2048<<16, 3}}, statusInvalidSize},
		{"cq: in pieces", cmd{op: adminCreateCQ, prp1: data, dw: [6]uint32{2 | 15<<16, 2}}, statusInvalidField},
		{"cq: vector", cmd{op: adminCreateCQ, prp1: data, dw: [6]uint32{2 | 15<<16, 3 | 3<<16}}, statusInvalidVector},
		{"cq: address", cmd{op: adminCreateCQ, prp1: data + 16, dw: [6]uint32{2 | 15<<16, 3}}, statusPRPOffset},
		{"sq: in use", cmd{op: adminCreateSQ, prp1: data, dw: [6]uint32{1 | 15<<16, 1 | 1<<16}}, statusInvalidQueue},
		{"sq: no cq", cmd{op: adminCreateSQ, prp1: data, dw: [6]uint32{2 | 15<<16, 1 | 2<<16}}, statusInvalidCQ},
		{"sq: cq 0", cmd{op: adminCreateSQ, prp1: data, dw: [6]uint32{2 | 15<<16, 1}}, statusInvalidCQ},
		{"delete a cq in use", cmd{op: adminDeleteCQ, dw: [6]uint32{1}}, statusQueueDeletion},
		{"delete a sq", cmd{op: adminDeleteSQ, dw: [6]uint32{1}}, statusOK},
		{"delete it again", cmd{op: adminDeleteSQ, dw: [6]uint32{1}}, statusInvalidQueue},
		{"delete the administrator's", cmd{op: adminDeleteSQ, dw: [6]uint32{0}}, statusInvalidQueue},
		{"delete the cq", cmd{op: adminDeleteCQ, dw: [6]uint32{1}}, statusOK},
		{"delete it again", cmd{op: adminDeleteCQ, dw: [6]uint32{1}}, statusInvalidQueue},
		{"abort nothing", cmd{op: adminAbort, dw: [6]uint32{1}}, statusOK},
	} {
		r.admin(c.what, c.cmd, c.want)
	}
}

func TestFeatures(t *testing.T) {
	r := newRig(devtest.New(t))
	get := func(id, sel uint32) uint32 {
		t.Helper()
		return r.admin("get", cmd{op: adminGetFeatures, nsid: 1, dw: [6]uint32{id | sel<<8}}, statusOK)
	}
	for id, want := range map[uint32]uint32{
		featureArbitration: 7, featurePower: 0, featureTemperature: warning, featureWriteCache: 1,
		featureQueues: 0x003f003f, featureCoalescing: 0, featureVector: 0x10000, featureAtomicity: 0, featureEvents: 0,
	} {
		if got := get(id, 0); got != want {
			t.Errorf("feature %#x is %#x, want %#x", id, got, want)
		}
	}
	set := func(id, v uint32, want uint16) uint32 {
		t.Helper()
		return r.admin("set", cmd{op: adminSetFeatures, dw: [6]uint32{id, v}}, want)
	}
	set(featureWriteCache, 0, statusOK)
	if r.dev.backend.WriteCache() || get(featureWriteCache, 0) != 0 || get(featureWriteCache, 1) != 1 || get(featureWriteCache, 3) != changeable {
		t.Error("the write cache is on")
	}
	set(featureTemperature, 0x160, statusOK)
	if get(featureTemperature, 0) != 0x160 || get(featureTemperature, 1) != warning {
		t.Error("the threshold is not set")
	}
	set(featureQueues, 0x00030003, statusSequence)
	set(featureQueues, 0xffff0000, statusInvalidField)
	set(featureArbitration, 0, statusNotChangeable)
	set(0x99, 0, statusInvalidField)
	set(featureWriteCache|1<<31, 1, statusNotSaveable)
	r.WriteMem(data, []byte{0, 0, 0, 0, 1, 0, 0, 0})
	r.admin("set the time", cmd{op: adminSetFeatures, prp1: data, dw: [6]uint32{featureTimestamp}}, statusOK)
	r.Advance(5e9)
	r.admin("get the time", cmd{op: adminGetFeatures, prp1: data, dw: [6]uint32{featureTimestamp}}, statusOK)
	if got := binary.LittleEndian.Uint64(r.ReadMem(data, 8)); got != 1<<49|1<<32+5000 {
		t.Errorf("the time is %#x", got)
	}
	r.Write32(base+regCC, 0)
	if !r.dev.backend.WriteCache() {
		t.Error("a reset does not restore the write cache")
	}
}

func TestReadWrite(t *testing.T) {
	r := newRig(devtest.New(t))
	want := drivetest.Pattern(diskSize)
	rw := func(op byte, lba uint64, n int, c cmd) cmd {
		c.op = op
		c.dw[0], c.dw[1], c.dw[2] = uint32(lba), uint32(lba>>32), c.dw[2]|uint32(n-1)
		return c
	}
	r.io("a block", rw(ioRead, 7, 1, cmd{prp1: data + 0xe00}), statusOK)
	if !bytes.Equal(r.ReadMem(data+0xe00, 512), want[7*512:8*512]) {
		t.Error("a block differs")
	}
	r.io("two pages", rw(ioRead, 8, 14, cmd{prp1: data + 0x400, prp2: data + 0x3000}), statusOK)
	if got := append(r.ReadMem(data+0x400, 0xc00), r.ReadMem(data+0x3000, 0x1000)...); !bytes.Equal(got, want[8*512:][:len(got)]) {
		t.Error("two pages differ")
	}
	// A list that begins near the end of a page and goes on in another one.
	const pages = 100
	var entries [pages]uint64
	for i := range entries {
		entries[i] = data + 0x10000 + uint64(i)*0x1000
		if i%3 == 0 {
			entries[i] += 0x200000
		}
	}
	at := uint64(list + 0x1000 - 3*8)
	for i, e := range entries {
		if at%0x1000 == 0x1000-8 && i+1 < len(entries) {
			r.Write64(at, list+0x3000)
			at = list + 0x3000
		}
		r.Write64(at, e)
		at += 8
	}
	long := cmd{prp1: data, prp2: list + 0x1000 - 3*8}
	r.io("a list", rw(ioRead, 100, (pages+1)*8, long), statusOK)
	got := r.ReadMem(data, 0x1000)
	for _, e := range entries {
		got = append(got, r.ReadMem(e, 0x1000)...)
	}
	if !bytes.Equal(got, want[100*512:][:len(got)]) {
		t.Error("a list of pages differs")
	}
	r.io("write", rw(ioWrite, 2000, (pages+1)*8, long), statusOK)
	copy(want[2000*512:], got)
	r.WriteMem(data, bytes.Repeat([]byte("nvme"), 128))
	r.io("write through", rw(ioWrite, 3, 1, cmd{prp1: data, dw: [6]uint32{2: bitFUA}}), statusOK)
	copy(want[3*512:], bytes.Repeat([]byte("nvme"), 128))
	if !bytes.Equal(r.hd.Image.Bytes(), want) {
		t.Error("the image does not have what was written")
	}
	for _, c := range []struct {
		what string
		cmd
		want uint16
	}{
		{"beyond the end", rw(ioRead, diskSize/512, 1, cmd{prp1: data}), statusLBARange},
		{"an address that wraps", rw(ioWrite, 1<<64-1, 2, cmd{prp1: data}), statusLBARange},
		{"more than there may be", rw(ioRead, 0, 1025, long), statusInvalidField},
		{"an odd address", rw(ioRead, 0, 1, cmd{prp1: data + 2}), statusPRPOffset},
		{"a page that is none", rw(ioRead, 0, 16, cmd{prp1: data, prp2: data + 8}), statusPRPOffset},
		{"a list at an odd address", rw(ioRead, 0, 24, cmd{prp1: data, prp2: list + 4}), statusPRPOffset},
		{"no memory", rw(ioRead, 0, 1, cmd{prp1: 1 << 40}), statusTransfer},
		{"no list", rw(ioRead, 0, 24, cmd{prp1: data, prp2: 1 << 40}), statusTransfer},
		{"SGL", rw(ioRead, 0, 1, cmd{prp1: data, flags: 0x40}), statusInvalidField},
		{"another namespace", rw(ioRead, 0, 1, cmd{prp1: data, nsid: 2}), statusInvalidNamespace},
		{"compare", rw(5, 0, 1, cmd{prp1: data}), statusInvalidOpcode},
		{"verify", rw(ioVerify, 0, 100, cmd{}), statusOK},
		{"verify beyond the end", rw(ioVerify, diskSize/512-1, 2, cmd{}), statusLBARange},
		{"flush all", cmd{op: ioFlush, nsid: allNamespaces}, statusOK},
	} {
		r.io(c.what, c.cmd, c.want)
	}
	// A list whose last entry leads to itself.
	r.Write64(list+0x1000-8, list+0x1000-8)
	r.io("a list that goes round", rw(ioRead, 0, 64, cmd{prp1: data, prp2: list + 0x1000 - 8}), statusPRPOffset)
}

func TestWipe(t *testing.T) {
	r := newRig(devtest.New(t))
	want := drivetest.Pattern(diskSize)
	r.io("zeroes", cmd{op: ioWriteZeroes, dw: [6]uint32{8, 0, 7}}, statusOK)
	r.io("zeroes that deallocate", cmd{op: ioWriteZeroes, dw: [6]uint32{32, 0, 7 | bitDeallocate}}, statusOK)
	clear(want[8*512 : 16*512])
	clear(want[32*512 : 40*512])
	if !bytes.Equal(r.hd.Image.Bytes(), want) {
		t.Error("the image is not as it should be")
	}
	r.io("zeroes beyond the end", cmd{op: ioWriteZeroes, dw: [6]uint32{diskSize / 512, 0, 7}}, statusLBARange)
	ranges := func(pairs ...uint32) cmd {
		var p []byte
		for i := 0; i < len(pairs); i += 2 {
			p = binary.LittleEndian.AppendUint32(p, 0)
			p = binary.LittleEndian.AppendUint32(p, pairs[i+1])
			p = binary.LittleEndian.AppendUint64(p, uint64(pairs[i]))
		}
		r.WriteMem(data, p)
		return cmd{op: ioDSM, prp1: data, dw: [6]uint32{uint32(len(pairs)/2 - 1), dsmDeallocate}}
	}
	r.io("deallocate", ranges(0, 8, 100, 0, 64, 16), statusOK)
	if n := r.dev.backend.Stats().Counts(block.AcctUnmap).Ops; n != 2 {
		t.Errorf("%d ranges were deallocated", n)
	}
	r.io("beyond the end", ranges(0, 8, diskSize/512, 1), statusLBARange)
	hint := ranges(0, 8)
	hint.dw[1] = 1
	r.io("a hint", hint, statusOK)
	if n := r.dev.backend.Stats().Counts(block.AcctUnmap).Ops; n != 2 {
		t.Error("a hint deallocates")
	}
}

func TestEvents(t *testing.T) {
	r := newRig(devtest.New(t), "aerl", "1")
	ask := func(n int) {
		for range n {
			r.add(0, cmd{op: adminAsyncEvent})
			r.ring(0)
			r.settle()
		}
	}
	event := func(what string, status uint16, result uint32) {
		t.Helper()
		e, ok := r.take(0)
		r.taken(0)
		if !ok || e.Status != status || e.Result != result {
			t.Errorf("%s: %+v, %v, want status %#x, result %#x", what, e, ok, status, result)
		}
	}
	ask(3)
	event("one too many", statusTooManyEvents, 0)
	r.Write32(base+doorbells+8*30, 1)
	event("a doorbell of nobody", statusOK, eventError|errorDoorbell<<8|logError<<16)
	r.Write32(base+doorbells, entries)
	if e, ok := r.take(0); ok {
		t.Errorf("before the log is read: %+v", e)
	}
	both := func(what string, c cmd, result uint32) { // the command's end, and an event
		t.Helper()
		r.add(0, c)
		r.ring(0)
		r.settle()
		first, _ := r.take(0)
		second, ok := r.take(0)
		r.taken(0)
		if got := first.Result | second.Result; !ok || first.Status|second.Status != statusOK || got != result {
			t.Errorf("%s: %+v and %+v, want result %#x", what, first, second, result)
		}
	}
	both("a value that cannot be", cmd{op: adminGetLog, prp1: data, dw: [6]uint32{logError | 15<<16}},
		eventError|errorDoorbellValue<<8|logError<<16)
	ask(2)
	resize := func(size int64) {
		r.Do(func() {
			if err := r.hd.Node().Truncate(context.Background(), size, true, block.PreallocOff, 0); err != nil {
				t.Error(err)
			}
		})
	}
	resize(2 * diskSize)
	if _, ok := r.take(0); ok {
		t.Error("it is told what it has not asked for")
	}
	r.admin("ask", cmd{op: adminSetFeatures, dw: [6]uint32{featureEvents, wantNamespace | wantTemperature}}, statusOK)
	resize(3 * diskSize)
	event("another size", statusOK, eventNotice|noticeNamespace<<8|logChanged<<16)
	r.admin("the log", cmd{op: adminGetLog, prp1: data, dw: [6]uint32{logChanged | 1023<<16}}, statusOK)
	if got := r.Read32(data); got != namespaceID {
		t.Errorf("namespace %d has changed", got)
	}
	both("too hot", cmd{op: adminSetFeatures, dw: [6]uint32{featureTemperature, 0x100}}, eventSMART|smartTemperature<<8|logSMART<<16)
	r.admin("health", cmd{op: adminGetLog, nsid: allNamespaces, prp1: data, dw: [6]uint32{logSMART | 127<<16}}, statusOK)
	if got := r.Read32(data); got != 100<<24|temperature<<8|wantTemperature {
		t.Errorf("health %#x", got)
	}
	for _, id := range []uint32{logFirmware, logEffects} {
		r.admin("a log", cmd{op: adminGetLog, prp1: data, dw: [6]uint32{id | 127<<16}}, statusOK)
	}
	r.admin("no log", cmd{op: adminGetLog, prp1: data, dw: [6]uint32{0x66}}, statusInvalidLog)
	r.admin("beyond its end", cmd{op: adminGetLog, prp1: data, dw: [6]uint32{logSMART, 0, 512}}, statusInvalidField)
}

// A driver that takes nothing from its completion queue loses nothing.
func TestFullQueue(t *testing.T) {
	r := newRig(devtest.New(t))
	ended := 0
	for round := range 3 {
		for range entries - 1 {
			r.add(1, cmd{op: ioFlush, nsid: 1})
		}
		r.ring(1)
		r.settle()
		if round == 0 {
			continue // there is just enough room
		}
		for n := -1; n != 0; ended += n {
			n = 0
			for _, ok := r.take(1); ok; _, ok = r.take(1) {
				n++
			}
			r.taken(1)
			r.settle()
		}
	}
	if ended != 3*(entries-1) {
		t.Errorf("%d commands have ended, want %d", ended, 3*(entries-1))
	}
	if r.bus.Pin(0) {
		t.Error("the interrupt is high, and nothing is left")
	}
}

func TestInterrupts(t *testing.T) {
	r := newRig(devtest.New(t))
	pin := func() bool { return r.bus.Pin(0) }
	if pin() {
		t.Error("the interrupt is high from the start")
	}
	r.add(1, cmd{op: ioFlush, nsid: 1})
	r.ring(1)
	r.settle()
	if !pin() {
		t.Error("the interrupt is low")
	}
	r.Write32(base+regINTMS, 1)
	if pin() {
		t.Error("a masked interrupt is high")
	}
	r.CheckRead32(base+regINTMC, 1, "the mask")
	r.Write32(base+regINTMC, 1)
	if !pin() {
		t.Error("the interrupt is low")
	}
	r.take(1)
	r.taken(1)
	if pin() {
		t.Error("the interrupt is high")
	}
	// Messages.
	for i := range uint64(2) {
		r.Write64(base+msixTable+16*i, 0xfee00000)
		r.Write32(base+msixTable+16*i+8, 0x40+uint32(i))
		r.Write32(base+msixTable+16*i+12, 0)
	}
	cap := r.dev.FindCapability(0x11)
	r.bus.WriteConfig(0, slot, cap+2, 2, 1<<15)
	r.MSI.Sent()
	r.io("flush", cmd{op: ioFlush}, statusOK)
	if got := r.MSI.Sent(); len(got) != 1 || got[0].Data != 0x40 {
		t.Errorf("messages %+v", got)
	}
	if pin() {
		t.Error("the pin is high beside messages")
	}
}

func failing(m *devtest.Machine) *rig {
	r := rigWithout(m)
	r.hd = drivetest.New(m, "d0", nil)
	r.hd.InsertFailing(make([]byte, diskSize), drivetest.FailOnce("write", int(unix.ENOSPC)))
	r.plug("werror", "enospc")
	r.enable()
	r.WriteMem(data, bytes.Repeat([]byte{0x55}, 512))
	r.add(1, cmd{op: ioWrite, nsid: 1, prp1: data, dw: [6]uint32{1}})
	r.ring(1)
	r.settle()
	r.Sync()
	if s := m.Env.Run.State(); s != runstate.IOError {
		m.TB.Fatalf("the machine is %s", s)
	}
	if e, ok := r.take(1); ok {
		m.TB.Fatalf("the guest has been told: %+v", e)
	}
	return r
}

func (r *rig) cont() {
	r.Do(func() {
		if err := r.Env.Run.Start(); err != nil {
			r.TB.Error(err)
		}
	})
	r.settle()
}

func TestStopOnError(t *testing.T) {
	r := failing(devtest.New(t))
	r.cont()
	if e, ok := r.take(1); !ok || e.Status != statusOK {
		t.Errorf("after cont: %+v, %v", e, ok)
	}
	if got := r.hd.Image.Bytes()[512:1024]; !bytes.Equal(got, bytes.Repeat([]byte{0x55}, 512)) {
		t.Error("the write is lost")
	}
	r.io("the storage fails no more", cmd{op: ioWrite, prp1: data}, statusOK)
}

// What an error has parked ends when it is aborted, or its queue is deleted.
func TestAbortParked(t *testing.T) {
	for _, c := range []cmd{
		{op: adminAbort, dw: [6]uint32{1 | 3<<16}}, {op: adminDeleteSQ, dw: [6]uint32{1}},
	} {
		r := failing(devtest.New(t))
		r.add(0, c)
		r.ring(0)
		r.cont2()
		r.settle()
		if e, ok := r.take(1); !ok || e.Status != statusAborted && e.Status != statusOK {
			t.Errorf("command %#x: the write has ended with %+v, %v", c.op, e, ok)
		}
		if e, ok := r.take(0); !ok || e.Status != statusOK {
			t.Errorf("command %#x: %+v, %v", c.op, e, ok)
		}
	}
}

// cont2 lets the controller go on while what is parked stays so.
func (r *rig) cont2() {
	r.dev.held.Store(false)
	r.dev.wake.Kick()
}

// A command that waits is in the saved state, and is begun where that is loaded.
func TestParkedState(t *testing.T) {
	r := failing(devtest.New(t))
	saved, err := r.Env.State.SaveAll()
	if err != nil {
		t.Fatal(err)
	}
	ram := r.ReadMem(0, data+0x1000)
	m := devtest.New(t)
	to := rigWithout(m)
	to.hd = drivetest.New(m, "d0", make([]byte, diskSize))
	to.plug("werror", "enospc")
	m.WriteMem(0, ram)
	m.Do(func() {
		if err := m.Env.Run.Stop(runstate.Paused); err != nil {
			t.Error(err)
		}
		if err := m.Env.State.LoadAll(saved); err != nil {
			t.Error(err)
		}
	})
	to.tails, to.heads, to.laps = r.tails, r.heads, r.laps
	to.cont()
	if e, ok := to.take(1); !ok || e.Status != statusOK {
		t.Errorf("after cont: %+v, %v", e, ok)
	}
	if got := to.hd.Image.Bytes()[512:1024]; !bytes.Equal(got, bytes.Repeat([]byte{0x55}, 512)) {
		t.Error("the write has not been made")
	}
	to.taken(1)
	to.io("it goes on", cmd{op: ioFlush}, statusOK)
}

func TestProperties(t *testing.T) {
	m := devtest.New(t)
	r := rigWithout(m)
	drivetest.New(m, "d0", make([]byte, diskSize))
	for _, c := range []struct{ props, want string }{
		{"drive=d0", "serial property not set"},
		{"serial=x", "drive property not set"},
		{"drive=d0 serial=x max_ioqpairs=0", "max_ioqpairs must be between 1 and 2047"},
		{"drive=d0 serial=x msix_qsize=0", "msix_qsize must be between 1 and 2048"},
		{"drive=d0 serial=x mdts=0", "mdts must be between 1 and 9"},
		{"drive=d0 serial=x aer_max_queued=0", "aer_max_queued must be between 1 and 1024"},
		{"drive=d0 serial=x logical_block_size=8192", "logical_block_size must be 512 to 4096 for nvme"},
	} {
		var props []string
		for _, kv := range strings.Fields(c.props) {
			k, v, _ := strings.Cut(kv, "=")
			props = append(props, k, v)
		}
		if _, err := m.TryPlug(r.bus.Dev, TypeName, "", props...); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.props, err, c.want)
		}
	}
	r.plug("max_ioqpairs", "2047", "msix_qsize", "2048")
	r.enable()
}

func hostile(m *devtest.Machine) {
	r := rigWithout(m)
	r.hd = drivetest.New(m, "d0", make([]byte, 64<<10))
	r.plug("max_ioqpairs", "2")
	m.AddSettler(r.settle)
	r.enable()
	for q := range 2 {
		r.add(q, cmd{op: ioRead, nsid: 1, prp1: data, prp2: list, dw: [6]uint32{0, 0, 15}})
		r.add(q, cmd{op: adminIdentify, nsid: 1, prp1: data, dw: [6]uint32{1}})
	}
}

var hostileRanges = []devtest.Range{
	devtest.MMIO(base, 0x40), devtest.MMIO(base+doorbells, 32), devtest.MMIO(adminSQ, 6*commandSize), devtest.MMIO(ioSQ, 6*commandSize),
	devtest.MMIO(list, 128),
}

func FuzzQueues(f *testing.F) { devtest.FuzzIO(f, hostile, hostileRanges...) }

func FuzzState(f *testing.F) { devtest.FuzzState(f, hostile, hostileRanges...) }

func TestState(t *testing.T) {
	devtest.RoundTrip(t, hostile, func(m *devtest.Machine) {
		m.Write32(base+doorbells, 4)
		m.Write32(base+doorbells+8, 1)
	})
}

func TestConcurrent(t *testing.T) { devtest.Concurrent(t, hostile, hostileRanges...) }

// reads returns what reads 4 KiB.
func reads(tb testing.TB) func() {
	m := devtest.New(tb)
	r := rigWithout(m)
	m.AddDrive("d0", diskSize, block.Settings{})
	r.plug()
	r.enable()
	sq := r.dev.sqs[1]
	c := command(cmd{op: ioRead, nsid: 1, prp1: data, dw: [6]uint32{0, 0, 7}}.bytes(1))
	return func() {
		r.dev.worker.Exclude(func() {
			sq.begin(&c)
			r.dev.thread.Flush()
		})
		for r.dev.queue.Active() > 0 { // Queue.Wait allocates
			runtime.Gosched()
		}
		sq.cq.mu.Lock()
		sq.cq.head = sq.cq.tail
		sq.cq.mu.Unlock()
	}
}

func TestNoAllocations(t *testing.T) {
	if n := testing.AllocsPerRun(1000, reads(t)); n >= 1 {
		t.Errorf("%v allocations for a read, want none", n)
	}
}

func BenchmarkReads(b *testing.B) {
	run := reads(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}
