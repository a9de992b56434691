package machine

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"govmd/internal/chardev"
	"govmd/internal/event"
	"govmd/internal/kvm/kvmtest"
	"govmd/internal/lane"
	"govmd/internal/machine/boot"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

// rig is a machine on a lane of its own.
type rig struct {
	*Machine
	t *testing.T
	l *lane.Lane
}

const rigRAM = 16 << 20

func newRig(t *testing.T, change func(*Config, Board)) *rig {
	t.Helper()
	board, err := NewBoard("pc")
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	cfg := Config{
		Name: "test", Board: board, Accel: "qtest", SMP: SMP{CPUs: 2, MaxCPUs: 2, Sockets: 1, Dies: 1, Cores: 2, Threads: 1},
		RAM: rigRAM, RTC: RTC{Base: "utc", Clock: "vm", DriftFix: "none"}, Boot: boot.NewOrder(),
		Lane: lane.New(), Events: &event.Bus{}, Log: log, Chardevs: &chardev.Registry{},
	}
	change(&cfg, board)
	r := &rig{t: t, l: cfg.Lane}
	go r.l.Run()
	t.Cleanup(func() {
		r.do(func() error {
			if r.Machine != nil {
				r.Close()
			}
			return nil
		})
		r.l.Close()
		<-r.l.Done()
	})
	r.do(func() (err error) { r.Machine, err = New(cfg); return err })
	return r
}

// do runs fn on the lane.
func (r *rig) do(fn func() error) {
	r.t.Helper()
	var err error
	if e := r.l.Do(context.Background(), func() { err = fn() }); e != nil {
		r.t.Fatal(e)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) save() (saved []state.Saved) {
	r.t.Helper()
	r.do(func() (err error) { saved, err = r.Env.State.SaveAll(); return err })
	return saved
}

// same reports which entries differ.
func same(t *testing.T, a, b []state.Saved) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d and %d entries", len(a), len(b))
	}
	for i := range a {
		x, err := state.Encode(a[i])
		if err != nil {
			t.Fatal(err)
		}
		y, err := state.Encode(b[i])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(x, y) {
			t.Errorf("%s and %s differ", a[i].ID, b[i].ID)
		}
	}
}

// rom writes a firmware image whose code begins at f000:0000.
func rom(t *testing.T, code ...byte) string {
	t.Helper()
	image := make([]byte, 64<<10)
	copy(image, code)
	copy(image[0xfff0:], []byte{0xea, 0x00, 0x00, 0x00, 0xf0}) // jmp f000:0000
	path := filepath.Join(t.TempDir(), "rom.bin")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	counterAt = 0x1000
	flagAt    = 0x1010
)

// counter programs the interval timer and then counts for ever.
var counter = []byte{
	0xfa,       // cli
	0x31, 0xc0, // xor ax, ax
	0x8e, 0xd8, // mov ds, ax
	0xb0, 0x34, 0xe6, 0x43, // channel 0: both bytes, mode 2
	0xb0, 0x00, 0xe6, 0x40, 0xb0, 0x40, 0xe6, 0x40, // every 0x4000
	0xc6, 0x06, 0x10, 0x10, 0x55, // mov byte [flagAt], 0x55
	0x66, 0xff, 0x06, 0x00, 0x10, // inc dword [counterAt]
	0xeb, 0xf9, // jmp to it
}

func (r *rig) word(addr uint64) uint32 {
	r.t.Helper()
	var b [4]byte
	if err := r.mem.Read(addr, b[:]); err != nil {
		r.t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(b[:])
}

// passes waits until the guest has counted beyond n.
func (r *rig) passes(n uint32) {
	r.t.Helper()
	late := time.Now().Add(kvmtest.Limit)
	for r.word(counterAt) <= n {
		if time.Now().After(late) {
			r.t.Fatalf("the guest counts %d, not beyond %d", r.word(counterAt), n)
		}
	}
}

// A guest is stopped in the middle of its work, saved, and goes on in another
// machine; what is saved of that one before is the same to the byte.
func TestKVMMachineRoundTrip(t *testing.T) {
	kvmtest.Open(t)
	image := rom(t, counter...)
	mk := func() *rig {
		return newRig(t, func(c *Config, b Board) {
			c.Accel = "kvm"
			b.common().firmware = image
		})
	}
	from, to := mk(), mk()
	from.do(from.Run.Start)
	from.passes(100)
	from.do(func() error { return from.Run.Stop(runstate.Paused) })
	saved := from.save()
	same(t, saved, from.save()) // nothing moves while it is stopped
	to.do(func() error { return to.Env.State.LoadAll(saved) })
	ram := make([]byte, rigRAM)
	if err := from.ram[0].Block().Read(0, ram); err != nil {
		t.Fatal(err)
	}
	if err := to.ram[0].Block().Write(0, ram); err != nil {
		t.Fatal(err)
	}
	same(t, saved, to.save())
	if s, ok := to.Run.Loaded(); !ok || s != runstate.Paused {
		t.Errorf("loaded run state %q", s)
	}
	count := from.word(counterAt)
	to.PutFlag(0)
	for _, r := range []*rig{to, from} { // the first goes on, too
		r.do(r.Run.Start)
		r.passes(count + 100)
		r.do(func() error { return r.Run.Stop(runstate.Paused) })
	}
	if to.word(flagAt)&0xff != 0 {
		t.Error("the guest has begun anew")
	}
	// A reset makes it do so.
	to.do(func() error { to.Run.Reset(runstate.CauseHostQMPReset); return to.Run.Start() })
	to.passes(to.word(counterAt))
	if to.word(flagAt)&0xff != 0x55 {
		t.Error("the guest was not reset")
	}
}

func (r *rig) PutFlag(v byte) {
	r.t.Helper()
	if err := r.mem.Write(flagAt, []byte{v}); err != nil {
		r.t.Fatal(err)
	}
}

// The paravirtual clock and the interval timer stand still while the machine is
// stopped.
func TestKVMClocksStop(t *testing.T) {
	kvmtest.Open(t)
	image := rom(t, counter...)
	r := newRig(t, func(c *Config, b Board) {
		c.Accel = "kvm"
		b.common().firmware = image
	})
	clocks := func() []state.Saved {
		return slices.DeleteFunc(r.save(), func(s state.Saved) bool {
			return s.ID != "kvmclock" && s.ID != "kvm-pit" && s.ID != "clock"
		})
	}
	first := clocks()
	if len(first) != 3 {
		t.Fatalf("%d clocks are saved", len(first))
	}
	r.do(r.Run.Start)
	r.passes(1000)
	r.do(func() error { return r.Run.Stop(runstate.Paused) })
	stopped := clocks()
	for i := range stopped {
		if slices.Equal(first[i].Data, stopped[i].Data) {
			t.Errorf("%s did not move while the machine ran", stopped[i].ID)
		}
	}
	from := time.Now()
	for time.Since(from) < 5*time.Millisecond { // let the host's time pass
	}
	same(t, stopped, clocks())
}

// A machine whose CPU model promises what no other host may have is not saved.
func TestKVMUnmigratable(t *testing.T) {
	sys := kvmtest.Open(t)
	_ = sys
	image := rom(t, counter...)
	r := newRig(t, func(c *Config, b Board) {
		c.Accel, c.CPU = "kvm", "max,migratable=off"
		b.common().firmware = image
	})
	blocked := r.Env.State.Blocked()
	if names := r.model.Unmigratable; len(names) == 0 {
		if blocked != nil {
			t.Error(blocked)
		}
		return
	}
	if blocked == nil || !strings.Contains(blocked.Error(), "non-migratable CPU device (invtsc") {
		t.Errorf("blocked: %v", blocked)
	}
}

// -global reaches the accelerator's own devices.
func TestKVMGlobals(t *testing.T) {
	kvmtest.Open(t)
	image := rom(t, counter...)
	r := newRig(t, func(c *Config, b Board) {
		c.Accel, c.CPU = "kvm", "host"
		c.Globals = []object.Default{{Type: "kvm-pit", Prop: "lost_tick_policy", Value: "discard"}}
		b.common().firmware = image
	})
	for _, d := range r.Env.Roots() {
		if d.Dev().TypeName() != "kvm-pit" {
			continue
		}
		if v, err := object.Get(d, "lost_tick_policy"); err != nil || v != "discard" {
			t.Errorf("the policy is %v, %v", v, err)
		}
		return
	}
	t.Error("there is no interval timer")
}

// The tables promise the sleep states that there are.
func TestSleepStates(t *testing.T) {
	image := rom(t, counter...)
	for _, c := range []struct {
		globals  []object.Default
		want, no []string
	}{
		{nil, []string{"_S3_", "_S4_", "_S5_"}, nil},
		{[]object.Default{{Type: "PIIX4_PM", Prop: "disable_s3", Value: "1"}}, []string{"_S4_", "_S5_"}, []string{"_S3_"}},
		{[]object.Default{{Type: "PIIX4_PM", Prop: "disable_s4", Value: "1"}}, []string{"_S3_", "_S5_"}, []string{"_S4_"}},
	} {
		r := newRig(t, func(cfg *Config, b Board) {
			cfg.Globals = c.globals
			b.common().firmware = image
		})
		tables, err := r.Board.(*PC).acpiTables(r.Machine)
		if err != nil {
			t.Fatal(err)
		}
		placed, err := tables.Place(1<<20, 0xf0000)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range c.want {
			if !bytes.Contains(placed.Tables, []byte(name)) {
				t.Errorf("%v: no %s", c.globals, name)
			}
		}
		for _, name := range c.no {
			if bytes.Contains(placed.Tables, []byte(name)) {
				t.Errorf("%v: there is %s", c.globals, name)
			}
		}
	}
}

// The same without KVM: the devices alone, after the guest's time has passed.
func TestMachineRoundTrip(t *testing.T) {
	image := rom(t, counter...)
	mk := func() *rig {
		return newRig(t, func(c *Config, b Board) { b.common().firmware = image })
	}
	from, to := mk(), mk()
	from.do(from.Run.Start)
	from.do(func() error { from.Env.Clock.Virtual.Advance(123_456_789); return nil })
	from.do(func() error { return from.Run.Stop(runstate.SaveVM) })
	saved := from.save()
	to.do(func() error { return to.Env.State.LoadAll(saved) })
	same(t, saved, to.save())
	if now := to.Env.Clock.Virtual.Now(); now != 123_456_789 {
		t.Errorf("virtual clock at %d", now)
	}
	if s, ok := to.Run.Loaded(); !ok || s != runstate.Running {
		t.Errorf("loaded run state %q", s)
	}
	for i := range saved {
		if saved[i].ID == "clock" {
			saved[i].Data, _ = state.Encode(clockState{Virtual: -1})
		}
	}
	var err error
	to.do(func() error { err = to.Env.State.LoadAll(saved); return nil })
	if err == nil || !strings.Contains(err.Error(), "virtual time") {
		t.Errorf("a time before the beginning: %v", err)
	}
}

// A reset reaches every device, those of the accelerator too, and Close leaves
// none alive.
func TestRoots(t *testing.T) {
	image := rom(t, counter...)
	r := newRig(t, func(c *Config, b Board) { b.common().firmware = image })
	var names []string
	for _, d := range r.Env.Roots() {
		names = append(names, d.Dev().TypeName())
	}
	for _, want := range []string{"i440FX-pcihost", "ioapic", "fw_cfg"} {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, want) }) {
			t.Errorf("no %s among %v", want, names)
		}
	}
	r.do(func() error {
		r.Close()
		if n := len(r.Env.Roots()); n != 0 {
			t.Errorf("%d devices are left", n)
		}
		if saved, err := r.Env.State.SaveAll(); err != nil || len(saved) != 2 {
			t.Errorf("%d entries are left, %v", len(saved), err)
		}
		r.Run.Reset(runstate.CauseHostQMPReset) // comes too late and does nothing
		return r.Run.Start()
	})
}
