package vscsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/drive/drivetest"
	"govmd/internal/device/scsi"
	"govmd/internal/device/virtio/virtiotest"
	"govmd/internal/iothread"
	"govmd/internal/object"
	"govmd/internal/runstate"
)

const (
	kind     = "virtio-scsi"
	header   = virtiotest.DataBase
	response = virtiotest.DataBase + 0x400
	data     = virtiotest.DataBase + 0x1000
	all      = 1<<featureHotplug | 1<<featureChange
	rings    = 1<<28 | 1<<29 // indirect descriptors, event index
	diskSize = 1 << 20
)

// adapter is a rig with an adapter, a disk of 1 MiB (target 0) and a CD-ROM drive
// (target 1).
type adapter struct {
	*virtiotest.Rig
	dev   *Device
	rings []*virtiotest.Ring
	hd    *drivetest.Drive
}

func newAdapter(m *devtest.Machine, props ...string) *adapter {
	return adapterOn(virtiotest.MMIOOn(m, false, kind, props...))
}

func adapterOn(r *virtiotest.Rig) *adapter {
	a := &adapter{Rig: r, dev: r.Core.Object().(*Device)}
	a.hd = drivetest.New(r.Machine, "d0", drivetest.Pattern(diskSize))
	drivetest.New(r.Machine, "c0", drivetest.Pattern(100<<10))
	r.Plug(a.bus(), "scsi-hd", "hd0", "drive", "d0")
	r.Plug(a.bus(), "scsi-cd", "cd0", "drive", "c0")
	a.rings = r.Start(all|rings, 3)
	a.powerOn()
	return a
}

func (a *adapter) bus() *device.Bus { return a.dev.ChildBuses()[0] }

// powerOn has the units tell that they have been reset.
func (a *adapter) powerOn() {
	a.command(lun(0, 0), "\x00\x00\x00\x00\x00\x00")
	a.command(lun(1, 0), "\x00\x00\x00\x00\x00\x00")
}

func (a *adapter) settle() {
	a.Settle()
	drivetest.Settle(a.Machine)
	a.Settle()
}

func lun(target byte, n uint16) []byte {
	return []byte{1, target, 0x40 | byte(n>>8), byte(n), 0, 0, 0, 0}
}

// add adds a command without telling the device.
func (a *adapter) add(at []byte, cdb string, segs ...virtiotest.Seg) {
	h := make([]byte, headerSize+32)
	copy(h, at)
	h[reqID] = 7
	copy(h[headerSize:], cdb)
	a.WriteMem(header, h)
	a.WriteMem(response, bytes.Repeat([]byte{0xee}, respSize+96))
	list := []virtiotest.Seg{virtiotest.Out(header, uint32(len(h)))}
	for _, s := range segs {
		if !s.Write {
			list = append(list, s)
		}
	}
	list = append(list, virtiotest.In(response, respSize+96))
	for _, s := range segs {
		if s.Write {
			list = append(list, s)
		}
	}
	a.rings[fixedQueues].Add(list...)
}

// reply is a response.
type reply struct {
	response, status byte
	residual, used   uint32
	sense            []byte
}

func (a *adapter) reply() (r reply, ok bool) {
	used := a.rings[fixedQueues].Take()
	if len(used) != 1 {
		return r, false
	}
	p := a.ReadMem(response, respSize+96)
	r = reply{response: p[respResponse], status: p[respStatus], residual: binary.LittleEndian.Uint32(p[respResidual:]), used: used[0].Len}
	r.sense = p[respSize:][:min(96, binary.LittleEndian.Uint32(p))]
	return r, true
}

// command makes a request and waits for its end.
func (a *adapter) command(at []byte, cdb string, segs ...virtiotest.Seg) reply {
	a.TB.Helper()
	a.add(at, cdb, segs...)
	a.Kick(fixedQueues)
	a.settle()
	r, ok := a.reply()
	if !ok {
		a.TB.Fatal("no answer")
	}
	return r
}

func (a *adapter) expect(what string, at []byte, cdb string, resp, status byte, segs ...virtiotest.Seg) reply {
	a.TB.Helper()
	r := a.command(at, cdb, segs...)
	if r.response != resp || r.status != status {
		a.TB.Errorf("%s: response %d, status %d, sense %x, want %d, %d", what, r.response, r.status, r.sense, resp, status)
	}
	return r
}

const (
	testReady = "\x00\x00\x00\x00\x00\x00"
	inquiry   = "\x12\x00\x00\x00\x60\x00"
	read8     = "\x28\x00\x00\x00\x00\x10\x00\x00\x08\x00"
	write8    = "\x2a\x00\x00\x00\x00\x10\x00\x00\x08\x00"
)

func TestRequests(t *testing.T) {
	virtiotest.ForEachTransport(t, func(t *testing.T, mk func(testing.TB, string, ...string) *virtiotest.Rig) {
		a := adapterOn(mk(t, kind))
		if r := a.expect("inquiry", lun(0, 0), inquiry, respOK, scsi.StatusGood, virtiotest.In(data, 100)); r.residual != 4 || r.used != respSize+96+100 {
			t.Errorf("INQUIRY: residual %d, used %d", r.residual, r.used)
		}
		if got := a.ReadMem(data+16, 13); string(got) != "QEMU HARDDISK" {
			t.Errorf("it is a %q", got)
		}
		if r := a.expect("read", lun(0, 0), read8, respOK, scsi.StatusGood, virtiotest.In(data, 100), virtiotest.In(data+100, 3996)); r.residual != 0 {
			t.Errorf("READ: residual %d", r.residual)
		}
		want := drivetest.Pattern(diskSize)
		if !bytes.Equal(a.ReadMem(data, 4096), want[16*512:24*512]) {
			t.Error("what was read is not what is on the disk")
		}
		p := bytes.Repeat([]byte("scsi"), 1024)
		a.WriteMem(data, p)
		if r := a.expect("write", lun(0, 0), write8, respOK, scsi.StatusGood, virtiotest.Out(data, 4196)); r.residual != 100 || r.used != respSize+96 {
			t.Errorf("WRITE: residual %d, used %d", r.residual, r.used)
		}
		if !bytes.Equal(a.hd.Image.Bytes()[16*512:24*512], p) {
			t.Error("the image does not have what was written")
		}
		r := a.expect("no command", lun(0, 0), "\xff", respOK, scsi.StatusCheckCondition)
		if len(r.sense) != 18 || r.sense[2] != 5 || r.sense[12] != 0x20 {
			t.Errorf("sense %x", r.sense)
		}
		a.expect("peripheral addressing", []byte{1, 0, 0, 0, 0, 0, 0, 0}, testReady, respOK, scsi.StatusGood)
		a.expect("no unit", lun(0, 300), testReady, respOK, scsi.StatusCheckCondition)
		a.expect("no target", lun(2, 0), testReady, respBadTarget, 0)
		a.expect("another form", []byte{1, 0, 0x80, 0, 0, 0, 0, 0}, testReady, respBadTarget, 0)
		a.expect("no address", []byte{2, 0, 0x40, 0, 0, 0, 0, 0}, testReady, respBadTarget, 0)
		a.expect("too little room", lun(0, 0), read8, respOverrun, 0, virtiotest.In(data, 4095))
		a.expect("the other direction", lun(0, 0), read8, respOverrun, 0, virtiotest.Out(data, 4096))
		a.expect("both directions", lun(0, 0), read8, respFailure, 0, virtiotest.Out(data, 512), virtiotest.In(data, 4096))
	})
}

func TestConfig(t *testing.T) {
	a := newAdapter(devtest.New(t), "num_queues", "2", "max_sectors", "1000", "cmd_per_lun", "17")
	for _, c := range []struct {
		off  uint64
		size int
		want uint64
	}{
		{cfgNumQueues, 4, 2}, {cfgSegMax, 4, 254}, {cfgMaxSectors, 4, 1000}, {cfgCmdPerLUN, 4, 17}, {cfgEventSize, 4, 16},
		{cfgSenseSize, 4, 96}, {cfgCDBSize, 4, 32}, {cfgMaxChannel, 2, 0}, {cfgMaxTarget, 2, 255}, {cfgMaxLUN, 4, 16383},
	} {
		if got := a.ReadConfig(c.off, c.size); got != c.want {
			t.Errorf("configuration at %d: %d, want %d", c.off, got, c.want)
		}
	}
	if a.QueueMax(3) != 256 || a.QueueMax(4) != 0 {
		t.Errorf("queues 3 and 4 have %d and %d", a.QueueMax(3), a.QueueMax(4))
	}
	// Smaller sense data and commands.
	a.WriteConfig(cfgSenseSize, 4, 8)
	a.WriteConfig(cfgCDBSize, 4, 6)
	h := append(lun(0, 0), make([]byte, 17)...)
	h[headerSize] = 0xff
	a.WriteMem(header, h)
	a.rings[2].Add(virtiotest.Out(header, headerSize+6), virtiotest.In(response, respSize+8))
	a.Kick(2)
	a.settle()
	if p := a.ReadMem(response, respSize+8); len(a.rings[2].Take()) != 1 || p[0] != 8 || p[respSize+2] != 5 {
		t.Errorf("response %x", p)
	}
	a.WriteConfig(cfgSenseSize, 4, 1<<16)
	if !a.Broken() {
		t.Error("sense data of 64 KiB are accepted")
	}
	a.Start(all, 3)
	if a.ReadConfig(cfgSenseSize, 4) != 96 || a.ReadConfig(cfgCDBSize, 4) != 32 {
		t.Error("a reset leaves the sizes")
	}
}

func TestProperties(t *testing.T) {
	m := devtest.New(t)
	tr, _ := virtiotest.PlugMMIO(m, virtiotest.MMIOBase, false)
	for _, c := range []struct{ props, want string }{
		{"num_queues=0", "Invalid number of queues (= 0), must be a positive integer less than 1022."},
		{"num_queues=2000", "Invalid number of queues (= 2000), must be a positive integer less than 1022."},
		{"virtqueue_size=2", "invalid virtqueue_size property (= 2), must be > 2"},
		{"virtqueue_size=48", "invalid virtqueue_size property (= 48), must be a power of 2 (max 1024)"},
		{"cmd_per_lun=0", "cmd_per_lun must be larger than 0"},
		{"iothread=none", "Device 'none' not found"},
	} {
		k, v, _ := strings.Cut(c.props, "=")
		if _, err := m.TryPlug(tr.Bus(), kind+"-device", "dev1", k, v); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.props, err, c.want)
		}
	}
	m.Plug(tr.Bus(), kind+"-device", "dev1")
}

func TestBadRequests(t *testing.T) {
	for _, c := range []struct {
		queue int
		segs  []virtiotest.Seg
	}{
		{2, []virtiotest.Seg{virtiotest.Out(header, 50), virtiotest.In(response, 108)}},
		{2, []virtiotest.Seg{virtiotest.Out(header, 51), virtiotest.In(response, 107)}},
		{2, []virtiotest.Seg{virtiotest.Out(header, 51)}},
		{controlQueue, []virtiotest.Seg{virtiotest.Out(header, 3), virtiotest.In(response, 1)}},
		{controlQueue, []virtiotest.Seg{virtiotest.Out(header, 23), virtiotest.In(response, 1)}},
		{controlQueue, []virtiotest.Seg{virtiotest.Out(header, 24)}},
	} {
		a := newAdapter(devtest.New(t))
		a.WriteMem(header, make([]byte, 64))
		a.rings[c.queue].Add(c.segs...)
		a.Kick(c.queue)
		if !a.Broken() {
			t.Errorf("queue %d: %v does not break the device", c.queue, c.segs)
		}
		a.rings = a.Start(all, 3)
		a.powerOn()
		a.expect("after a reset", lun(0, 0), testReady, respOK, scsi.StatusGood)
	}
}

// manage makes a request to the control queue.
func (a *adapter) manage(function uint32, at []byte, id uint64) {
	p := make([]byte, tmfSize)
	binary.LittleEndian.PutUint32(p[tmfSub:], function)
	copy(p[tmfLUN:], at)
	binary.LittleEndian.PutUint64(p[tmfID:], id)
	a.WriteMem(header+0x100, p)
	a.WriteMem(response+0x100, []byte{0xee})
	a.rings[controlQueue].Add(virtiotest.Out(header+0x100, tmfSize), virtiotest.In(response+0x100, 1))
	a.Kick(controlQueue)
	a.settle()
}

func (a *adapter) managed(what string, want byte) {
	a.TB.Helper()
	if used := a.rings[controlQueue].Take(); len(used) != 1 {
		a.TB.Errorf("%s: used %v", what, used)
	} else if got := a.ReadMem(response+0x100, 1)[0]; got != want {
		a.TB.Errorf("%s: response %d, want %d", what, got, want)
	}
}

func TestTaskManagement(t *testing.T) {
	a := newAdapter(devtest.New(t))
	for _, c := range []struct {
		function uint32
		at       []byte
		want     byte
	}{
		{abortTask, lun(0, 0), respComplete}, {abortTaskSet, lun(0, 0), respComplete}, {2, lun(0, 0), respRejected},
		{clearTaskSet, lun(0, 0), respComplete}, {queryTask, lun(0, 0), respComplete}, {queryTaskSet, lun(0, 0), respComplete},
		{8, lun(0, 0), respRejected}, {abortTask, lun(0, 1), respIncorrectLUN}, {unitReset, lun(0, 1), respIncorrectLUN},
		{abortTask, lun(9, 0), respBadTarget}, {queryTask, lun(9, 0), respBadTarget}, {nexusReset, lun(9, 0), respComplete},
	} {
		a.manage(c.function, c.at, 7)
		a.managed("", c.want)
	}
	a.expect("before a reset", lun(0, 0), testReady, respOK, scsi.StatusGood)
	a.manage(unitReset, lun(0, 0), 0)
	a.managed("reset", respComplete)
	a.expect("after a reset of the unit", lun(0, 0), testReady, respOK, scsi.StatusCheckCondition)
	a.expect("another unit", lun(1, 0), testReady, respOK, scsi.StatusGood)
	a.manage(nexusReset, lun(1, 0), 0)
	a.managed("reset", respComplete)
	a.expect("after a reset of the nexus", lun(1, 0), testReady, respOK, scsi.StatusCheckCondition)
	// Asynchronous notifications: there are none.
	a.WriteMem(header, []byte{controlANQuery, 0, 0, 0, 1, 0, 0x40, 0, 0, 0, 0, 0, 2, 0, 0, 0})
	a.WriteMem(response, bytes.Repeat([]byte{0xee}, anAnswer))
	a.rings[controlQueue].Add(virtiotest.Out(header, anSize), virtiotest.In(response, anAnswer))
	a.Kick(controlQueue)
	if used := a.rings[controlQueue].Take(); len(used) != 1 || !bytes.Equal(a.ReadMem(response, anAnswer), make([]byte, anAnswer)) {
		t.Errorf("used %v", used)
	}
}

// failing is an adapter whose disk has a write fail for lack of space: the machine
// stops, and the write waits.
func failing(t *testing.T) *adapter {
	a := &adapter{Rig: virtiotest.MMIOOn(devtest.New(t), false, kind)}
	a.dev = a.Core.Object().(*Device)
	a.hd = drivetest.New(a.Machine, "d0", nil)
	a.hd.InsertFailing(make([]byte, diskSize), drivetest.FailOnce("write", int(unix.ENOSPC)))
	drivetest.New(a.Machine, "c0", nil)
	a.Plug(a.bus(), "scsi-hd", "hd0", "drive", "d0", "werror", "enospc")
	a.Plug(a.bus(), "scsi-cd", "cd0", "drive", "c0")
	a.rings = a.Start(all|rings, 3)
	a.powerOn()
	a.WriteMem(data, bytes.Repeat([]byte{0x55}, 4096))
	a.add(lun(0, 0), write8, virtiotest.Out(data, 4096))
	a.Kick(fixedQueues)
	a.settle()
	a.Sync()
	if s := a.Env.Run.State(); s != runstate.IOError {
		t.Fatalf("the machine is %s", s)
	}
	if r, ok := a.reply(); ok {
		t.Fatalf("the guest has been told: %v", r)
	}
	return a
}

func TestStopOnError(t *testing.T) {
	a := failing(t)
	a.Do(func() {
		if err := a.Env.Run.Start(); err != nil {
			t.Error(err)
		}
	})
	a.settle()
	if r, ok := a.reply(); !ok || r.response != respOK || r.status != scsi.StatusGood {
		t.Errorf("after cont: %+v, %v", r, ok)
	}
	if got := a.hd.Image.Bytes()[16*512:][:4096]; !bytes.Equal(got, bytes.Repeat([]byte{0x55}, 4096)) {
		t.Error("the write is lost")
	}
}

// A request that waits is in the saved state, and is made where that is loaded.
func TestParkedState(t *testing.T) {
	a := failing(t)
	saved, err := a.Env.State.SaveAll()
	if err != nil {
		t.Fatal(err)
	}
	ram := a.ReadMem(0, virtiotest.RingBase+3<<16)
	m := devtest.New(t)
	b := &adapter{Rig: virtiotest.MMIOOn(m, false, kind), rings: a.rings}
	b.hd = drivetest.New(m, "d0", make([]byte, diskSize))
	drivetest.New(m, "c0", nil)
	b.dev = b.Core.Object().(*Device)
	b.Plug(b.bus(), "scsi-hd", "hd0", "drive", "d0", "werror", "enospc")
	b.Plug(b.bus(), "scsi-cd", "cd0", "drive", "c0")
	m.WriteMem(0, ram)
	m.Do(func() {
		if err := m.Env.Run.Stop(runstate.Paused); err != nil {
			t.Error(err)
		}
		if err := m.Env.State.LoadAll(saved); err != nil {
			t.Error(err)
		}
		if err := m.Env.Run.Start(); err != nil {
			t.Error(err)
		}
	})
	b.settle()
	if got := b.hd.Image.Bytes()[16*512:][:4096]; !bytes.Equal(got, bytes.Repeat([]byte{0x55}, 4096)) {
		t.Error("the write has not been made")
	}
	if p := b.ReadMem(response, respSize); p[respResponse] != respOK || p[respStatus] != scsi.StatusGood {
		t.Errorf("response %x", p)
	}
}

func TestEvents(t *testing.T) {
	a := newAdapter(devtest.New(t))
	const room = virtiotest.DataBase + 0x3000
	give := func() {
		a.WriteMem(room, bytes.Repeat([]byte{0xee}, eventSize))
		a.rings[eventQueue].Add(virtiotest.In(room, eventSize))
		a.Kick(eventQueue)
	}
	want := func(what string, kind uint32, target, n byte, reason uint32) {
		t.Helper()
		a.settle()
		if used := a.rings[eventQueue].Take(); len(used) != 1 {
			t.Errorf("%s: used %v", what, used)
			return
		}
		p := a.ReadMem(room, eventSize)
		le := binary.LittleEndian
		if le.Uint32(p) != kind || kind&^eventsMissed != 0 && (p[5] != target || p[7] != n) || le.Uint32(p[12:]) != reason {
			t.Errorf("%s: event %x", what, p)
		}
	}
	a.Env.Running = true
	give()
	d := a.Plug(a.bus(), "scsi-cd", "", "scsi-id", "3")
	want("a unit that comes", eventTransportReset, 3, 0, reasonRescan)
	a.expect("the new unit", lun(3, 0), testReady, respOK, scsi.StatusCheckCondition)
	give()
	a.Unplug(d)
	want("a unit that goes", eventTransportReset, 3, 0, reasonRemoved)
	a.expect("the unit that has gone", lun(3, 0), testReady, respBadTarget, 0)
	resize := func(size int64) {
		a.Do(func() {
			if err := a.hd.Node().Truncate(context.Background(), size, true, block.PreallocOff, 0); err != nil {
				t.Error(err)
			}
		})
	}
	give()
	resize(2 * diskSize)
	want("a disk that has grown", eventParamChange, 0, 0, 0x2a|9<<8)
	resize(3 * diskSize)
	a.settle()
	give()
	want("what there was no room for", eventNone|eventsMissed, 0, 0, 0)
	a.rings[eventQueue].Add(virtiotest.In(room, eventSize-1))
	resize(4 * diskSize)
	a.settle()
	if !a.Broken() {
		t.Error("too little room for an event is accepted")
	}
}

func TestIOThread(t *testing.T) {
	m := devtest.New(t)
	o, err := object.New("iothread")
	if err != nil {
		t.Fatal(err)
	}
	th := o.(*iothread.Thread)
	if err := th.Complete(nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(th.Close)
	m.AddObject("io0", o)
	a := &adapter{Rig: virtiotest.MMIOOn(m, false, kind, "iothread", "io0")}
	a.dev = a.Core.Object().(*Device)
	m.AddDrive("f0", diskSize, block.Settings{}) // a file: requests go to the kernel on the thread
	m.Plug(a.bus(), "scsi-hd", "hd0", "drive", "f0")
	a.rings = a.Start(all|rings, 3)
	a.command(lun(0, 0), testReady)
	if a.Core.Worker() != th.Worker() {
		t.Error("the queues are not served by the iothread")
	}
	p := bytes.Repeat([]byte("thread"), 4096/6+1)[:4096]
	a.WriteMem(data, p)
	a.expect("write", lun(0, 0), write8, respOK, scsi.StatusGood, virtiotest.Out(data, 4096))
	a.WriteMem(data, make([]byte, 4096))
	a.expect("read", lun(0, 0), read8, respOK, scsi.StatusGood, virtiotest.In(data, 4096))
	if !bytes.Equal(a.ReadMem(data, 4096), p) {
		t.Error("what was read is not what was written")
	}
	m.Unplug(a.Outer)
	if u := o.Obj().Users(); u != "" {
		t.Errorf("the iothread is still used by %s", u)
	}
}

func TestState(t *testing.T) {
	mk := func(m *devtest.Machine) {
		r := virtiotest.MMIOOn(m, false, kind)
		drivetest.New(m, "d0", drivetest.Pattern(diskSize))
		m.Plug(r.Core.Object().(*Device).ChildBuses()[0], "scsi-hd", "hd0", "drive", "d0")
	}
	devtest.RoundTrip(t, mk, func(m *devtest.Machine) {
		r := virtiotest.RigOf(m)
		a := &adapter{Rig: r, dev: r.Core.Object().(*Device)}
		a.rings = r.Start(all|rings, 3)
		a.command(lun(0, 0), testReady)
		a.expect("read", lun(0, 0), read8, respOK, scsi.StatusGood, virtiotest.In(data, 4096))
		r.WriteConfig(cfgSenseSize, 4, 18)
	})
}

// hostile makes an adapter with a disk, of which requests are there for a fuzz test to
// damage.
func hostile(m *devtest.Machine) {
	r := virtiotest.MMIOOn(m, false, kind)
	drivetest.New(m, "d0", make([]byte, 64<<10))
	bus := r.Core.Object().(*Device).ChildBuses()[0]
	m.Plug(bus, "scsi-hd", "hd0", "drive", "d0")
	m.Plug(bus, "scsi-cd", "cd0")
	a := &adapter{Rig: r, dev: r.Core.Object().(*Device), rings: r.Start(all|rings, 3)}
	a.powerOn()
	for range 3 {
		a.add(lun(0, 0), read8, virtiotest.In(data, 4096))
	}
}

var hostileRanges = append(virtiotest.HostileRanges(3), devtest.MMIO(virtiotest.MMIOBase+0x50, 4), devtest.MMIO(header, 64))

func FuzzRings(f *testing.F) { devtest.FuzzIO(f, hostile, hostileRanges...) }

func FuzzState(f *testing.F) { devtest.FuzzState(f, hostile, hostileRanges...) }

func TestConcurrent(t *testing.T) { devtest.Concurrent(t, hostile, hostileRanges...) }

// reads returns what reads 4 KiB.
func reads(tb testing.TB) func() {
	m := devtest.New(tb)
	a := &adapter{Rig: virtiotest.MMIOOn(m, false, kind)}
	a.dev = a.Core.Object().(*Device)
	m.AddDrive("f0", diskSize, block.Settings{})
	m.Plug(a.bus(), "scsi-hd", "hd0", "drive", "f0")
	a.rings = a.Start(all, 3)
	a.command(lun(0, 0), testReady)
	r := &request{d: a.dev}
	done := make(chan struct{}, 1)
	r.Request.Init(func(*scsi.Request) { done <- struct{}{} })
	buf := make([]byte, 4096)
	return func() {
		copy(r.CDB[:], read8)
		r.In = block.VecOf(buf)
		if a.dev.bus.Start(scsi.Address{}, &r.Request, nil) == scsi.Begun {
			<-done
		}
		if r.Status != scsi.StatusGood {
			tb.Fatal("status ", r.Status)
		}
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
