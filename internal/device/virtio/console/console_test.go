package console_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"govmd/internal/chardev"
	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/virtio/console"
	"govmd/internal/device/virtio/virtiotest"
)

type maker = func(testing.TB, string, ...string) *virtiotest.Rig

const (
	kind      = "virtio-serial"
	size      = 1 << 0
	multiport = 1 << 1
	emergency = 1 << 2

	inBuf  = 0x20000 // of each port, 4 KiB further
	outBuf = 0x40000
	ctlBuf = 0x60000
)

// bed is a rig with a driver for the console's protocol.
type bed struct {
	*virtiotest.Rig
	serial *console.Device
	rings  map[int]*virtiotest.Ring
}

func on(r *virtiotest.Rig) *bed {
	return &bed{Rig: r, serial: r.Core.Object().(*console.Device), rings: map[int]*virtiotest.Ring{}}
}

func (b *bed) addPort(typeName, id string, props ...string) *console.Port {
	b.TB.Helper()
	return b.Plug(b.serial.SerialBus(), typeName, id, props...).(*console.Port)
}

// start sets up the control queues and those of the given ports.
func (b *bed) start(features uint64, ports ...int) {
	b.TB.Helper()
	b.Negotiate(features)
	list := []int{2, 3}
	for _, n := range ports {
		list = append(list, queueOf(n), queueOf(n)+1)
	}
	for _, q := range list {
		b.rings[q] = b.Queue(q, 16)
	}
	b.Go()
	for i := range uint64(8) {
		b.rings[2].Add(virtiotest.In(ctlBuf+i*0x100, 0x100))
	}
	b.Kick(2)
}

func queueOf(port int) int {
	if port == 0 {
		return 0
	}
	return 2*port + 2
}

// say sends a control message.
func (b *bed) say(port uint32, event, value uint16) {
	b.TB.Helper()
	p := binary.LittleEndian.AppendUint32(nil, port)
	p = binary.LittleEndian.AppendUint16(p, event)
	p = binary.LittleEndian.AppendUint16(p, value)
	b.rings[3].Put(ctlBuf+0x1000, p)
	b.rings[3].Add(virtiotest.Out(ctlBuf+0x1000, 8))
	b.Kick(3)
	if u := b.rings[3].Take(); len(u) != 1 {
		b.TB.Fatalf("control message was not taken: %v", u)
	}
}

// heard returns the control messages that have come, and gives their buffers back.
func (b *bed) heard() string {
	b.TB.Helper()
	var list []string
	ring := b.rings[2]
	for _, u := range ring.Take() {
		desc := ring.Get(ring.Desc+16*uint64(u.ID), 16)
		at := binary.LittleEndian.Uint64(desc)
		m := ring.Get(at, int(u.Len))
		s := fmt.Sprintf("%d:%d=%d", binary.LittleEndian.Uint32(m), m[4], m[6])
		if len(m) > 8 {
			s += fmt.Sprintf("(%q)", m[8:])
		}
		list = append(list, s)
		ring.Add(virtiotest.In(at, 0x100))
	}
	b.Kick(2)
	return strings.Join(list, " ")
}

func (b *bed) check(what, got, want string) {
	b.TB.Helper()
	if got != want {
		b.TB.Errorf("%s: %q, want %q", what, got, want)
	}
}

// write sends output through a port.
func (b *bed) write(port int, s string) {
	b.TB.Helper()
	q := queueOf(port) + 1
	at := uint64(outBuf + port<<12)
	b.rings[q].Put(at, []byte(s))
	half := uint32(len(s) / 2)
	if half == 0 {
		b.rings[q].Add(virtiotest.Out(at, uint32(len(s))))
	} else {
		b.rings[q].Add(virtiotest.Out(at, half), virtiotest.Out(at+uint64(half), uint32(len(s))-half))
	}
	b.Kick(q)
}

// offer gives a port a buffer for input.
func (b *bed) offer(port int, n uint32) {
	b.TB.Helper()
	q := queueOf(port)
	b.rings[q].Add(virtiotest.In(uint64(inBuf+port<<12), n))
	b.Kick(q)
}

// read returns what has come into the port's buffers.
func (b *bed) read(port int) string {
	b.TB.Helper()
	b.Settle()
	ring := b.rings[queueOf(port)]
	var s bytes.Buffer
	for _, u := range ring.Take() {
		s.Write(ring.Get(uint64(inBuf+port<<12), int(u.Len)))
	}
	return s.String()
}

// changes returns the events about ports.
func (b *bed) changes() []console.PortChange {
	var list []console.PortChange
	for _, ev := range b.Events() {
		if c, ok := ev.(console.PortChange); ok {
			list = append(list, c)
		}
	}
	return list
}

func TestSimpleConsole(t *testing.T) {
	virtiotest.ForEachTransport(t, func(t *testing.T, mk maker) {
		b := on(mk(t, kind, "max_ports", "1"))
		c := b.AddChardev("c0")
		b.addPort("virtconsole", "con", "chardev", "c0")
		if id := b.DeviceID(); id != 3 {
			t.Errorf("device ID %d", id)
		}
		if f := b.Offered() & 7; f != emergency {
			t.Errorf("features %#x", f)
		}
		if n := b.ReadConfig(4, 4); n != 1 {
			t.Errorf("%d ports", n)
		}
		b.WriteConfig(8, 4, '!')
		b.check("emergency output", c.Output(), "!")
		b.start(0, 0)
		b.write(0, "hello")
		b.check("output", c.Output(), "hello")
		c.Input([]byte("abc")...)
		b.check("input without a buffer", b.read(0), "")
		b.offer(0, 2)
		b.check("input", b.read(0), "ab")
		b.offer(0, 16)
		b.check("more input", b.read(0), "c")
		if c.Pending() != 0 {
			t.Errorf("%d bytes wait", c.Pending())
		}
		if len(b.changes()) != 0 {
			t.Error("a console has no events")
		}
	})
}

func TestPortsAreAnnounced(t *testing.T) {
	b := on(virtiotest.NewMMIO(t, false, kind))
	c := b.AddChardev("c1")
	b.AddChardev("c0")
	b.addPort("virtconsole", "con", "chardev", "c0")
	b.addPort("virtserialport", "agent", "chardev", "c1", "name", "org.qemu.guest_agent.0")
	b.addPort("virtserialport", "idle")
	b.start(multiport, 0, 1)
	b.check("before the driver is ready", b.heard(), "")
	b.say(0xffffffff, 0, 1)
	b.check("ports", b.heard(), "0:1=1 1:1=1 2:1=1")
	b.say(0, 3, 1)
	b.check("the console", b.heard(), "0:4=1 0:6=1")
	b.say(1, 3, 1)
	b.check("the agent's port", b.heard(), `1:7=1("org.qemu.guest_agent.0\x00") 1:6=1`)
	b.say(2, 3, 1)
	b.check("the idle port", b.heard(), "")

	b.say(1, 6, 1)
	if !c.Open() {
		t.Error("the character device was not told that the guest opened the port")
	}
	b.say(1, 6, 0)
	if ev := b.changes(); len(ev) != 2 || ev[0] != (console.PortChange{ID: "agent", Open: true}) || ev[1] != (console.PortChange{ID: "agent", Open: false}) {
		t.Errorf("events %v", ev)
	}
	c.Event(chardev.Closed)
	b.Settle()
	b.check("after the host's end was closed", b.heard(), "1:6=0")
	b.write(1, "lost")
	c.Event(chardev.Opened)
	b.Settle()
	b.check("after it was opened", b.heard(), "1:6=1")
	b.write(1, "found")
	b.check("output", c.Output(), "found")
	// What drivers do wrong.
	b.say(77, 3, 1)
	b.say(0xfffffff0, 6, 1)
	b.say(1, 3, 0)
	b.say(1, 99, 0)
	b.check("after nonsense", b.heard(), "")
	if b.Broken() {
		t.Error("the device is broken")
	}
}

func TestInputWaitsForTheGuest(t *testing.T) {
	b := on(virtiotest.NewMMIO(t, false, kind))
	c := b.AddChardev("c0")
	b.addPort("virtserialport", "", "chardev", "c0")
	b.start(multiport, 1)
	b.offer(1, 8)
	c.Input([]byte("0123456789abcdef")...)
	b.check("closed", b.read(1), "")
	if c.Pending() != 16 {
		t.Errorf("%d bytes wait, want all", c.Pending())
	}
	b.say(1, 6, 1)
	b.check("opened", b.read(1), "01234567")
	if c.Pending() != 8 {
		t.Errorf("%d bytes wait, want 8", c.Pending())
	}
	b.offer(1, 4)
	b.offer(1, 4) // overwrites the first
	b.check("the rest", b.read(1), "cdefcdef")
	b.offer(1, 8)
	b.say(1, 6, 0)
	c.Input('x')
	b.check("closed again", b.read(1), "")
	b.say(1, 6, 1)
	b.check("the buffer is used after all", b.read(1), "x")
}

func TestBackpressure(t *testing.T) {
	b := on(virtiotest.NewPCI(t, kind+"-pci"))
	c := b.AddChardev("c0")
	b.addPort("virtserialport", "", "chardev", "c0")
	b.start(multiport, 1)
	c.SetRoom(3)
	b.write(1, "0123456789")
	out := b.rings[queueOf(1)+1]
	if u := out.Take(); len(u) != 0 {
		t.Errorf("used %v: the buffer was not written yet", u)
	}
	b.check("output", c.Output(), "012")
	c.SetRoom(4)
	b.Settle()
	b.check("output", c.Output(), "3456")
	c.SetRoom(-1)
	b.Settle()
	b.check("output", c.Output(), "789")
	if u := out.Take(); len(u) != 1 {
		t.Errorf("used %v", u)
	}
}

func TestResize(t *testing.T) {
	b := on(virtiotest.NewMMIO(t, false, kind, "console-size", "on"))
	p := b.addPort("virtconsole", "")
	b.start(multiport|size, 0)
	p.SetSize(80, 25)
	b.Settle()
	b.check("message", b.heard(), `0:5=1("P\x00\x19\x00")`)
	if v := b.ReadConfig(0, 4); v != 25<<16|80 {
		t.Errorf("configuration %#x", v)
	}
	if isr := b.ISR(); isr&2 == 0 {
		t.Errorf("interrupt status %d", isr)
	}
}

func TestHotPlug(t *testing.T) {
	b := on(virtiotest.NewMMIO(t, false, kind))
	b.start(multiport, 1)
	c := b.AddChardev("c0")
	p := b.addPort("virtserialport", "p", "chardev", "c0")
	b.Settle()
	b.check("plugged", b.heard(), "1:1=1")
	b.say(1, 6, 1)
	b.offer(1, 8)
	c.SetRoom(1)
	b.write(1, "held")
	b.Unplug(p)
	b.Settle()
	b.check("unplugged", b.heard(), "1:2=1")
	if c.Attached() {
		t.Error("the character device is still held")
	}
	out := b.rings[queueOf(1)+1]
	if u := out.Take(); len(u) != 1 {
		t.Errorf("used %v: output that was held up is dropped with its port", u)
	}
	b.write(1, "nowhere")
	if u := out.Take(); len(u) != 1 {
		t.Errorf("used %v: output to nowhere is dropped", u)
	}
}

func TestNumbers(t *testing.T) {
	b := on(virtiotest.NewMMIO(t, false, kind, "max_ports", "4"))
	bus := b.serial.SerialBus()
	if bus.Name() != "dev0.0" {
		t.Errorf("bus %q", bus.Name())
	}
	for _, c := range []struct {
		typ, nr, name, want string
	}{
		{"virtserialport", "0", "", "Port number 0 on virtio-serial devices reserved for virtconsole devices for backward compatibility."},
		{"virtserialport", "4", "", "virtio-serial-bus: Out-of-range port id specified, max. allowed: 3"},
		{"virtserialport", "2", "a", ""},
		{"virtconsole", "2", "", "virtio-serial-bus: A port already exists at id 2"},
		{"virtserialport", "3", "a", "virtio-serial-bus: A port already exists by name a"},
		{"virtserialport", "", "b", ""},
		{"virtconsole", "", "", ""},
		{"virtconsole", "", "", ""},
		{"virtconsole", "", "", "virtio-serial-bus: Maximum port limit for this device reached"},
	} {
		props := []string{}
		if c.nr != "" {
			props = append(props, "nr", c.nr)
		}
		if c.name != "" {
			props = append(props, "name", c.name)
		}
		_, err := b.TryPlug(bus, c.typ, "", props...)
		if got := fmt.Sprint(err); got != c.want && (err != nil || c.want != "") {
			t.Errorf("%s nr=%s name=%s: %s", c.typ, c.nr, c.name, got)
		}
	}
	var numbers []uint32
	for _, d := range bus.Devices() {
		v, _ := deviceProperty(d, "nr")
		numbers = append(numbers, v)
	}
	if fmt.Sprint(numbers) != "[2 1 0 3]" {
		t.Errorf("numbers %v", numbers)
	}
	if _, err := b.TryPlug(bus, "virtserialport", "", "chardev", "nobody"); err == nil {
		t.Error("a port with no character device was plugged")
	}
}

func deviceProperty(d device.Device, name string) (uint32, bool) {
	p, ok := d.Dev().Property(name)
	if !ok {
		return 0, false
	}
	return uint32(p.Get(d).(uint64)), true
}

func TestBusNames(t *testing.T) {
	b := on(virtiotest.NewPCI(t, kind+"-pci"))
	if n := b.serial.SerialBus().Name(); n != "dev0.0" {
		t.Errorf("bus %q", n)
	}
	m := devtest.New(t)
	tr, _ := virtiotest.PlugMMIO(m, virtiotest.MMIOBase, false)
	d := m.Plug(tr.Bus(), kind+"-device", "").(*console.Device)
	if n := d.SerialBus().Name(); n != "virtio-serial-bus.0" {
		t.Errorf("bus %q", n)
	}
	for _, n := range []string{"0", "512"} {
		tr, _ := virtiotest.PlugMMIO(m, virtiotest.MMIOBase+0x200, false)
		if _, err := m.TryPlug(tr.Bus(), kind+"-device", "", "max_ports", n); err == nil {
			t.Errorf("%s ports were taken", n)
		}
		m.Unplug(tr)
	}
}

func TestDriverResets(t *testing.T) {
	b := on(virtiotest.NewMMIO(t, false, kind))
	c := b.AddChardev("c0")
	b.addPort("virtserialport", "p", "chardev", "c0")
	b.start(multiport, 1)
	b.say(1, 6, 1)
	b.offer(1, 8)
	c.SetRoom(0)
	b.write(1, "held")
	b.SetStatus(0)
	if c.Open() {
		t.Error("the port is still open")
	}
	c.SetRoom(-1)
	b.start(multiport, 1)
	b.write(1, "new")
	b.check("output", c.Output(), "new")
	b.say(1, 6, 1)
	b.offer(1, 8)
	c.Input([]byte("in")...)
	b.check("input", b.read(1), "in")
}

func machine(m *devtest.Machine) *bed {
	b := on(virtiotest.MMIOOn(m, false, kind))
	m.AddChardev("c0")
	m.AddChardev("c1")
	b.addPort("virtconsole", "con", "chardev", "c0")
	b.addPort("virtserialport", "p", "chardev", "c1", "name", "port")
	return b
}

func TestStateRoundTrip(t *testing.T) {
	var b *bed
	from, to := devtest.RoundTrip(t, func(m *devtest.Machine) { machine(m) }, func(m *devtest.Machine) {
		b = on(virtiotest.RigOf(m))
		b.start(multiport, 0, 1)
		b.say(1, 6, 1)
		b.offer(1, 8)
		m.Chardev("c1").SetRoom(2)
		b.write(1, "012345")
		for range 8 {
			b.say(1, 3, 1) // more messages than there are buffers
		}
	})
	to.WriteMem(0, from.ReadMem(0, devtest.RAMSize))
	rings := b.rings
	b = on(virtiotest.RigOf(to))
	b.rings = rings
	for _, r := range rings {
		r.Space = to.Env.Mem
	}
	c := to.Chardev("c1")
	if !c.Open() {
		t.Error("the character device does not know that the port is open")
	}
	to.Do(func() {
		if err := to.Env.Run.Stop("paused"); err != nil {
			t.Error(err)
		}
		if err := to.Env.Run.Start(); err != nil {
			t.Error(err)
		}
	})
	b.Settle()
	b.check("the rest of the output", c.Output(), "2345")
	c.Input([]byte("input")...)
	b.check("input", b.read(1), "input")
}

func TestStoppedMachineTakesNothing(t *testing.T) {
	m := devtest.New(t)
	b := machine(m)
	b.start(multiport, 1)
	b.say(1, 6, 1)
	b.offer(1, 8)
	m.Do(func() {
		if err := m.Env.Run.Stop("paused"); err != nil {
			t.Error(err)
		}
	})
	c := m.Chardev("c1")
	b.write(1, "later")
	c.Input('i')
	b.check("output while stopped", c.Output(), "")
	b.check("input while stopped", b.read(1), "")
	m.Do(func() {
		if err := m.Env.Run.Start(); err != nil {
			t.Error(err)
		}
	})
	b.Settle()
	b.check("output", c.Output(), "later")
	b.check("input", b.read(1), "i")
}

func FuzzRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { machine(m) },
		devtest.MMIO(virtiotest.MMIOBase, 0x200), devtest.MMIO(virtiotest.RingBase, 0x2000))
}

func FuzzRings(f *testing.F) {
	ranges := append(virtiotest.HostileRanges(6), devtest.MMIO(virtiotest.MMIOBase+0x50, 4),
		devtest.MMIO(virtiotest.DataBase+3<<13, 0x500))
	devtest.FuzzIO(f, func(m *devtest.Machine) {
		virtiotest.Prefill(machine(m).Start(1<<28|multiport, 6))
	}, ranges...)
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) {
		virtiotest.Prefill(machine(m).Start(1<<28|multiport, 6))
	}, devtest.MMIO(virtiotest.MMIOBase, 0x200))
}

func TestConcurrent(t *testing.T) {
	ranges := append(virtiotest.HostileRanges(6), devtest.MMIO(virtiotest.MMIOBase+0x50, 4), devtest.MMIO(virtiotest.MMIOBase, 0x110))
	devtest.Concurrent(t, func(m *devtest.Machine) {
		virtiotest.Prefill(machine(m).Start(1<<28|multiport, 6))
	}, ranges...)
}
