package vnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"govmd/internal/device/devtest"
	"govmd/internal/device/virtio"
	"govmd/internal/device/virtio/virtiotest"
	"govmd/internal/net"
	"govmd/internal/net/nettest"
)

const (
	kind        = "virtio-net"
	indirect    = 1 << 28
	eventIdx    = 1 << 29
	ctlFeatures = 1<<featureCtrlQueue | 1<<featureCtrlRx | 1<<featureCtrlVLAN | 1<<featureCtrlMAC | 1<<featureCtrlRxExtra

	rxBuf  = virtiotest.DataBase
	txBuf  = virtiotest.DataBase + 0x8000
	ctlBuf = virtiotest.DataBase + 0xc000
)

// bed is a card with a driver and a back end.
type bed struct {
	*virtiotest.Rig
	dev  *Device
	back *nettest.Backend
	ring []*virtiotest.Ring // received, sent, control
}

func onLane(m *devtest.Machine, fn func()) {
	m.TB.Helper()
	if err := m.Env.Lane.Do(context.Background(), fn); err != nil {
		m.TB.Fatal(err)
	}
}

func addBackend(tb testing.TB, m *devtest.Machine, options string) {
	tb.Helper()
	var err error
	onLane(m, func() { _, err = nettest.Add(m.Env.Net, "test,id=n0"+options) })
	if err != nil {
		tb.Fatal(err)
	}
}

func cardOn(m *devtest.Machine, props ...string) *virtiotest.Rig {
	addBackend(m.TB, m, ",headers=on")
	return virtiotest.MMIOOn(m, false, kind, append([]string{"netdev", "n0"}, props...)...)
}

func newBed(t testing.TB, features uint64, props ...string) *bed {
	r := cardOn(devtest.New(t), props...)
	b := &bed{Rig: r, dev: r.Core.Object().(*Device), back: nettest.Made("n0")}
	b.ring = b.Start(features|indirect|eventIdx, 3)
	return b
}

// sends has the driver send a frame behind a header.
func (b *bed) sends(header []byte, frame string) {
	b.WriteMem(txBuf, header)
	b.WriteMem(txBuf+0x100, []byte(frame))
	b.ring[1].Add(virtiotest.Out(txBuf, uint32(len(header))), virtiotest.Out(txBuf+0x100, uint32(len(frame))))
	b.Kick(1)
}

// command has the driver give a command and returns its status.
func (b *bed) command(class, cmd byte, data ...byte) byte {
	b.TB.Helper()
	b.WriteMem(ctlBuf, append([]byte{class, cmd}, data...))
	b.WriteMem(ctlBuf+0x800, []byte{0xee})
	b.ring[2].Add(virtiotest.Out(ctlBuf, uint32(2+len(data))), virtiotest.In(ctlBuf+0x800, 1))
	b.Kick(2)
	if used := b.ring[2].Take(); len(used) != 1 {
		b.TB.Fatalf("used %v", used)
	}
	return b.ReadMem(ctlBuf+0x800, 1)[0]
}

func (b *bed) buffers(n int, size uint32) {
	for i := range n {
		b.ring[0].Add(virtiotest.In(rxBuf+uint64(i)*0x800, size))
	}
	b.Kick(0)
}

func TestSends(t *testing.T) {
	for _, tc := range []struct {
		options string
		want    string // before the frame
	}{{",headers=on", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}, {"", ""}} {
		m := devtest.New(t)
		addBackend(t, m, tc.options)
		r := virtiotest.MMIOOn(m, false, kind, "netdev", "n0")
		b := &bed{Rig: r, dev: r.Core.Object().(*Device), back: nettest.Made("n0")}
		b.ring = b.Start(indirect|eventIdx, 2)
		b.sends(make([]byte, 12), "a frame")
		if got := string(b.back.Next(nil)); got != tc.want+"a frame" {
			t.Errorf("%q: %q", tc.options, got)
		}
		if used := b.ring[1].Take(); len(used) != 1 {
			t.Errorf("used %v", used)
		}
		// A back end without room gets the frame when it has some.
		b.back.SetRoom(0)
		b.sends(make([]byte, 12), "later")
		if used := b.ring[1].Take(); len(used) != 0 || b.back.Count() > 0 {
			t.Errorf("used %v", used)
		}
		b.back.SetRoom(-1)
		b.back.On.WakeCard(0)
		b.Settle()
		if got := string(b.back.Next(nil)); got != tc.want+"later" {
			t.Errorf("%q: %q", tc.options, got)
		}
	}
}

func TestOffersWhatTheBackendCan(t *testing.T) {
	m := devtest.New(t)
	addBackend(t, m, "")
	r := virtiotest.MMIOOn(m, false, kind, "netdev", "n0")
	if f := r.Offered() & offloadFeatures; f != 0 {
		t.Errorf("without headers %#x is offered", f)
	}
	b := newBed(t, 1<<featureGuestChecksum|1<<featureGuestTSO4|1<<featureChecksum)
	if b.back.Length != 12 || b.back.Takes != net.OffloadChecksum|net.OffloadTSO4 {
		t.Errorf("the back end is told %d, %#x", b.back.Length, b.back.Takes)
	}
	if mac := b.ReadConfig(0, 4); uint32(mac) != 0x12005452 {
		t.Errorf("the address begins %#x", mac)
	}
}

func TestReceives(t *testing.T) {
	frame := bytes.Repeat([]byte("0123456789"), 30)
	head := append([]byte{1, 0, 0, 0, 0, 0, 7, 0, 9, 0}, 0xee, 0xee)
	for name, tc := range map[string]struct {
		features uint64
		size     uint32
		buffers  int // that it takes; 0: the frame is lost
	}{
		"one buffer":    {1 << featureMergeable, 400, 1},
		"three buffers": {1 << featureMergeable, 120, 3},
		"not mergeable": {0, 400, 1},
		"too long":      {0, 120, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, tc.features)
			if b.back.On.Deliver(0, 12, [][]byte{head, frame}) {
				t.Error("a frame is taken without room")
			}
			b.buffers(4, tc.size)
			if q := <-b.back.Wakes(); q != 0 {
				t.Errorf("queue %d is woken", q)
			}
			if !b.back.On.Deliver(0, 12, [][]byte{head, frame}) {
				t.Fatal("the frame is not taken")
			}
			used := b.ring[0].Take()
			if len(used) != tc.buffers {
				t.Fatalf("used %v", used)
			}
			var got []byte
			for i, u := range used {
				got = append(got, b.ReadMem(rxBuf+uint64(i)*0x800, int(u.Len))...)
			}
			if want := slices.Concat(head[:10], []byte{byte(tc.buffers), 0}, frame); tc.buffers > 0 && !bytes.Equal(got, want) {
				t.Errorf("the guest has % x", got)
			}
		})
	}
}

func TestFilter(t *testing.T) {
	b := newBed(t, ctlFeatures)
	b.buffers(8, 0x400)
	own := b.dev.address()
	frame := func(to net.MAC, more ...byte) [][]byte {
		return [][]byte{slices.Concat(make([]byte, 12), to[:], make([]byte, 6), more, make([]byte, 40))}
	}
	takes := func(f [][]byte) bool {
		b.back.On.Deliver(0, 12, f)
		return len(b.ring[0].Take()) > 0
	}
	multi, other := net.MAC{1, 0, 0x5e, 0, 0, 1}, net.MAC{2, 2, 2, 2, 2, 2}
	if !takes(frame(other)) {
		t.Error("a promiscuous card does not take all")
	}
	if s := b.command(classRx, rxPromiscuous, 0); s != acked {
		t.Fatal(s)
	}
	for name, tc := range map[string]struct {
		f    [][]byte
		want bool
	}{
		"own": {frame(own), true}, "other": {frame(other), false}, "multicast": {frame(multi), false}, "broadcast": {frame(net.Broadcast), true},
		"VLAN": {frame(own, 0x81, 0, 0, 5), false},
	} {
		if got := takes(tc.f); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	table := slices.Concat([]byte{1, 0, 0, 0}, other[:], []byte{1, 0, 0, 0}, multi[:])
	if s := b.command(classMAC, macTable, table...) | b.command(classVLAN, vlanAdd, 5, 0); s != acked {
		t.Fatal(s)
	}
	if !takes(frame(other)) || !takes(frame(multi)) || !takes(frame(own, 0x81, 0, 0, 5)) {
		t.Error("what the driver asked for does not come")
	}
	f := card{b.dev}.Filter()
	if f.Promiscuous || f.VLAN != net.RxNormal || !slices.Equal(f.VLANTable, []int64{5}) || !slices.Equal(f.UnicastTable, []string{"02:02:02:02:02:02"}) ||
		!slices.Equal(f.MulticastTable, []string{"01:00:5e:00:00:01"}) || f.MainMAC != own.String() {
		t.Errorf("the filter is %+v", f)
	}
	for name, s := range map[string]byte{
		"a table that lies":  b.command(classMAC, macTable, 0xff, 0xff, 0xff, 0xff),
		"a short table":      b.command(classMAC, macTable, 0, 0),
		"a VLAN beyond":      b.command(classVLAN, vlanAdd, 0, 0x10),
		"an unknown class":   b.command(77, 0),
		"an unknown command": b.command(classRx, 9, 1),
		"pairs without MQ":   b.command(classMQ, mqPairs, 1, 0),
	} {
		if s != refused {
			t.Errorf("%s: %d", name, s)
		}
	}
}

func TestLink(t *testing.T) {
	b := newBed(t, 1<<featureStatus|1<<featureAnnounce|ctlFeatures)
	if s := b.ReadConfig(cfgStatus, 2); s != statusUp {
		t.Errorf("status %d", s)
	}
	onLane(b.Machine, func() { b.Env.Net.Remove(b.Env.Net.Netdev("n0")) })
	if s := b.ReadConfig(cfgStatus, 2); s != 0 {
		t.Errorf("status %d without a back end", s)
	}
	addBackend(t, b.Machine, ",headers=on")
	if s := b.ReadConfig(cfgStatus, 2); s != statusUp {
		t.Errorf("status %d with another back end", s)
	}
	b.sends(make([]byte, 12), "goes on")
	if got := nettest.Made("n0").Next(nil); !bytes.HasSuffix(got, []byte("goes on")) {
		t.Errorf("%q", got)
	}
	card{b.dev}.Announce()
	if s := b.ReadConfig(cfgStatus, 2); s != statusUp|statusAnnounce {
		t.Errorf("status %d, to announce", s)
	}
	if s := b.command(classAnnounce, announceAck); s != acked || b.ReadConfig(cfgStatus, 2) != statusUp {
		t.Errorf("%d", s)
	}
}

// Checksums are filled in for a back end that cannot, when it took the place of one
// that can.
func TestChecksumForAnotherBackend(t *testing.T) {
	b := newBed(t, 1<<featureChecksum)
	onLane(b.Machine, func() { b.Env.Net.Remove(b.Env.Net.Netdev("n0")) })
	addBackend(t, b.Machine, "")
	header := make([]byte, 12)
	header[0] = 1
	binary.LittleEndian.PutUint16(header[6:], 14)
	binary.LittleEndian.PutUint16(header[8:], 2)
	b.sends(header, "ethernet-headrab\x00\x00cd")
	f := nettest.Made("n0").Next(nil)
	if len(f) != 20 || f[16] == 0 && f[17] == 0 {
		t.Errorf("the frame is %q", f)
	}
	binary.LittleEndian.PutUint16(header[8:], 60)
	b.sends(header, "a checksum beyond the end")
	if n := nettest.Made("n0").Count(); n != 0 {
		t.Errorf("%d frames", n)
	}
}

func TestOffloadsByCommand(t *testing.T) {
	b := newBed(t, ctlFeatures|1<<featureCtrlOffloads|1<<featureGuestChecksum|1<<featureGuestTSO4)
	b.WriteMem(ctlBuf, []byte{classOffloads, offloadsSet, 1 << featureGuestChecksum, 0, 0, 0, 0, 0, 0, 0})
	b.ring[2].Add(virtiotest.Out(ctlBuf, 10), virtiotest.In(ctlBuf+0x800, 1))
	b.Kick(2)
	onLane(b.Machine, func() {})
	if b.back.Takes != net.OffloadChecksum || len(b.ring[2].Take()) != 1 || b.ReadMem(ctlBuf+0x800, 1)[0] != acked {
		t.Errorf("the back end is told %#x", b.back.Takes)
	}
}

// A driver whose frames are no frames has its device broken.
func TestBroken(t *testing.T) {
	b := newBed(t, 0)
	b.WriteMem(txBuf, make([]byte, 12))
	b.ring[1].Add(virtiotest.Out(txBuf, 5))
	b.Kick(1)
	if b.Status()&virtio.StatusNeedsReset == 0 || b.back.Count() > 0 {
		t.Errorf("the status is %#x", b.Status())
	}
}

func TestStateRoundTrip(t *testing.T) {
	mk := func(m *devtest.Machine) { cardOn(m) }
	devtest.RoundTrip(t, mk, func(m *devtest.Machine) {
		b := &bed{Rig: virtiotest.RigOf(m)}
		b.ring = b.Start(ctlFeatures|indirect|1<<featureGuestChecksum|1<<featureStatus, 3)
		b.command(classRx, rxPromiscuous, 0)
		b.command(classMAC, macTable, 1, 0, 0, 0, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0)
		b.command(classMAC, macAddress, 2, 3, 4, 5, 6, 7)
		b.buffers(2, 100)
	})
}

func startOn(m *devtest.Machine) {
	r := cardOn(m)
	r.Start(ctlFeatures|indirect|eventIdx, 3)
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, startOn, devtest.MMIO(virtiotest.MMIOBase, 0x200))
}

func FuzzRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { cardOn(m) }, devtest.MMIO(virtiotest.MMIOBase, 0x200))
}

func FuzzRings(f *testing.F) {
	ranges := append(virtiotest.HostileRanges(3), devtest.MMIO(virtiotest.MMIOBase, 0x200))
	devtest.FuzzIO(f, startOn, ranges...)
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, startOn, devtest.MMIO(virtiotest.MMIOBase, 0x200))
}

// A frame costs no allocation in either direction.
func TestAllocations(t *testing.T) {
	b := newBed(t, 1<<featureMergeable)
	frame := [][]byte{make([]byte, 12+60)}
	n := testing.AllocsPerRun(100, func() { b.back.On.Deliver(0, 12, frame) }) // without room
	b.back.SetRoom(0)
	b.WriteMem(txBuf, make([]byte, 64))
	b.ring[1].Add(virtiotest.Out(txBuf, 64))
	p := b.dev.pairs[0]
	n += testing.AllocsPerRun(100, func() { b.dev.Worker().Exclude(func() { p.tx.Begin(); p.send(p.tx) }) })
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
