package scsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/device/devtest"
	"govmd/internal/device/drive/drivetest"
	"govmd/internal/device/scsi/sense"
)

// TestAnswers compares with what QEMU 7.2 answers on a virtio-scsi adapter.
func TestAnswers(t *testing.T) {
	r := newRig(devtest.New(t))
	all := []Address{disk, disc, fixed}
	disks := []Address{disk, fixed}
	for _, c := range []struct {
		what  string
		units []Address
		cdb   string
		in    int
		want  string
	}{
		{"test unit ready", all, "000000000000", 0, "good"},
		{"inquiry", []Address{disk}, "120000006000", 96, "good 000005125b00001251454d552020202051454d5520484152444449534b20202061626364"},
		{"inquiry", []Address{disc}, "120000006000", 96, "good 058005125b00001251454d552020202051454d552043442d524f4d2020202020322e352b"},
		{"inquiry", []Address{fixed}, "120000006000", 96, "good 008005125b00001241434d45202020204469736b202020202020202020202020322e352b"},
		{"inquiry of 36", []Address{disk}, "120000002400", 36, "good 000005121f00001251454d552020202051454d5520484152444449534b20202061626364"},
		{"inquiry of 5", []Address{disk}, "120000000500", 96, "good 000005121f"},
		{"inquiry of a page that is none", all, "120001006000", 96, "5/24/00"},
		{"pages", []Address{disk}, "12010000ff00", 255, "good 00000006008083b0b1b2"},
		{"pages", []Address{disc}, "12010000ff00", 255, "good 050000020083"},
		{"pages", []Address{fixed}, "12010000ff00", 255, "good 000000050083b0b1b2"},
		{"serial number", []Address{disk}, "12018000ff00", 255, "good 00800005534e2d3432"},
		{"serial number", []Address{disc, fixed}, "12018000ff00", 255, "5/24/00"},
		{"identification", []Address{disk}, "12018300ff00", 255, "good 0083000902000005534e2d3432"},
		{"identification", []Address{disc}, "12018300ff00", 255, "good 05830006020000026330"},
		{"identification", []Address{fixed}, "12018300ff00", 255,
			"good 00830026020000" + "02726f" + "010300085000c50015ea71ad619300085000c50015ea71aa6194000400000003"},
		{"limits", disks, "1201b000ff00", 255,
			"good 00b0003c01000000003fffff000000000000000000200000000000ff000000080000000000000000003fffff"},
		{"characteristics", []Address{fixed}, "1201b100ff00", 255, "good 00b1003c1c20"},
		{"provisioning", disks, "1201b200ff00", 255, "good 00b2000400e002"},
		{"no page", all, "1201b300ff00", 255, "5/24/00"},
		{"all mode pages", []Address{disk}, "1a003f00ff00", 255, "good 630000080000800000000200010a8000000000000000000004160000201000002000002000c8ffffff0000001518" +
			"0000051e1388103f02000020002000200001010001010100000000000000151800000812" + "04"},
		{"changeable", disks[:1], "1a007f00ff00", 255, "good 630000080000800000000200010a000000000000000000000416" + strings.Repeat("00", 22) +
			"051e" + strings.Repeat("00", 30) + "081204"},
		{"saved", all, "1a00ff00ff00", 255, "5/39/00"},
		{"caching", []Address{fixed}, "1a000800ff00", 255, "good 1f0090080000800000000200081204"},
		{"caching", []Address{disc}, "1a000800ff00", 255, "good 17000000081204"},
		{"without a block descriptor", []Address{disk}, "1a080800ff00", 255, "good 17000000081204"},
		{"mode sense (10)", []Address{fixed}, "5a100800000000010000", 256, "good 00220090000000080000800000000200081204"},
		{"geometry", []Address{disc}, "1a000400ff00", 255, "5/24/00"},
		{"no mode page", all, "1a000a00ff00", 255, "5/24/00"},
		{"capacity", disks, "25000000000000000000", 8, "good 00007fff000002"},
		{"capacity", []Address{disc}, "25000000000000000000", 8, "good 0000012b000008"},
		{"capacity from a block on", all, "25000000000100000000", 8, "5/24/00"},
		{"capacity (16)", []Address{disk}, "9e100000000000000000000000200000", 32, "good 0000000000007fff00000200000080"},
		{"capacity (16)", []Address{fixed}, "9e100000000000000000000000200000", 32, "good 0000000000007fff00000200000380"},
		{"another service action", all, "9e120000000000000000000000200000", 32, "5/24/00"},
		{"units", []Address{disk, disc}, "a00000000000000001000000", 256, "good 00000008"},
		{"units", []Address{fixed}, "a00000000000000001000000", 256, "good 000000100000000000000000000000000005"},
		{"units, in 8 bytes", all, "a00000000000000000080000", 8, "5/24/00"},
		{"contents", []Address{disc}, "43000000000000001400", 20, "good 0012010100140100000000000016aa000000012c"},
		{"contents", disks, "43000000000000001400", 20, "5/20/00"},
		{"event", []Address{disc}, "4a010000100000000800", 8, "good 000604100002"},
		{"an event to come", []Address{disc}, "4a000000100000000800", 8, "5/24/00"},
		{"disc structure", []Address{disc}, "ad0000000000000008040000", 2052, "5/30/00"},
		{"mechanism", []Address{disc}, "bd0000000000000000080000", 8, "good 000000000001"},
		{"read beyond the end", all, "28000000800000000100", 2048, "5/21/00"},
		{"read nothing", all, "28000000000000000000", 0, "good"},
		{"read nothing beyond the end", all, "28000000800100000000", 0, "5/21/00"},
		{"read into too little", all, "28000000000000000200", 512, "overrun"},
		{"read with protection", all, "28200000000000000100", 2048, "5/24/00"},
		{"write without data", all, "2a000000000000000100", 512, "overrun"},
		{"verify", all, "2f000000000000000100", 0, "good"},
		{"synchronize", all, "35000000000000000000", 0, "good"},
		{"seek", all, "2b000000000000000000", 0, "good"},
		{"seek beyond the end", all, "2b00ff00000000000000", 0, "5/21/00"},
		{"reserve", all, "160000000000", 0, "good"},
		{"release", all, "57000000000000000000", 0, "good"},
		{"persistent reservations", all, "5e000000000000000800", 8, "5/20/00"},
		{"no command", all, "ff0000000000", 0, "5/20/00"},
		{"stop", all, "1b0000000000", 0, "good"},
		{"sense", []Address{disk}, "03000000fc00", 252, "good 700000000000000a"},
		{"no target", []Address{{Target: 4}}, "000000000000", 0, "nobody"},
		{"no unit", []Address{{LUN: 1}}, "000000000000", 0, "5/25/00"},
		{"no unit", []Address{{LUN: 1}}, "120000006000", 96, "good 7f"},
		{"no unit", []Address{{LUN: 1}}, "12018300ff00", 255, "5/24/00"},
		{"no unit", []Address{{LUN: 1}}, "030000001200", 18, "good 700005000000000a0000000025"},
		{"no unit", []Address{{LUN: 1}}, "28000000000000000100", 512, "5/25/00"},
		{"no unit 0", []Address{{Target: 2}}, "000000000000", 0, "good"},
		{"no unit 0", []Address{{Target: 2}}, "a00000000000000001000000", 256, "good 000000100000000000000000000000000005"},
		{"no unit 0", []Address{{Target: 2}}, "030000001200", 18, "good 700000000000000a"},
		{"no unit 0", []Address{{Target: 2}}, "28000000000000000100", 512, "5/20/00"},
	} {
		for _, a := range c.units {
			r.expect(c.what, a, c.cdb, nil, c.in, c.want)
		}
	}
	if got := r.do(disk, "120000000500", nil, 96); got.Moved != 5 {
		t.Errorf("INQUIRY of 5 bytes moves %d", got.Moved)
	}
}

func TestReadWrite(t *testing.T) {
	r := newRig(devtest.New(t))
	want := drivetest.Pattern(diskSize)
	for _, c := range []struct {
		cdb    string
		at, n  int
		target Address
	}{
		{"08 00 00 07 03 00", 7, 3, disk},
		{"08 00 01 00 00 00", 256, 256, disk},
		{"28 00 00 00 10 00 00 00 21 00", 4096, 33, disk},
		{"a8 00 00 00 00 01 00 00 00 02 00 00", 1, 2, disk},
		{"88 00 00 00 00 00 00 00 7f ff 00 00 00 01 00 00", 0x7fff, 1, disk},
		{"28 00 00 00 00 0a 00 00 05 00", 10, 5, disc},
	} {
		size := 512
		if c.target == disc {
			size = 2048
		}
		got := r.do(c.target, c.cdb, nil, c.n*size+100)
		if got.Status != StatusGood || got.Moved != c.n*size || !bytes.Equal(got.data, want[c.at*size:(c.at+c.n)*size]) {
			t.Errorf("%s: status %d, %d bytes", c.cdb, got.Status, got.Moved)
		}
	}
	data := bytes.Repeat([]byte("scsi"), 256)
	for _, cdb := range []string{
		"0a 00 00 10 02 00", "2a 08 00 00 00 10 00 00 02 00", "aa 00 00 00 00 10 00 00 00 02 00 00",
		"8a 00 00 00 00 00 00 00 00 10 00 00 00 02 00 00", "2e 00 00 00 00 10 00 00 02 00",
	} {
		r.hd.Image.SetBytes(want)
		if got := r.do(disk, cdb, data, 0); got.Status != StatusGood || got.Moved != len(data) {
			t.Errorf("%s: status %d, %d bytes", cdb, got.Status, got.Moved)
		}
		if got := r.hd.Image.Bytes(); !bytes.Equal(got[16*512:18*512], data) || !bytes.Equal(got[18*512:], want[18*512:]) {
			t.Errorf("%s: the image is not as it should be", cdb)
		}
	}
	r.expect("write to a medium that is protected", fixed, "2a 00 00 00 00 10 00 00 02 00", data, 0, "7/27/00")
	r.expect("write to a CD-ROM", disc, "2a 00 00 00 00 10 00 00 01 00", make([]byte, 2048), 0, "7/27/00")
	r.expect("write beyond the end", disk, "2a 00 00 00 80 00 00 00 01 00", data, 0, "5/21/00")
	r.expect("an address that wraps", disk, "8a 00 ff ff ff ff ff ff ff ff 00 00 00 02 00 00", data, 0, "5/21/00")
}

func TestWipe(t *testing.T) {
	r := newRig(devtest.New(t))
	want := drivetest.Pattern(diskSize)
	image := func() []byte { return r.hd.Image.Bytes() }
	check := func(what string) {
		t.Helper()
		if !bytes.Equal(image(), want) {
			t.Errorf("%s: the image is not as it should be", what)
		}
	}
	block := bytes.Repeat([]byte{0x5a}, 512)
	r.expect("write same", disk, "41 00 00 00 00 08 00 08 01 00", block, 0, "good") // more than are written at once
	copy(want[8*512:], bytes.Repeat([]byte{0x5a}, 2049*512))
	check("WRITE SAME (10)")
	r.expect("write same zeroes", disk, "93 08 00 00 00 00 00 00 00 10 00 00 00 04 00 00", make([]byte, 512), 0, "good")
	clear(want[16*512 : 20*512])
	check("WRITE SAME (16) of zeroes")
	r.expect("write same without data", disk, "93 01 00 00 00 00 00 00 00 20 00 00 00 02 00 00", nil, 0, "good")
	clear(want[32*512 : 34*512])
	check("WRITE SAME (16) without data")
	r.expect("of no blocks", disk, "41 00 00 00 00 08 00 00 00 00", block, 0, "5/24/00")
	r.expect("with block numbers", disk, "41 04 00 00 00 08 00 00 01 00", block, 0, "5/24/00")
	r.expect("beyond the end", disk, "93 00 00 00 00 00 00 00 00 00 00 40 00 00 00 00", block, 0, "5/21/00")
	r.expect("without its block", disk, "41 00 00 00 00 08 00 00 01 00", nil, 0, "overrun")

	ranges := func(pairs ...uint32) []byte {
		n := len(pairs) / 2 * 16
		p := binary.BigEndian.AppendUint16(nil, uint16(n+6))
		p = append(binary.BigEndian.AppendUint16(p, uint16(n)), 0, 0, 0, 0)
		for i := 0; i < len(pairs); i += 2 {
			p = binary.BigEndian.AppendUint64(p, uint64(pairs[i]))
			p = append(binary.BigEndian.AppendUint32(p, pairs[i+1]), 0, 0, 0, 0)
		}
		return p
	}
	list := ranges(0, 8, 100, 0, 64, 16)
	r.expect("unmap", disk, "42 00 00 00 00 00 00 00 38 00", list, 0, "good")
	before := r.hd.Image.Bytes()
	r.expect("unmap of a range that is not there", disk, "42 00 00 00 00 00 00 00 28 00", ranges(128, 8, 0x8000, 1), 0, "5/21/00")
	if !bytes.Equal(before, r.hd.Image.Bytes()) {
		t.Error("a wrong UNMAP has unmapped something")
	}
	r.expect("unmap of nothing", disk, "42 00 00 00 00 00 00 00 00 00", nil, 0, "good")
	r.expect("a list that is too short", disk, "42 00 00 00 00 00 00 00 04 00", make([]byte, 4), 0, "5/1a/00")
	r.expect("a list that is shorter than it says", disk, "42 00 00 00 00 00 00 00 18 00", append([]byte{0, 22, 0, 32}, make([]byte, 20)...), 0, "5/1a/00")
	r.expect("anchored", disk, "42 01 00 00 00 00 00 00 38 00", list, 0, "5/24/00")
	r.expect("too many", disk, "42 00 00 00 00 00 00 10 08 00", ranges(make([]uint32, 512)...), 0, "5/26/00")
}

func TestModeSelect(t *testing.T) {
	r := newRig(devtest.New(t))
	u := r.unit(disk)
	page := func(p ...byte) []byte {
		return append([]byte{0, 0, 0, 0}, append(p, make([]byte, max(0, 20-len(p)))...)...)
	}
	r.expect("cache off", disk, "15 10 00 00 18 00", page(8, 0x12), 0, "good")
	if u.backend.WriteCache() {
		t.Error("the cache is still on")
	}
	r.expect("caching page", disk, "1a 08 08 00 ff 00", nil, 255, "good 170000000812")
	for _, c := range []struct {
		what, cdb string
		data      []byte
		want      string
	}{
		{"another bit", "15 10 00 00 18 00", page(8, 0x12, 5), "5/26/00"},
		{"a short page", "15 10 00 00 17 00", page(8, 0x11, 4), "5/26/00"},
		{"a page that is not there", "15 10 00 00 08 00", []byte{0, 0, 0, 0, 9, 2, 0, 0}, "5/26/00"},
		{"cut off", "15 10 00 00 03 00", []byte{0, 0, 0}, "5/1a/00"},
		{"a descriptor that is cut off", "15 10 00 00 04 00", []byte{0, 0, 0, 8}, "5/1a/00"},
		{"another size of blocks", "15 10 00 00 0c 00", []byte{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 4, 0}, "5/26/00"},
		{"to be saved", "15 11 00 00 18 00", page(8, 0x12, 4), "5/24/00"},
		{"in the format of old", "15 00 00 00 18 00", page(8, 0x12, 4), "5/24/00"},
	} {
		r.expect(c.what, disk, c.cdb, c.data, 0, c.want)
		if u.backend.WriteCache() {
			t.Fatalf("%s: the cache is on", c.what)
		}
	}
	r.expect("cache on", disk, "55 10 00 00 00 00 00 00 1c 00", append(make([]byte, 4), page(8, 0x12, 4)...), 0, "good")
	if !u.backend.WriteCache() {
		t.Error("the cache is still off")
	}
	r.expect("cache off", disk, "15 10 00 00 18 00", page(8, 0x12), 0, "good")
	r.ResetAll()
	if !u.backend.WriteCache() {
		t.Error("a reset does not restore the cache")
	}
}

func TestMedia(t *testing.T) {
	r := newRig(devtest.New(t))
	dev := r.cd.Device().(block.TrayDevice)
	r.expect("lock", disc, "1e 00 00 00 01 00", nil, 0, "good")
	r.expect("eject", disc, "1b 00 00 00 02 00", nil, 0, "5/53/02")
	if !dev.MediumLocked() {
		t.Error("it is not locked")
	}
	r.Do(func() { dev.EjectRequest(false) })
	r.expect("the request", disc, "4a 01 00 00 10 00 00 00 08 00", nil, 8, "good 000604100102")
	r.expect("unlock", disc, "1e 00 00 00 00 00", nil, 0, "good")
	r.expect("eject", disc, "1b 00 00 00 02 00", nil, 0, "good")
	if !dev.TrayOpen() {
		t.Error("the tray is closed")
	}
	r.expect("ready", disc, "00 00 00 00 00 00", nil, 0, "2/3a/00")
	r.expect("read", disc, "28 00 00 00 00 00 00 00 01 00", nil, 2048, "2/3a/00")
	r.cd.Eject()
	other := bytes.Repeat([]byte{0xcd}, 100<<11)
	r.cd.Insert(other)
	r.expect("ready", disc, "00 00 00 00 00 00", nil, 0, "2/3a/00")
	r.Do(func() { dev.MoveTray(false) })
	r.expect("the old one has gone", disc, "00 00 00 00 00 00", nil, 0, "6/3a/00")
	r.expect("a new one", disc, "00 00 00 00 00 00", nil, 0, "6/28/00")
	r.expect("the event", disc, "4a 01 00 00 10 00 00 00 08 00", nil, 8, "good 000604100202")
	r.expect("capacity", disc, "25 00 00 00 00 00 00 00 00 00", nil, 8, "good 00000063000008")
	if got := r.do(disc, "28 00 00 00 00 63 00 00 01 00", nil, 2048); !bytes.Equal(got.data, other[:2048]) {
		t.Error("what is read is not on the new disc")
	}
	moves := 0
	for _, e := range r.Events() {
		if _, ok := e.(block.TrayMovedEvent); ok {
			moves++
		}
	}
	if moves != 2 {
		t.Errorf("the tray has moved %d times", moves)
	}
}

// A disk with a removable medium is protected or not as its medium is.
func TestRemovableDisk(t *testing.T) {
	m := devtest.New(t)
	r := &rig{Machine: m, done: make(chan struct{}, 1)}
	r.hba = m.Plug(nil, "test-hba", "hba").(*adapter)
	r.hd = drivetest.New(m, "d0", nil)
	m.Plug(r.hba.under, "scsi-hd", "", "drive", "d0", "removable", "on")
	r.expect("power on", disk, "00 00 00 00 00 00", nil, 0, "6/29/00")
	r.expect("empty", disk, "00 00 00 00 00 00", nil, 0, "2/3a/00")
	dev := r.hd.Device().(block.TrayDevice)
	r.Do(func() { dev.MoveTray(true) })
	r.hd.Insert(make([]byte, 1<<20))
	r.Do(func() { dev.MoveTray(false) })
	r.do(disk, "00 00 00 00 00 00", nil, 0)
	r.do(disk, "00 00 00 00 00 00", nil, 0)
	r.expect("write", disk, "2a 00 00 00 00 00 00 00 01 00", make([]byte, 512), 0, "good")
	r.hd.Eject()
	m.AddDrive("other", 1<<20, block.Settings{ReadOnly: true})
	m.Do(func() {
		if err := r.hd.InsertMedium(m.Env.Blocks.Backend("other").Node()); err != nil {
			t.Errorf("a medium that is read-only: %v", err)
		}
	})
	r.do(disk, "00 00 00 00 00 00", nil, 0)
	r.do(disk, "00 00 00 00 00 00", nil, 0)
	r.expect("write", disk, "2a 00 00 00 00 00 00 00 01 00", make([]byte, 512), 0, "7/27/00")
}

func TestPlaces(t *testing.T) {
	m := devtest.New(t)
	hba := m.Plug(nil, "test-hba", "hba").(*adapter)
	if n := hba.under.Name(); n != "hba.0" {
		t.Errorf("the bus is %s", n)
	}
	for _, c := range []struct{ props, want string }{
		{"", "0:0:0"},
		{"lun=3", "0:0:3"},
		{"", "0:1:0"},
		{"scsi-id=1", "0:1:1"},
		{"scsi-id=1 lun=1", "lun already used by 'cd3'"},
		{"channel=1 scsi-id=7 lun=300", "1:7:300"},
		{"channel=2", "bad scsi channel id: 2"},
		{"scsi-id=8", "bad scsi device id: 8"},
		{"lun=301", "bad scsi device lun: 301"},
	} {
		var props []string
		for _, kv := range strings.Fields(c.props) {
			k, v, _ := strings.Cut(kv, "=")
			props = append(props, k, v)
		}
		id := "cd" + string(rune('0'+len(hba.scsi.taken)))
		d, err := m.TryPlug(hba.under, "scsi-cd", id, props...)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = d.(*Unit).at.String()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.props, got, c.want)
		}
	}
	if _, err := m.TryPlug(hba.under, "scsi-hd", ""); err == nil || err.Error() != "drive property not set" {
		t.Errorf("a disk without a drive: %v", err)
	}
}

// Units that come and go while the machine runs are told of, and a disk that grows.
func TestHotplug(t *testing.T) {
	m := devtest.New(t)
	r := newRig(m)
	m.Env.Running = true
	d := m.Plug(r.hba.under, "scsi-cd", "", "scsi-id", "0", "lun", "1")
	r.expect("the target's others", disk, "00 00 00 00 00 00", nil, 0, "6/3f/0e")
	r.expect("another target's", disc, "00 00 00 00 00 00", nil, 0, "good")
	m.Unplug(d)
	r.expect("after it has gone", Address{LUN: 1}, "00 00 00 00 00 00", nil, 0, "5/25/00")
	m.Do(func() {
		if err := r.hd.Node().Truncate(context.Background(), 2*diskSize, true, block.PreallocOff, 0); err != nil {
			t.Error(err)
		}
	})
	r.expect("a disk that has grown", disk, "00 00 00 00 00 00", nil, 0, "6/2a/09")
	r.expect("its capacity", disk, "25 00 00 00 00 00 00 00 00 00", nil, 8, "good 0000ffff000002")
	want := []string{"added 0:0:1", "removed 0:0:1", "changed 0:0:0 {6 42 9}"}
	if !slices.Equal(r.hba.told, want) {
		t.Errorf("the adapter is told %q", r.hba.told)
	}
}

func TestErrors(t *testing.T) {
	m := devtest.New(t)
	r := &rig{Machine: m, done: make(chan struct{}, 1)}
	r.hba = m.Plug(nil, "test-hba", "hba").(*adapter)
	r.hd = drivetest.New(m, "d0", nil)
	r.hd.InsertFailing(make([]byte, 1<<20), drivetest.FailOnce("write", int(unix.EIO)))
	m.Plug(r.hba.under, "scsi-hd", "", "drive", "d0")
	r.do(disk, "00 00 00 00 00 00", nil, 0)
	r.expect("the storage fails", disk, "2a 00 00 00 00 00 00 00 01 00", make([]byte, 512), 0, "b/00/06")
	r.expect("sense", disk, "03 00 00 00 12 00", nil, 18, "good 70000b000000000a000000000006")
	r.expect("once", disk, "2a 00 00 00 00 00 00 00 01 00", make([]byte, 512), 0, "good")
	for err, want := range map[unix.Errno]sense.Code{
		unix.EIO: sense.IOFailure, unix.ENOSPC: sense.SpaceAllocation, unix.EROFS: sense.WriteProtected,
		unix.ENOMEDIUM: sense.NoMedium, unix.EINVAL: sense.InvalidField, unix.ENOMEM: sense.InternalFailure,
	} {
		if got := senseOf(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// What an error has parked ends when it is aborted.
func TestAbortParked(t *testing.T) {
	m := devtest.New(t)
	r := &rig{Machine: m, done: make(chan struct{}, 1)}
	r.hba = m.Plug(nil, "test-hba", "hba").(*adapter)
	r.hd = drivetest.New(m, "d0", nil)
	r.hd.InsertFailing(make([]byte, 1<<20), drivetest.FailOnce("write", int(unix.ENOSPC)))
	u := m.Plug(r.hba.under, "scsi-hd", "", "drive", "d0", "werror", "enospc").(*Unit)
	r.do(disk, "00 00 00 00 00 00", nil, 0)
	req := &Request{Tag: 7}
	req.Init(func(*Request) { r.done <- struct{}{} })
	copy(req.CDB[:], parse(t, "2a 00 00 00 00 00 00 00 01 00"))
	req.Out = block.VecOf(make([]byte, 512))
	if res := r.hba.scsi.Start(disk, req, nil); res != Begun {
		t.Fatalf("result %d", res)
	}
	_ = u.queue.Wait(context.Background())
	if !u.Has(7) || u.Has(8) || !u.Busy() {
		t.Fatal("the request is not under way")
	}
	ended := make(chan struct{})
	a := NewAbort(func() { close(ended) })
	a.Add(u, func(r *Request) bool { return r.Tag == 8 })
	a.Add(u, func(r *Request) bool { return r.Tag == 7 })
	a.Go()
	<-r.done
	<-ended
	if !req.Aborted || u.Busy() {
		t.Errorf("aborted %v, busy %v", req.Aborted, u.Busy())
	}
}

func TestState(t *testing.T) {
	devtest.RoundTrip(t, func(m *devtest.Machine) { newRig(m) }, func(m *devtest.Machine) {
		hba := m.Devices()[0].(*adapter)
		r := &rig{Machine: m, hba: hba, done: make(chan struct{}, 1)}
		r.do(disc, "1e 00 00 00 01 00", nil, 0)
		r.do(disk, "15 10 00 00 18 00", append([]byte{0, 0, 0, 0, 8, 0x12}, make([]byte, 18)...), 0)
		r.do(fixed, "1b 00 00 00 02 00", nil, 0)
		r.do(disk, "ff 00 00 00 00 00", nil, 0)
	})
}

// FuzzCommands has arbitrary commands with arbitrary data.
func FuzzCommands(f *testing.F) {
	f.Add([]byte{0x12, 0, 0, 0, 96, 0}, []byte{}, uint16(96), uint8(0))
	f.Add([]byte{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, []byte{0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0}, uint16(0), uint8(0))
	f.Add([]byte{0x15, 0x10, 0, 0, 24, 0}, append([]byte{0, 0, 0, 0, 8, 0x12}, make([]byte, 18)...), uint16(0), uint8(1))
	f.Add([]byte{0x93, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0}, make([]byte, 512), uint16(0), uint8(2))
	r := newRig(devtest.New(f))
	f.Fuzz(func(t *testing.T, cdb, out []byte, in uint16, where uint8) {
		for _, a := range []Address{disc, fixed} {
			u, _ := r.hba.scsi.Unit(a)
			tray{medium{u}}.MoveTray(false)
		}
		r.hba.scsi.Reset()
		at := []Address{disk, disc, fixed, {LUN: 1}, {Target: 2}}[where%5]
		data := make([]byte, in)
		for range 2 { // the first is told of the reset
			req := &Request{}
			req.Init(func(*Request) { r.done <- struct{}{} })
			copy(req.CDB[:], cdb)
			req.In, req.Out = block.VecOf(data), block.VecOf(out)
			if r.hba.scsi.Start(at, req, nil) == Begun {
				<-r.done
			}
			if req.Moved > len(data)+len(out) {
				t.Errorf("%d bytes moved", req.Moved)
			}
		}
	})
}
