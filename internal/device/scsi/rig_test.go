package scsi

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/drive/drivetest"
	"govmd/internal/device/scsi/sense"
	"govmd/internal/object"
)

// adapter is a host adapter for tests.
type adapter struct {
	device.Base
	scsi  *Bus
	under *device.Bus
	told  []string
}

func (a *adapter) Realize() error {
	a.scsi, a.under = NewBus(&a.Base, a, Address{Channel: 1, Target: 7, LUN: 300})
	return nil
}

func (a *adapter) Unrealize()             {}
func (a *adapter) Exclude(fn func())      { fn() }
func (a *adapter) UnitAdded(at Address)   { a.told = append(a.told, "added "+at.String()) }
func (a *adapter) UnitRemoved(at Address) { a.told = append(a.told, "removed "+at.String()) }
func (a *adapter) UnitChanged(at Address, what sense.Code) {
	a.told = append(a.told, fmt.Sprintf("changed %s %v", at, what))
}

func init() {
	device.Register(object.Type{Name: "test-hba", New: func() object.Object { return &adapter{} }})
}

// The units of a rig.
var (
	disk  = Address{Target: 0}
	disc  = Address{Target: 1}
	fixed = Address{Target: 2, LUN: 5} // read-only, with a removable medium
)

const (
	diskSize = 16 << 20
	discSize = 600 << 10
)

// rig is a machine with an adapter, a disk, a CD-ROM drive and a read-only disk with
// all that can be said of it.
type rig struct {
	*devtest.Machine
	hba  *adapter
	hd   *drivetest.Drive
	cd   *drivetest.Drive
	done chan struct{}
}

func newRig(m *devtest.Machine, diskProps ...string) *rig {
	r := &rig{Machine: m, done: make(chan struct{}, 1)}
	r.hba = m.Plug(nil, "test-hba", "hba").(*adapter)
	r.hd = drivetest.New(m, "d0", drivetest.Pattern(diskSize))
	r.cd = drivetest.New(m, "c0", drivetest.Pattern(discSize))
	m.AddDrive("ro", diskSize, block.Settings{ReadOnly: true})
	m.Plug(r.hba.under, "scsi-hd", "hd0", append([]string{"drive", "d0", "serial", "SN-42", "ver", "abcd"}, diskProps...)...)
	m.Plug(r.hba.under, "scsi-cd", "cd0", "drive", "c0")
	m.Plug(r.hba.under, "scsi-hd", "ro0", "drive", "ro", "scsi-id", "2", "lun", "5", "wwn", "0x5000c50015ea71ad",
		"port_wwn", "0x5000c50015ea71aa", "port_index", "3", "rotation_rate", "7200", "removable", "on", "dpofua", "on",
		"physical_block_size", "4096", "vendor", "ACME", "product", "Disk")
	for _, a := range []Address{disk, disc, fixed} {
		if got := r.do(a, "00 00 00 00 00 00", nil, 0).SenseCode; got != sense.PowerOn {
			m.TB.Errorf("%s: the first command is told %v", a, got)
		}
	}
	return r
}

func (r *rig) unit(a Address) *Unit {
	r.TB.Helper()
	u, _ := r.hba.scsi.Unit(a)
	if u == nil {
		r.TB.Fatalf("there is no unit at %s", a)
	}
	return u
}

func parse(tb testing.TB, text string) []byte {
	tb.Helper()
	p, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// outcome is what a command comes to.
type outcome struct {
	*Request
	Result
	data []byte // what was moved to the host
}

// do carries out a command with data out, or room for so many bytes in.
func (r *rig) do(a Address, cdb string, out []byte, in int) outcome {
	r.TB.Helper()
	req := &Request{}
	req.Init(func(*Request) { r.done <- struct{}{} })
	copy(req.CDB[:], parse(r.TB, cdb))
	data := make([]byte, in)
	if in > 0 {
		req.In = block.VecOf(data)
	}
	if len(out) > 0 {
		req.Out = block.VecOf(out)
	}
	res := r.hba.scsi.Start(a, req, nil)
	if res == Begun {
		<-r.done
		res = Ended
	}
	return outcome{req, res, data[:min(req.Moved, in)]}
}

// expect is do, of which text says how it ends: GOOD and data in hexadecimal without
// zeroes at the end, or the sense data.
func (r *rig) expect(what string, a Address, cdb string, out []byte, in int, want string) {
	r.TB.Helper()
	got := r.do(a, cdb, out, in)
	var text string
	switch {
	case got.Result == NoTarget:
		text = "nobody"
	case got.Result == Overrun:
		text = "overrun"
	case got.Status == StatusCheckCondition:
		text = fmt.Sprintf("%x/%02x/%02x", got.SenseCode.Key, got.SenseCode.ASC, got.SenseCode.ASCQ)
	default:
		text = strings.TrimSpace("good " + hex.EncodeToString(slices.Clip([]byte(strings.TrimRight(string(got.data), "\x00")))))
	}
	if text != want {
		r.TB.Errorf("%s (%s to %s):\n got %s\nwant %s", what, cdb, a, text, want)
	}
}
