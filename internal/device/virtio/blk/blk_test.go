package blk

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/device/devtest"
	"govmd/internal/device/virtio/virtiotest"
	"govmd/internal/iothread"
	"govmd/internal/object"
	"govmd/internal/qmp"
	"govmd/internal/runstate"
)

const (
	kind     = "virtio-blk"
	header   = virtiotest.DataBase
	data     = virtiotest.DataBase + 0x1000
	status   = virtiotest.DataBase + 0x800
	indirect = 1 << 28
	eventIdx = 1 << 29
	all      = 1<<featureFlush | 1<<featureConfigWCE | 1<<featureDiscard | 1<<featureWriteZeroes | 1<<featureBlockSize
)

// disk is a rig with a disk of 1 MiB.
type disk struct {
	*virtiotest.Rig
	dev  *Device
	ring *virtiotest.Ring
	file string
}

func newDisk(t testing.TB, set block.Settings, props ...string) *disk {
	m := devtest.New(t)
	file := m.AddDrive("disk0", 1<<20, set)
	return diskOn(virtiotest.MMIOOn(m, false, kind, append([]string{"drive", "disk0"}, props...)...), file)
}

func diskOn(r *virtiotest.Rig, file string) *disk {
	d := &disk{Rig: r, dev: r.Core.Object().(*Device), file: file}
	d.ring = r.Start(all|indirect|eventIdx, 1)[0]
	return d
}

// settle waits until all requests have ended.
func (d *disk) settle() {
	d.Settle()
	_ = d.dev.queue.Wait(context.Background())
	d.Settle()
}

// add adds a request without telling the device.
func (d *disk) add(kind uint32, sector uint64, segs ...virtiotest.Seg) {
	h := make([]byte, headerSize)
	binary.LittleEndian.PutUint32(h, kind)
	binary.LittleEndian.PutUint64(h[8:], sector)
	d.WriteMem(header, h)
	d.WriteMem(status, []byte{0xee})
	list := append([]virtiotest.Seg{virtiotest.Out(header, headerSize)}, segs...)
	d.ring.Add(append(list, virtiotest.In(status, 1))...)
}

// do makes a request and returns its status, and how much the device says it has
// written.
func (d *disk) do(kind uint32, sector uint64, segs ...virtiotest.Seg) (byte, uint32) {
	d.TB.Helper()
	d.add(kind, sector, segs...)
	d.Kick(0)
	d.settle()
	used := d.ring.Take()
	if len(used) != 1 {
		d.TB.Fatalf("used %v", used)
	}
	return d.ReadMem(status, 1)[0], used[0].Len
}

func (d *disk) want(what string, kind uint32, sector uint64, want byte, segs ...virtiotest.Seg) {
	d.TB.Helper()
	if got, _ := d.do(kind, sector, segs...); got != want {
		d.TB.Errorf("%s: status %d, want %d", what, got, want)
	}
}

func (d *disk) content() []byte {
	p, err := os.ReadFile(d.file)
	if err != nil {
		d.TB.Fatal(err)
	}
	return p
}

func TestReadWrite(t *testing.T) {
	d := newDisk(t, block.Settings{}, "serial", "S-1234")
	if id := d.DeviceID(); id != deviceID {
		t.Errorf("device ID %d", id)
	}
	p := bytes.Repeat([]byte("0123456789abcdef"), 96) // 1536 bytes
	d.WriteMem(data, p)
	if st, n := d.do(typeOut, 3, virtiotest.Out(data, 512), virtiotest.Out(data+512, 1024)); st != statusOK || n != 1 {
		t.Errorf("write: status %d, %d bytes", st, n)
	}
	if got := d.content()[3*512:][:1536]; !bytes.Equal(got, p) {
		t.Error("the file does not have what was written")
	}
	d.WriteMem(data, make([]byte, 2048))
	if st, n := d.do(typeIn, 3, virtiotest.In(data, 100), virtiotest.In(data+100, 1436)); st != statusOK || n != 1537 {
		t.Errorf("read: status %d, %d bytes", st, n)
	}
	if got := d.ReadMem(data, 1536); !bytes.Equal(got, p) {
		t.Error("what was read is not what was written")
	}
	d.want("flush", typeFlush, 0, statusOK)
	if st, n := d.do(typeGetID, 0, virtiotest.In(data, idSize)); st != statusOK || n != idSize+1 || string(d.ReadMem(data, 7)) != "S-1234\x00" {
		t.Errorf("identification: status %d, %d bytes, %q", st, n, d.ReadMem(data, idSize))
	}
	c := d.dev.backend.Stats().Counts(block.AcctWrite)
	if c.Ops != 1 || c.Bytes != 1536 {
		t.Errorf("accounts: %+v", c)
	}
}

func TestWipe(t *testing.T) {
	d := newDisk(t, block.Settings{Unmap: true})
	fill := bytes.Repeat([]byte{0xaa}, 65536)
	d.WriteMem(data, fill)
	d.want("write", typeOut, 0, statusOK, virtiotest.Out(data, 65536))
	segment := func(sector uint64, count, flags uint32) virtiotest.Seg {
		p := make([]byte, segmentSize)
		binary.LittleEndian.PutUint64(p, sector)
		binary.LittleEndian.PutUint32(p[8:], count)
		binary.LittleEndian.PutUint32(p[12:], flags)
		d.WriteMem(data, p)
		return virtiotest.Out(data, segmentSize)
	}
	d.want("zeroes", typeWriteZeroes, 0, statusOK, segment(8, 8, 0))
	d.want("zeroes that unmap", typeWriteZeroes, 0, statusOK, segment(32, 8, flagUnmap))
	d.want("discard", typeDiscard, 0, statusOK, segment(64, 32, 0))
	want := bytes.Clone(fill)
	clear(want[8*512:][:8*512])
	clear(want[32*512:][:8*512])
	clear(want[64*512:][:32*512])
	if got := d.content()[:65536]; !bytes.Equal(got, want) {
		t.Error("the file is not as it should be")
	}
	d.want("a flag of the future", typeWriteZeroes, 0, statusUnsup, segment(0, 1, 2))
	d.want("a discard with the flag of the other", typeDiscard, 0, statusUnsup, segment(0, 1, flagUnmap))
	d.want("beyond the end", typeDiscard, 0, statusIOErr, segment(2047, 2, 0))
	d.want("a sum that wraps", typeDiscard, 0, statusIOErr, segment(1<<64-1, 2, 0))
	d.want("too many", typeWriteZeroes, 0, statusIOErr, segment(0, 1<<22, 0))
	d.want("two segments", typeDiscard, 0, statusUnsup, virtiotest.Out(data, 2*segmentSize))
}

func TestBadRequests(t *testing.T) {
	d := newDisk(t, block.Settings{})
	d.want("an unknown type", 77, 0, statusUnsup, virtiotest.In(data, 512))
	d.want("a SCSI command", 2, 0, statusUnsup, virtiotest.In(data, 512))
	d.want("half a sector", typeIn, 0, statusIOErr, virtiotest.In(data, 256))
	d.want("beyond the end", typeIn, 2047, statusIOErr, virtiotest.In(data, 1024))
	d.want("far beyond the end", typeOut, 1<<63, statusIOErr, virtiotest.Out(data, 512))
	d.want("nothing to read", typeIn, 0, statusOK)
	if n := d.dev.backend.Stats().Counts(block.AcctRead).Invalid; n != 2 {
		t.Errorf("%d invalid reads are accounted", n)
	}
	// Without a header, or room for a status, the driver has broken the device.
	for _, segs := range [][]virtiotest.Seg{
		{virtiotest.Out(header, 15), virtiotest.In(status, 1)},
		{virtiotest.Out(header, 16)},
		{virtiotest.In(status, 1)},
	} {
		d := newDisk(t, block.Settings{})
		d.ring.Add(segs...)
		d.Kick(0)
		if !d.Broken() {
			t.Errorf("%v does not break the device", segs)
		}
		d.ring = d.Start(all, 1)[0]
		d.want("after a reset", typeFlush, 0, statusOK)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	d := newDisk(t, block.Settings{ReadOnly: true})
	if d.Offered()>>featureReadOnly&1 == 0 {
		t.Error("it does not say that it is read-only")
	}
	d.want("write", typeOut, 0, statusIOErr, virtiotest.Out(data, 512))
	d.want("read", typeIn, 0, statusOK, virtiotest.In(data, 512))
}

func TestConfig(t *testing.T) {
	d := newDisk(t, block.Settings{}, "physical_block_size", "4096", "min_io_size", "8192", "opt_io_size", "65536", "num-queues", "3")
	for _, c := range []struct {
		off  uint64
		size int
		want uint64
	}{
		{cfgCapacity, 8, 2048}, {cfgSegMax, 4, 254}, {cfgBlockSize, 4, 512}, {cfgPhysicalExp, 1, 3}, {cfgMinIO, 2, 16}, {cfgOptIO, 4, 128},
		{cfgWriteback, 1, 1}, {cfgNumQueues, 2, 3}, {cfgMaxDiscard, 4, 1<<22 - 1}, {cfgDiscardSegs, 4, 1}, {cfgDiscardAlign, 4, 1},
		{cfgMaxZeroes, 4, 1<<22 - 1}, {cfgZeroesSegs, 4, 1}, {cfgMayUnmap, 1, 1}, {cfgHeads, 1, 16}, {cfgSectors, 1, 63},
	} {
		if got := d.ReadConfig(c.off, c.size); got != c.want {
			t.Errorf("configuration at %d: %d, want %d", c.off, got, c.want)
		}
	}
	if n := d.QueueMax(2); n != 256 {
		t.Errorf("queue 2 has %d", n)
	}
	d.WriteConfig(cfgWriteback, 1, 0)
	if d.dev.backend.WriteCache() || d.ReadConfig(cfgWriteback, 1) != 0 {
		t.Error("the write cache is still on")
	}
	generation := d.Core.ConfigGeneration()
	d.Do(func() {
		if err := d.dev.backend.Node().Truncate(context.Background(), 2<<20, true, block.PreallocOff, 0); err != nil {
			t.Error(err)
		}
	})
	if got := d.ReadConfig(cfgCapacity, 8); got != 4096 || d.Core.ConfigGeneration() == generation || d.ISR()&2 == 0 {
		t.Errorf("after a resize: %d sectors", got)
	}
	d.want("a read of what is new", typeIn, 4095, statusOK, virtiotest.In(data, 512))
}

// The cache that a driver sets lasts until its next reset, and is saved.
func TestCache(t *testing.T) {
	d := newDisk(t, block.Settings{})
	d.WriteConfig(cfgWriteback, 1, 0)
	saved, err := d.Env.State.SaveAll()
	if err != nil {
		t.Fatal(err)
	}
	d.Start(all, 1)
	if !d.dev.backend.WriteCache() {
		t.Error("a reset does not restore the write cache")
	}
	d.Do(func() {
		if err := d.Env.State.LoadAll(saved); err != nil {
			t.Error(err)
		}
	})
	if d.dev.backend.WriteCache() {
		t.Error("the write cache is on in spite of the state")
	}
	d.WriteConfig(cfgWriteback, 1, 1)
	d.Start(0, 1) // a driver that knows of no flushes
	d.Start(all, 1)
	if !d.dev.backend.WriteCache() {
		t.Error("the write cache stays off after an old driver")
	}
}

// The geometry is that of the partition table, as on a disk that has been elsewhere.
func TestGeometry(t *testing.T) {
	m := devtest.New(t)
	file := m.AddDrive("disk0", 16<<20, block.Settings{})
	mbr := make([]byte, 512)
	copy(mbr[0x1be:], []byte{0, 1, 1, 0, 0x83, 7, 32, 100, 32, 0, 0, 0, 0, 4, 0, 0}) // ends at head 7, sector 32
	mbr[510], mbr[511] = 0x55, 0xaa
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(mbr, 0); err != nil {
		t.Fatal(err)
	}
	d := diskOn(virtiotest.MMIOOn(m, false, kind, "drive", "disk0"), file)
	if c, h, s := d.ReadConfig(cfgCylinders, 2), d.ReadConfig(cfgHeads, 1), d.ReadConfig(cfgSectors, 1); c != 128 || h != 8 || s != 32 {
		t.Errorf("%d cylinders of %d heads with %d sectors", c, h, s)
	}
	if name := d.dev.backend.DeviceName(); name != "dev0" {
		t.Errorf("the device is %q", name)
	}
}

// A driver that knows nothing of flushes needs none.
func TestOldDriversWriteThrough(t *testing.T) {
	d := newDisk(t, block.Settings{})
	d.Start(0, 1)
	if d.dev.backend.WriteCache() {
		t.Error("the write cache is on for a driver without flushes")
	}
}

func TestProperties(t *testing.T) {
	m := devtest.New(t)
	m.AddDrive("disk0", 1<<20, block.Settings{})
	tr, _ := virtiotest.PlugMMIO(m, virtiotest.MMIOBase, false)
	for _, c := range []struct{ props, want string }{
		{"", "drive property not set"},
		{"drive=none", "Property 'virtio-blk-device.drive' can't find value 'none'"},
		{"drive=disk0 scsi=on", "scsi=on is not supported: virtio-scsi passes SCSI commands"},
		{"drive=disk0 num-queues=0", "num-queues property must be larger than 0"},
		{"drive=disk0 queue-size=2", "invalid queue-size property (2), must be > 2"},
		{"drive=disk0 queue-size=100", "invalid queue-size property (100), must be a power of 2 (max 1024)"},
		{"drive=disk0 max-discard-sectors=0", "invalid max-discard-sectors property (0), must be between 1 and 2147483647"},
		{"drive=disk0 logical_block_size=1000", "Property dev1.logical_block_size doesn't take value '1000', it's not a power of 2"},
		{"drive=disk0 logical_block_size=4096 physical_block_size=512", "logical_block_size > physical_block_size not supported"},
		{"drive=disk0 min_io_size=100", "min_io_size must be a multiple of logical_block_size"},
		{"drive=disk0 cyls=70000 heads=1 secs=1", "cyls must be between 1 and 65535"},
		{"drive=disk0 iothread=none", "Device 'none' not found"},
	} {
		var props []string
		for _, kv := range strings.Fields(c.props) {
			k, v, _ := strings.Cut(kv, "=")
			props = append(props, k, v)
		}
		if _, err := m.TryPlug(tr.Bus(), kind+"-device", "dev1", props...); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.props, err, c.want)
		}
		if b := m.Env.Blocks.Backend("disk0"); b.Device() != nil {
			t.Fatalf("%s: the drive is still taken", c.props)
		}
	}
	dev := m.Plug(tr.Bus(), kind+"-device", "dev0", "drive", "disk0")
	tr2, _ := virtiotest.PlugMMIO(m, virtiotest.MMIOBase+0x1000, false)
	if _, err := m.TryPlug(tr2.Bus(), kind+"-device", "dev1", "drive", "disk0"); err == nil || err.Error() != "Drive 'disk0' is already in use by another device" {
		t.Errorf("a drive in use: %v", err)
	}
	m.Unplug(dev)
	m.Plug(tr2.Bus(), kind+"-device", "dev1", "drive", "disk0")
}

// What fails with werror=stop stops the machine, and is made again on cont.
func TestStopOnError(t *testing.T) {
	m := devtest.New(t)
	file := m.AddDrive("plain", 1<<20, block.Settings{})
	object := func(pairs ...any) *qmp.Object {
		o := &qmp.Object{}
		for i := 0; i < len(pairs); i += 2 {
			o.Add(pairs[i].(string), pairs[i+1])
		}
		return o
	}
	rule := object("event", "pwritev", "errno", int64(unix.ENOSPC), "once", true)
	m.AddImage("disk0", "", object("driver", "raw", "file", object("driver", "blkdebug",
		"image", object("driver", "file", "filename", file, "locking", "off"), "inject-error", []any{rule})), block.Settings{})
	d := diskOn(virtiotest.MMIOOn(m, false, kind, "drive", "disk0", "werror", "enospc"), file)
	d.WriteMem(data, bytes.Repeat([]byte{0x55}, 512))
	d.add(typeOut, 1, virtiotest.Out(data, 512))
	d.Kick(0)
	d.settle()
	d.Sync()
	if s := m.Env.Run.State(); s != runstate.IOError {
		t.Fatalf("the machine is %s", s)
	}
	if used := d.ring.Take(); len(used) > 0 {
		t.Fatalf("the guest has been told: %v", used)
	}
	if st, ok := d.dev.backend.IOStatus(); !ok || st != block.IOStatusNoSpace {
		t.Errorf("io-status %s, %v", st, ok)
	}
	m.Do(func() {
		if err := m.Env.Run.Start(); err != nil {
			t.Error(err)
		}
	})
	d.settle()
	if used := d.ring.Take(); len(used) != 1 || d.ReadMem(status, 1)[0] != statusOK {
		t.Errorf("after cont: used %v, status %d", used, d.ReadMem(status, 1)[0])
	}
	if got := d.content()[512:1024]; !bytes.Equal(got, bytes.Repeat([]byte{0x55}, 512)) {
		t.Error("the write is lost")
	}
}

// While the machine is stopped nothing is taken from the queues.
func TestStop(t *testing.T) {
	d := newDisk(t, block.Settings{})
	stop := func(fn func() error) {
		d.Do(func() {
			if err := fn(); err != nil {
				t.Error(err)
			}
		})
	}
	stop(func() error { return d.Env.Run.Stop(runstate.Paused) })
	d.add(typeIn, 0, virtiotest.In(data, 512))
	d.Driver.Notify(0)
	d.settle()
	if used := d.ring.Take(); len(used) > 0 {
		t.Errorf("used %v while the machine is stopped", used)
	}
	stop(d.Env.Run.Start)
	d.settle()
	if used := d.ring.Take(); len(used) != 1 {
		t.Errorf("used %v after it goes on", used)
	}
}

func TestIOThread(t *testing.T) {
	m := devtest.New(t)
	file := m.AddDrive("disk0", 1<<20, block.Settings{})
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
	r := virtiotest.MMIOOn(m, false, kind, "drive", "disk0", "iothread", "io0")
	d := diskOn(r, file)
	if d.dev.Core.Worker() != th.Worker() {
		t.Error("the queues are not served by the iothread")
	}
	for i := range uint64(20) {
		d.WriteMem(data, bytes.Repeat([]byte{byte(i + 1)}, 4096))
		d.want("write", typeOut, i*8, statusOK, virtiotest.Out(data, 4096))
	}
	for i, b := range d.content()[:20*4096] {
		if b != byte(i/4096+1) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
	m.Unplug(r.Outer)
	if u := o.Obj().Users(); u != "" {
		t.Errorf("the iothread is still used by %s", u)
	}
}

func TestPCI(t *testing.T) {
	m := devtest.New(t)
	file := m.AddDrive("disk0", 1<<20, block.Settings{})
	d := diskOn(virtiotest.PCIOn(m, "virtio-blk-pci", "drive", "disk0"), file)
	d.want("read", typeIn, 0, statusOK, virtiotest.In(data, 4096))
}

func TestState(t *testing.T) {
	mk := func(m *devtest.Machine) {
		m.AddDrive("disk0", 1<<20, block.Settings{})
		virtiotest.MMIOOn(m, false, kind, "drive", "disk0")
	}
	devtest.RoundTrip(t, mk, func(m *devtest.Machine) {
		r := virtiotest.RigOf(m)
		d := &disk{Rig: r, dev: r.Core.Object().(*Device)}
		d.ring = r.Start(all|eventIdx, 1)[0]
		d.want("read", typeIn, 0, statusOK, virtiotest.In(data, 512))
	})
}

func FuzzRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) {
		m.AddDrive("disk0", 1<<20, block.Settings{})
		virtiotest.MMIOOn(m, false, kind, "drive", "disk0", "num-queues", "2")
	}, devtest.MMIO(virtiotest.MMIOBase, 0x200), devtest.MMIO(virtiotest.RingBase, 0x2000))
}

func startOn(m *devtest.Machine) {
	m.AddDrive("disk0", 1<<20, block.Settings{})
	virtiotest.Prefill(virtiotest.MMIOOn(m, false, kind, "drive", "disk0").Start(all|indirect|eventIdx, 1))
}

func FuzzRings(f *testing.F) {
	ranges := append(virtiotest.HostileRanges(1), devtest.MMIO(virtiotest.MMIOBase+0x50, 4))
	devtest.FuzzIO(f, startOn, ranges...)
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, startOn, devtest.MMIO(virtiotest.MMIOBase, 0x200))
}

func BenchmarkReads(b *testing.B) {
	d := newDisk(b, block.Settings{})
	b.ReportAllocs()
	for b.Loop() {
		d.add(typeIn, 0, virtiotest.In(data, 4096))
		d.Kick(0)
		d.settle()
		d.ring.Take()
	}
}
