package ide_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/device/drive/drivetest"
)

const cdBlocks = 256 << 10 / 2048

func TestPacketIdentify(t *testing.T) {
	r := newRig(t)
	r.Out8(secondary+6, 0xa0)
	r.Out8(secondary+7, 0xec)
	r.expect(secondary, 0x51, "IDENTIFY DEVICE of a packet device")
	r.CheckIn8(secondary+4, 0x14, "its signature")
	r.Out8(secondary+7, 0xa1)
	r.expect(secondary, 0x58, "IDENTIFY PACKET DEVICE")
	p := r.in(secondary, 512)
	if w := binary.LittleEndian.Uint16(p); w != 0x85c0 {
		t.Errorf("word 0 is %#x", w)
	}
	if p[20] != 'M' || p[21] != 'Q' || p[26] != ' ' || p[27] != '3' {
		t.Errorf("serial number %q", p[20:40])
	}
}

func TestReadCD(t *testing.T) {
	r := newRig(t)
	image := drivetest.Pattern(256 << 10)
	r.irq(15, 0, "nothing has happened")
	if got := r.reply(0x28, 0, 0, 0, 0, 5, 0, 0, 40); !bytes.Equal(got, image[5*2048:45*2048]) {
		t.Errorf("READ (10): %d bytes differ", len(got))
	}
	if got := r.reply(0xa8, 0, 0, 0, 0, 100, 0, 0, 0, 3); !bytes.Equal(got, image[100*2048:103*2048]) {
		t.Errorf("READ (12): %d bytes differ", len(got))
	}
	p := r.reply(0x25)
	if n := binary.BigEndian.Uint32(p); n != cdBlocks-1 || binary.BigEndian.Uint32(p[4:]) != 2048 {
		t.Errorf("READ CAPACITY: %x", p)
	}
	got := r.reply(0xbe, 0, 0, 0, 0, 16, 0, 0, 20, 0xf8)
	if len(got) != 20*2352 || !bytes.Equal(got[2352+16:][:2048], image[17*2048:18*2048]) ||
		!bytes.Equal(got[:16], []byte{0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 2, 0x16, 1}) {
		t.Errorf("READ CD: %d bytes, % x", len(got), got[:16])
	}
	for _, dma := range []struct {
		code []byte
		want []byte
	}{
		{[]byte{0x28, 0, 0, 0, 0, 9, 0, 0, 4}, image[9*2048 : 13*2048]},
		{[]byte{0xb9, 0, 0, 0, 2, 9, 0, 2, 13, 0x10}, image[9*2048 : 13*2048]},
	} {
		r.Out8(bmBase+8, 0)
		r.prd(dmaMem, 100, dmaMem+0x1000, 4*2048-100)
		r.IRQ[15].Rises()
		r.packetOn(true, dma.code...)
		r.irq(15, 0, "the bus master has not been started")
		r.dma(secondary, true)
		r.irq(15, 1, "read")
		r.expect(secondary, 0x50, "read")
		r.CheckIn8(secondary+2, 3, "the interrupt reason")
		if got := append(r.ReadMem(dmaMem, 100), r.ReadMem(dmaMem+0x1000, 4*2048-100)...); !bytes.Equal(got, dma.want) {
			t.Errorf("%x: memory differs", dma.code)
		}
	}
	// Small blocks: the reply comes in pieces of the size that the host has set.
	r.Out8(secondary+1, 0)
	r.Out8(secondary+4, 10)
	r.Out8(secondary+5, 0)
	r.Out8(secondary+7, 0xa0)
	r.out(secondary, []byte{0x12, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0})
	for _, n := range []byte{10, 10, 10, 6} {
		r.expect(secondary, 0x58, "a piece")
		r.CheckIn8(secondary+4, n, "its size")
		r.CheckIn8(secondary+2, 2, "the interrupt reason")
		r.in(secondary, int(n))
	}
	r.expect(secondary, 0x50, "INQUIRY is over")
	if r.reply(0x28, 0, 0, 0, 0, cdBlocks-1, 0, 0, 2) != nil {
		t.Error("more than the medium has is read")
	}
	if key, asc := r.sense(); key != 5 || asc != 0x21 {
		t.Errorf("sense %x %x", key, asc)
	}
	if r.reply(0xee) != nil {
		t.Error("an unknown command is taken")
	}
	if key, asc := r.sense(); key != 5 || asc != 0x20 {
		t.Errorf("sense %x %x", key, asc)
	}
}

func TestTOC(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		code []byte
		want []byte
	}{
		{[]byte{0x43, 0, 0, 0, 0, 0, 0, 0, 40}, []byte{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x16, 0xaa, 0, 0, 0, 0, cdBlocks}},
		{[]byte{0x43, 2, 0, 0, 0, 0, 0xaa, 0, 12}, []byte{0, 10, 1, 1, 0, 0x16, 0xaa, 0, 0, 0, 3, 53}},
		{[]byte{0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40}, []byte{0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0}},
	} {
		if got := r.reply(c.code...); !bytes.Equal(got, c.want) {
			t.Errorf("% x:\n% x, want\n% x", c.code, got, c.want)
		}
	}
	if got := r.reply(0x43, 2, 2, 0, 0, 0, 0, 1, 0); len(got) != 48 {
		t.Errorf("full TOC: % x", got)
	}
}

func TestModesAndFeatures(t *testing.T) {
	r := newRig(t)
	for page, n := range map[byte]int{0x01: 16, 0x0e: 24, 0x2a: 28, 0x3f: 52} {
		p := r.reply(0x5a, 0, page, 0, 0, 0, 0, 0, 200)
		if len(p) != n || binary.BigEndian.Uint16(p) != uint16(n-2) {
			t.Errorf("page %#x: % x", page, p)
		}
	}
	if r.reply(0x5a, 0, 0xea, 0, 0, 0, 0, 0, 200) != nil {
		t.Error("saved pages")
	}
	p := r.reply(0x46, 0, 0, 0, 0, 0, 0, 1, 0)
	if n := binary.BigEndian.Uint32(p); int(n) != len(p)-4 || binary.BigEndian.Uint16(p[6:]) != 8 {
		t.Errorf("GET CONFIGURATION: % x", p)
	}
	if p := r.reply(0x46, 2, 0, 3, 0, 0, 0, 1, 0); len(p) != 16 || p[9] != 3 {
		t.Errorf("one feature: % x", p)
	}
	if p := r.reply(0x12, 1, 0x83, 0, 255); len(p) < 80 || p[1] != 0x83 {
		t.Errorf("vital data: % x", p)
	}
	if p := r.reply(0xad, 0, 0, 0, 0, 0, 0, 0xff, 0, 64); len(p) != 16 {
		t.Errorf("formats of structures: % x", p)
	}
	if r.reply(0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4) != nil {
		t.Error("a CD has a DVD's structure")
	}
	for _, code := range [][]byte{{0x51, 0, 0, 0, 0, 0, 0, 0, 34}, {0x52, 1, 0, 0, 0, 1, 0, 0, 36}, {0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8}} {
		if p := r.reply(code...); len(p) < 8 {
			t.Errorf("% x: % x", code, p)
		}
	}
	// A medium that no CD can hold is a DVD.
	r.cd.Eject()
	r.cd.Insert(make([]byte, (80*60*75+1)*2048))
	r.reply(0)
	r.reply(0)
	if p := r.reply(0x46, 0, 0, 0, 0, 0, 0, 0, 8); binary.BigEndian.Uint16(p[6:]) != 0x10 {
		t.Errorf("the profile is % x", p)
	}
	if p := r.reply(0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4); len(p) != 2052 {
		t.Errorf("the physical structure has %d bytes", len(p))
	}
}

func TestTray(t *testing.T) {
	r := newRig(t)
	events := func(want ...string) {
		t.Helper()
		var got []string
		for _, e := range r.Events() {
			if m, ok := e.(block.TrayMovedEvent); ok {
				got = append(got, map[bool]string{true: "open", false: "closed"}[m.TrayOpen])
			}
		}
		if !equal(got, want) {
			t.Errorf("the tray is told to be %v, want %v", got, want)
		}
	}
	dev := r.cd.Device().(block.TrayDevice)
	event := func() byte {
		p := r.reply(0x4a, 1, 0, 0, 16, 0, 0, 0, 8)
		return p[4]<<4 | p[5]
	}
	if event() != 0x02 {
		t.Error("there is a medium")
	}
	// The guest locks the tray; the user asks, the guest opens.
	r.reply(0x1e, 0, 0, 0, 1)
	if r.reply(0x1b, 0, 0, 0, 2) != nil || !dev.MediumLocked() {
		t.Error("a locked tray opens")
	}
	if key, asc := r.sense(); key != 2 || asc != 0x53 {
		t.Errorf("sense %x %x", key, asc)
	}
	r.Do(func() { dev.EjectRequest(false) })
	if e := event(); e != 0x12 {
		t.Errorf("event %#x, want an eject request", e)
	}
	events()
	r.reply(0x1e, 0, 0, 0, 0)
	if r.reply(0x1b, 0, 0, 0, 2) == nil || !dev.TrayOpen() {
		t.Error("the tray is closed")
	}
	events("open")
	if r.reply(0) != nil {
		t.Error("an open drive is ready")
	}
	if key, asc := r.sense(); key != 2 || asc != 0x3a {
		t.Errorf("sense %x %x", key, asc)
	}
	// Another medium, and the tray closes.
	r.cd.Eject()
	r.cd.Insert(bytes.Repeat([]byte("new medium......"), 128))
	r.Do(func() { dev.MoveTray(false) })
	events("closed")
	if e := event(); e != 0x22 {
		t.Errorf("event %#x, want new media", e)
	}
	if r.reply(0) != nil {
		t.Error("the change is not told")
	}
	if key, asc := r.sense(); key != 2 || asc != 0x3a {
		t.Errorf("sense %x %x", key, asc)
	}
	if r.reply(0) != nil {
		t.Error("the change is not told")
	}
	if key, asc := r.sense(); key != 6 || asc != 0x28 {
		t.Errorf("sense %x %x", key, asc)
	}
	if got := r.reply(0x28, 0, 0, 0, 0, 0, 0, 0, 1); !bytes.HasPrefix(got, []byte("new medium")) {
		t.Error("the old medium is read")
	}
	r.Do(func() { dev.MoveTray(true); dev.MoveTray(true) })
	events("open")
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestEmptyAndBrokenCD(t *testing.T) {
	r := newRig(t)
	r.cd.Eject()
	if r.reply(0x25) != nil {
		t.Error("an empty drive has a capacity")
	}
	if key, asc := r.sense(); key != 2 || asc != 0x3a {
		t.Errorf("sense %x %x", key, asc)
	}
	r.cd.InsertFailing(drivetest.Pattern(64<<10), drivetest.FailOnce("read", int(unix.EIO)))
	r.reply(0)
	r.reply(0)
	if r.reply(0x28, 0, 0, 0, 0, 0, 0, 0, 1) != nil {
		t.Error("a damaged medium is read")
	}
	if key, asc := r.sense(); key != 3 || asc != 0x11 {
		t.Errorf("sense %x %x", key, asc)
	}
	// DEVICE RESET leaves the packet device idle.
	r.Out8(secondary+7, 0xa0)
	r.Out8(secondary+7, 8)
	r.CheckIn8(secondary+7, 0, "after DEVICE RESET")
}
