package i8259

import (
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
)

const (
	masterBase, slaveBase = 0x30, 0x70
	endOfInterrupt        = 0x20
)

// bench is a pair with its inputs and output.
type bench struct {
	*devtest.Machine
	pic   *Device
	intr  *devtest.Probe
	lines [16]*device.Line
}

func plug(m *devtest.Machine) *bench {
	b := &bench{Machine: m, intr: devtest.NewProbe("intr")}
	d, err := device.Create(TypeName, "")
	if err != nil {
		m.TB.Fatal(err)
	}
	b.pic = d.(*Device)
	b.pic.INTR = b.intr.Pin
	if err := m.Insert(nil, b.pic); err != nil {
		m.TB.Fatal(err)
	}
	for i := range b.lines {
		b.lines[i] = b.pic.Input(i).Connect("test")
	}
	return b
}

// start initializes both chips as a BIOS does and unmasks everything.
func (b *bench) start(icw4 uint8) {
	for _, c := range []struct{ port, base, cascade uint16 }{{masterPort, masterBase, 4}, {slavePort, slaveBase, 2}} {
		b.Out8(c.port, icw1|icw1ICW4)
		b.Out8(c.port+1, uint8(c.base))
		b.Out8(c.port+1, uint8(c.cascade))
		b.Out8(c.port+1, icw4)
		b.Out8(c.port+1, 0)
	}
}

func newBench(t testing.TB, icw4 uint8) *bench {
	b := plug(devtest.New(t))
	b.start(icw4)
	return b
}

// expect acknowledges and checks the vector.
func (b *bench) expect(vector uint8) {
	b.TB.Helper()
	if !b.intr.Level() {
		b.TB.Errorf("no interrupt request, want vector %#x", vector)
	}
	if got := b.pic.Acknowledge(); got != vector {
		b.TB.Errorf("vector %#x, want %#x", got, vector)
	}
}

func (b *bench) quiet(when string) {
	b.TB.Helper()
	if b.intr.Level() {
		b.TB.Errorf("interrupt request %s", when)
	}
}

func (b *bench) read(port uint16, which uint8) uint8 {
	b.Out8(port, ocw3|ocw3Read|which)
	return b.In8(port)
}

func (b *bench) irr(port uint16) uint8 { return b.read(port, 0) }
func (b *bench) isr(port uint16) uint8 { return b.read(port, ocw3ReadISR) }

func TestEdge(t *testing.T) {
	b := newBench(t, 1)
	b.lines[4].SetLevel(true)
	if got := b.irr(masterPort); got != 0x10 {
		t.Errorf("IRR %#x", got)
	}
	b.expect(masterBase + 4)
	if irr, isr := b.irr(masterPort), b.isr(masterPort); irr != 0 || isr != 0x10 {
		t.Errorf("IRR %#x ISR %#x in service", irr, isr)
	}
	b.Out8(masterPort, endOfInterrupt)
	b.quiet("after its end, while the input is still high")
	b.lines[4].SetLevel(false)
	b.lines[4].Pulse()
	b.expect(masterBase + 4)
}

func TestPriorities(t *testing.T) {
	b := newBench(t, 1)
	for _, n := range []int{5, 1, 12, 9, 3} {
		b.lines[n].Pulse()
	}
	b.expect(masterBase + 1)
	b.quiet("while the most urgent is served")
	b.lines[0].Pulse()
	b.expect(masterBase + 0) // more urgent: nests
	b.Out8(masterPort, endOfInterrupt)
	b.quiet("after the inner one's end")
	b.Out8(masterPort, endOfInterrupt)
	b.expect(slaveBase + 1)
	b.Out8(slavePort, endOfInterrupt)
	b.quiet("while the cascade is in service")
	b.Out8(masterPort, endOfInterrupt)
	b.expect(slaveBase + 4)
	if m, s := b.isr(masterPort), b.isr(slavePort); m != 4 || s != 0x10 {
		t.Errorf("ISR %#x, slave's %#x", m, s)
	}
	b.Out8(slavePort, 0x60|4) // specific ends
	b.Out8(masterPort, 0x60|2)
	b.expect(masterBase + 3)
	b.Out8(masterPort, endOfInterrupt)
	b.expect(masterBase + 5)
}

func TestMask(t *testing.T) {
	b := newBench(t, 1)
	b.Out8(masterPort+1, 0x08)
	b.lines[3].Pulse()
	b.quiet("of a masked input")
	b.CheckIn8(masterPort+1, 0x08, "IMR")
	b.Out8(masterPort+1, 0)
	b.expect(masterBase + 3)
	b.Out8(masterPort, endOfInterrupt)
	b.lines[10].Pulse()
	b.Out8(slavePort+1, 0xff)
	b.quiet("of an input of the slave's that was masked late")
	b.Out8(slavePort+1, 0)
	b.Out8(masterPort+1, 1<<cascade)
	b.quiet("of the masked cascade")
}

func TestLevel(t *testing.T) {
	b := newBench(t, 1)
	b.Out8(elcrPort, 0xff)
	b.Out8(elcrPort+1, 0xff)
	b.CheckIn8(elcrPort, 0xf8, "ELCR")
	b.CheckIn8(elcrPort+1, 0xde, "ELCR")
	b.lines[11].SetLevel(true)
	b.expect(slaveBase + 3)
	b.Out8(slavePort, endOfInterrupt)
	b.Out8(masterPort, endOfInterrupt)
	b.expect(slaveBase + 3) // still high: again
	b.lines[11].SetLevel(false)
	b.Out8(slavePort, endOfInterrupt)
	b.Out8(masterPort, endOfInterrupt)
	b.quiet("of a level that has gone")
	b.pic.SetELCR(0x0020)
	b.CheckIn8(elcrPort, 0x20, "ELCR")
	b.CheckIn8(elcrPort+1, 0, "ELCR")
	// Initialization leaves the trigger modes alone, a reset does not.
	b.start(1)
	b.CheckIn8(elcrPort, 0x20, "ELCR after ICW1")
	b.lines[5].SetLevel(true)
	b.Reset(b.pic)
	b.CheckIn8(elcrPort, 0, "ELCR after a reset")
	b.quiet("after a reset")
}

func TestSpurious(t *testing.T) {
	b := newBench(t, 1)
	if v := b.pic.Acknowledge(); v != masterBase+7 {
		t.Errorf("vector %#x of no request", v)
	}
	if isr := b.isr(masterPort); isr != 0 {
		t.Errorf("ISR %#x after a spurious interrupt", isr)
	}
	// A chip whose request has gone when it is selected: the master is told to
	// serve its cascade, and the slave has nothing.
	b.pic.mu.Lock()
	b.pic.chips[0].set(cascade, true)
	b.pic.mu.Unlock()
	if v := b.pic.Acknowledge(); v != slaveBase+7 {
		t.Errorf("vector %#x of no request of the slave's", v)
	}
	if m, s := b.isr(masterPort), b.isr(slavePort); m != 1<<cascade || s != 0 {
		t.Errorf("ISR %#x, slave's %#x", m, s)
	}
}

func TestInitializationForgetsEdges(t *testing.T) {
	b := newBench(t, 1)
	b.lines[6].SetLevel(true)
	b.start(1)
	b.quiet("of an edge from before ICW1")
	b.lines[6].SetLevel(false)
	b.lines[6].SetLevel(true)
	b.expect(masterBase + 6)
}

func TestShortInitialization(t *testing.T) {
	b := newBench(t, 1|icw4AutoEOI)
	// Alone and without ICW4: ICW2 is the last, and ICW4's modes are off.
	b.Out8(masterPort, icw1|icw1Single)
	b.Out8(masterPort+1, 0x47)
	b.Out8(masterPort+1, 0x01) // the mask
	b.CheckIn8(masterPort+1, 0x01, "IMR")
	b.lines[1].Pulse()
	b.expect(0x41)
	if isr := b.isr(masterPort); isr != 2 {
		t.Errorf("ISR %#x", isr)
	}
	b.Out8(masterPort, icw1|icw1Single|icw1ICW4)
	b.Out8(masterPort+1, 0x50)
	b.Out8(masterPort+1, 1)
	b.CheckIn8(masterPort+1, 0, "IMR after ICW4")
	b.Out8(masterPort, icw1)
	b.Out8(masterPort+1, 0x50)
	b.Out8(masterPort+1, 4)
	b.Out8(masterPort+1, 0x80)
	b.CheckIn8(masterPort+1, 0x80, "IMR without ICW4")
}

func TestAutoEOI(t *testing.T) {
	b := newBench(t, 1|icw4AutoEOI)
	b.lines[0].Pulse()
	b.lines[9].Pulse()
	b.expect(masterBase)
	if isr := b.isr(masterPort); isr != 0 {
		t.Errorf("ISR %#x", isr)
	}
	b.expect(slaveBase + 1)
	b.quiet("after all is served")
	b.Out8(masterPort, 0x80) // rotate
	b.lines[0].Pulse()
	b.expect(masterBase)
	b.lines[0].Pulse()
	b.lines[1].Pulse()
	b.expect(masterBase + 1) // 0 has become the least urgent
	b.expect(masterBase)
	b.Out8(masterPort, 0x00) // no more
	b.lines[0].Pulse()
	b.lines[1].Pulse()
	b.expect(masterBase + 1)
}

func TestRotation(t *testing.T) {
	b := newBench(t, 1)
	b.Out8(masterPort, 0xc0|4) // 4 is the lowest, 5 the highest
	for n := range 8 {
		b.lines[n].Pulse() // 2 is the cascade
	}
	for _, n := range []uint8{5, 6, 7, 0, 1, 3, 4} {
		b.expect(masterBase + n)
		b.Out8(masterPort, endOfInterrupt)
	}
	b.quiet("after all is served")
	b.lines[5].Pulse()
	b.expect(masterBase + 5)
	b.Out8(masterPort, 0xa0) // end, and rotate
	b.lines[5].Pulse()
	b.lines[6].Pulse()
	b.expect(masterBase + 6)
	b.Out8(masterPort, 0xe0|6) // a specific end, and rotate
	b.lines[6].Pulse()
	b.expect(masterBase + 5)
	b.Out8(masterPort, 0x60|5)
	b.expect(masterBase + 6)
	b.Out8(masterPort, 0x40) // nothing
	if isr := b.isr(masterPort); isr != 0x40 {
		t.Errorf("ISR %#x", isr)
	}
	b.Out8(masterPort, 0xa0)
	b.Out8(masterPort, 0xa0) // nothing is in service
	b.lines[7].Pulse()
	b.expect(masterBase + 7)
}

func TestSpecialMask(t *testing.T) {
	b := newBench(t, 1)
	b.lines[1].Pulse()
	b.expect(masterBase + 1)
	b.lines[5].Pulse()
	b.quiet("less urgent than what is served")
	b.Out8(masterPort+1, 1<<1)
	b.Out8(masterPort, ocw3|ocw3SetMask|ocw3Special)
	b.expect(masterBase + 5)
	b.Out8(masterPort, endOfInterrupt) // ends 5, for 1 is masked
	if isr := b.isr(masterPort); isr != 2 {
		t.Errorf("ISR %#x", isr)
	}
	b.lines[6].Pulse()
	b.expect(masterBase + 6)
	b.Out8(masterPort, endOfInterrupt)
	b.Out8(masterPort, ocw3|ocw3SetMask)
	b.lines[6].Pulse()
	b.quiet("out of special mask mode")
}

func TestSpecialFullyNested(t *testing.T) {
	for _, nested := range []bool{false, true} {
		icw4 := uint8(1)
		if nested {
			icw4 |= icw4FullyNest
		}
		b := newBench(t, icw4)
		b.lines[12].Pulse()
		b.expect(slaveBase + 4)
		b.lines[3].Pulse()
		b.quiet("less urgent than the cascade")
		b.lines[8].Pulse()
		if !nested {
			b.quiet("of the slave's, while it is served")
			continue
		}
		b.expect(slaveBase)
		b.lines[9].Pulse()
		b.quiet("less urgent than the slave's 0")
	}
}

func TestPoll(t *testing.T) {
	b := newBench(t, 1)
	b.Out8(masterPort, ocw3|ocw3Poll)
	b.CheckIn8(masterPort, 0, "poll without a request")
	b.lines[10].Pulse()
	b.lines[6].Pulse()
	b.Out8(masterPort, ocw3|ocw3Poll)
	b.CheckIn8(masterPort, 0x82, "poll of the master")
	b.Out8(slavePort, ocw3|ocw3Poll)
	b.CheckIn8(slavePort, 0x82, "poll of the slave")
	b.quiet("of what was polled")
	if m, s := b.isr(masterPort), b.isr(slavePort); m != 4 || s != 4 {
		t.Errorf("ISR %#x, slave's %#x", m, s)
	}
	b.Out8(masterPort, endOfInterrupt)
	b.Out8(masterPort, ocw3|ocw3Poll)
	b.CheckIn8(masterPort, 0x86, "poll of the next")
}

func TestCascadeInputIsTaken(t *testing.T) {
	b := newBench(t, 1)
	b.lines[2].SetLevel(true)
	b.quiet("of input 2")
	if len(b.pic.Inputs("")) != 16 || len(b.pic.Outputs()) != 1 {
		t.Errorf("%d inputs, %d outputs", len(b.pic.Inputs("")), len(b.pic.Outputs()))
	}
}

func TestRoundTrip(t *testing.T) {
	var first, second *bench
	mk := func(m *devtest.Machine) { first, second = second, plug(m) }
	_, to := devtest.RoundTrip(t, mk, func(*devtest.Machine) {
		b := first
		b.start(1)
		b.Out8(elcrPort+1, 0x08)
		b.lines[1].Pulse()
		b.pic.Acknowledge()
		b.lines[6].SetLevel(true)
		b.lines[7].Pulse()
		b.lines[11].SetLevel(true)
		b.Out8(slavePort, icw1|icw1ICW4)
		b.Out8(slavePort+1, slaveBase)
	})
	b := second
	if b.Machine != to {
		t.Fatal("machines are mixed up")
	}
	// Devices drive their lines again: that is no new edge.
	b.lines[6].SetLevel(true)
	b.lines[11].SetLevel(true)
	b.Out8(slavePort+1, 2)
	b.Out8(slavePort+1, 1)
	b.Out8(masterPort, endOfInterrupt)
	b.expect(slaveBase + 3)
	b.lines[11].SetLevel(false)
	b.Out8(slavePort, endOfInterrupt)
	for _, n := range []uint8{6, 7} {
		b.Out8(masterPort, endOfInterrupt)
		b.expect(masterBase + n)
	}
	b.Out8(masterPort, endOfInterrupt)
	b.quiet("after all is served")
}

func TestUnplugLowersOutput(t *testing.T) {
	b := newBench(t, 1)
	b.lines[1].Pulse()
	b.Unplug(b.pic)
	b.quiet("of a device that has gone")
	b.CheckIn8(masterPort+1, 0xff, "a port that has gone")
}

func TestNoAllocs(t *testing.T) {
	b := newBench(t, 1)
	devtest.NoAllocs(t, "an interrupt", func() {
		b.lines[9].Pulse()
		b.pic.Acknowledge()
		b.Out8(slavePort, endOfInterrupt)
		b.Out8(masterPort, endOfInterrupt)
		b.In8(masterPort + 1)
		b.In8(elcrPort)
	})
}

var allPorts = []devtest.Range{devtest.Ports(masterPort, 2), devtest.Ports(slavePort, 2), devtest.Ports(elcrPort, 2)}

func FuzzRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { plug(m) }, allPorts...)
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) { plug(m) }, allPorts...)
}

func driven(m *devtest.Machine) *bench {
	b := plug(m)
	m.AddInputs(b.pic.Inputs(""), b.pic.Acknowledge)
	m.AddWatch(func() any { return b.intr.Level() })
	return b
}

var drivenPorts = append([]devtest.Range{devtest.InputsRange(16)}, allPorts...)

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		b := driven(m)
		b.start(1)
		m.AddWatch(func() any { return b.intr.Rises() })
		m.AddAction(func(next func(int) uint64) uint64 {
			b.start(uint8(next(1)) & 0x1f)
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			n := next(1) & 15
			b.lines[n].Pulse()
			return 0
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			b.Out8(slavePort, endOfInterrupt)
			b.Out8(masterPort, endOfInterrupt)
			return uint64(b.pic.Acknowledge())
		})
	}, drivenPorts...)
}

func TestConcurrent(t *testing.T) {
	var b *bench
	devtest.Concurrent(t, func(m *devtest.Machine) { b = driven(m) }, drivenPorts...)
	b.quiet("of a device that has gone")
}
