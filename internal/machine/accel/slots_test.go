package accel

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"govmd/internal/kvm"
	"govmd/internal/memory"
)

// fakeVM is KVM's side of memory slots: it takes what KVM would take.
type fakeVM struct {
	slots  map[uint32]kvm.MemoryRegion
	refuse func(r *kvm.MemoryRegion) error
}

func (f *fakeVM) SetUserMemoryRegion(r *kvm.MemoryRegion) error {
	if f.refuse != nil {
		if err := f.refuse(r); err != nil {
			return err
		}
	}
	old, there := f.slots[r.Slot]
	if r.Size == 0 {
		if !there {
			return unix.EINVAL
		}
		delete(f.slots, r.Slot)
		return nil
	}
	if there && (old.Size != r.Size || old.UserAddr != r.UserAddr) {
		return unix.EINVAL
	}
	for id, o := range f.slots {
		if id != r.Slot && r.GuestAddr < o.GuestAddr+o.Size && o.GuestAddr < r.GuestAddr+r.Size {
			return unix.EEXIST
		}
	}
	f.slots[r.Slot] = *r
	return nil
}

func (f *fakeVM) GetDirtyLog(slot uint32, _ uint64, bitmap []uint64) error {
	if f.slots[slot].Flags&kvm.MemLogDirtyPages == 0 {
		return unix.ENOENT
	}
	clear(bitmap)
	return nil
}

// slotRig is a map of memory whose slots a fakeVM has.
type slotRig struct {
	t     *testing.T
	vm    *fakeVM
	sys   *memory.System
	sp    *memory.Space
	slots *slots
	told  []*MapError
}

func newSlotRig(t *testing.T, max int) *slotRig {
	r := &slotRig{t: t, vm: &fakeVM{slots: map[uint32]kvm.MemoryRegion{}}, sys: memory.NewSystem()}
	r.sp = r.sys.NewSpace("memory", 0)
	r.slots = newSlots(r.vm, max, func(change func()) { change() }, func(e *MapError) { r.told = append(r.told, e) })
	r.sp.AddListener(r.slots, 0)
	if _, err := r.sys.AddDirtySource(r.slots); err != nil {
		t.Fatal(err)
	}
	return r
}

// ram makes RAM of that many pages, mapped at addr.
func (r *slotRig) ram(name string, addr, pages uint64) (*memory.Block, *memory.Region) {
	r.t.Helper()
	b, err := r.sys.NewBlock(memory.BlockConfig{Name: name, Size: pages * pageSize})
	if err != nil {
		r.t.Fatal(err)
	}
	region := r.sys.NewRAM(name, b, 0, b.Size())
	if err := r.sp.Root().AddOverlap(addr, region, 0); err != nil {
		r.t.Fatal(err)
	}
	return b, region
}

// inStep checks that the VM has what the map has, and nothing else.
func (r *slotRig) inStep() {
	r.t.Helper()
	want := map[uint64]uint64{}
	for _, sec := range r.sp.FlatView() {
		if sec.Block != nil {
			want[sec.Addr] = uint64(sec.Block.HostAddr()) + sec.Offset
		}
	}
	for _, s := range r.vm.slots {
		if want[s.GuestAddr] != s.UserAddr {
			r.t.Errorf("a slot at 0x%x shows 0x%x, the map 0x%x", s.GuestAddr, s.UserAddr, want[s.GuestAddr])
		}
		delete(want, s.GuestAddr)
	}
	if len(want) > 0 {
		r.t.Errorf("no slots for %x", want)
	}
}

func (r *slotRig) wantTold(want ...string) {
	r.t.Helper()
	if len(r.told) != len(want) {
		r.t.Fatalf("told of %v, want %q", r.told, want)
	}
	for i, e := range r.told {
		if e.Error() != want[i] {
			r.t.Errorf("told %q, want %q", e, want[i])
		}
	}
	r.told = nil
}

// What there is no slot for gets one when another goes.
func TestSlotsUsedUp(t *testing.T) {
	r := newSlotRig(t, 2)
	_, first := r.ram("a", 0, 4)
	r.ram("b", 0x10000, 4)
	r.ram("c", 0x20000, 4)
	r.wantTold("KVM does not take guest memory 'c' at 0x20000: its 2 memory slots are used up")
	r.sp.Root().Remove(first)
	r.wantTold()
	r.inStep()
}

// What KVM does not take is read and written all the same, and offered again.
func TestSlotRefused(t *testing.T) {
	r := newSlotRig(t, 8)
	r.vm.refuse = func(s *kvm.MemoryRegion) error {
		if s.GuestAddr == 0x10000 {
			return unix.ENOMEM
		}
		return nil
	}
	r.ram("a", 0, 4)
	r.ram("b", 0x10000, 4)
	r.wantTold("KVM does not take guest memory 'b' at 0x10000: cannot allocate memory")
	var got [1]byte
	r.sp.WriteIO(0x10002, []byte{7})
	if r.sp.ReadIO(0x10002, got[:]); got[0] != 7 {
		t.Errorf("memory without a slot reads %d", got[0])
	}
	r.ram("c", 0x20000, 4)
	r.wantTold() // once is enough
	r.vm.refuse = nil
	r.ram("d", 0x30000, 4)
	r.inStep()
}

// A slot that KVM does not give up stops the guest, keeps the addresses that it
// shows, and goes as soon as it can.
func TestSlotNotGivenUp(t *testing.T) {
	r := newSlotRig(t, 8)
	b, region := r.ram("a", 0, 4)
	r.vm.refuse = func(s *kvm.MemoryRegion) error {
		if s.Size == 0 {
			return unix.ENOMEM
		}
		return nil
	}
	r.sp.Root().Remove(region)
	if len(r.told) != 1 || !r.told[0].Stale {
		t.Fatalf("told of %v", r.told)
	}
	r.wantTold("KVM does not give up guest memory 'a' at 0x0: cannot allocate memory")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if r.slots.settle() {
		t.Error("settled with a slot that is not in the map")
	}
	r.wantTold("KVM does not give up guest memory 'a' at 0x0: cannot allocate memory")
	_, other := r.ram("b", 0, 4)
	r.wantTold("KVM does not take guest memory 'b' at 0x0: file exists")
	r.vm.refuse = nil
	if !r.slots.settle() {
		t.Error("not settled")
	}
	r.wantTold()
	r.ram("c", 0x10000, 4)
	r.inStep()
	r.sp.Root().Remove(other)
	r.inStep()
}

// Logging that KVM refuses leaves the flags of slots as KVM has them.
func TestSlotLoggingRefused(t *testing.T) {
	r := newSlotRig(t, 8)
	b, region := r.ram("a", 0, 4)
	r.vm.refuse = func(s *kvm.MemoryRegion) error {
		if s.Flags != 0 {
			return unix.ENOMEM
		}
		return nil
	}
	if err := r.slots.SetLogging(b, true); err == nil || !strings.Contains(err.Error(), `dirty log of "a"`) {
		t.Errorf("logging: %v", err)
	}
	r.sp.Root().Remove(region)
	r.wantTold()
	r.inStep()
}

// Whatever KVM refuses and when, the slots are the map's once it takes all again.
func TestSlotsCatchUp(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := newSlotRig(t, 16)
		r.vm.refuse = func(*kvm.MemoryRegion) error {
			if rnd.IntN(3) == 0 {
				return unix.ENOMEM
			}
			return nil
		}
		var regions []*memory.Region
		for i := range 6 {
			_, region := r.ram(fmt.Sprint(i), uint64(i)*2*pageSize, 4)
			region.SetPriority(rnd.IntN(3))
			regions = append(regions, region)
		}
		for range 40 {
			regions[rnd.IntN(len(regions))].SetEnabled(rnd.IntN(2) == 0)
		}
		r.vm.refuse = nil
		if !r.slots.settle() {
			t.Errorf("seed %d: not settled", seed)
		}
		r.inStep()
	}
}

// A refused ioeventfd is not taken back, and does not flood the log.
func TestIOEventFDsRefused(t *testing.T) {
	var out strings.Builder
	log := logrus.New()
	log.SetOutput(&out)
	vm := &fakeIOEvents{have: map[kvm.IOEvent]bool{}, max: 2}
	e := &eventfds{vm: vm, log: log}
	for i := range 100 {
		fds := []memory.IoEventFD{{Addr: 0x1000, Size: 2, FD: i}, {Addr: 0x1002, Size: 2, FD: i}, {Addr: 0x1004, Size: 2, FD: i}}
		e.MapChanged(memory.Change{FDAdded: fds})
		if len(vm.have) != 2 {
			t.Fatalf("%d ioeventfds", len(vm.have))
		}
		e.MapChanged(memory.Change{FDRemoved: fds})
		if len(vm.have) != 0 {
			t.Fatalf("%d ioeventfds are left", len(vm.have))
		}
	}
	if n := strings.Count(out.String(), "ioeventfd: no space left on device"); n == 0 || n > 20 || n != strings.Count(out.String(), "\n") {
		t.Errorf("the log says\n%s", out.String())
	}
}

type fakeIOEvents struct {
	have map[kvm.IOEvent]bool
	max  int
}

func (f *fakeIOEvents) AddIOEvent(e *kvm.IOEvent) error {
	if len(f.have) == f.max {
		return unix.ENOSPC
	}
	f.have[*e] = true
	return nil
}

func (f *fakeIOEvents) RemoveIOEvent(e *kvm.IOEvent) error {
	if !f.have[*e] {
		return unix.ENOENT
	}
	delete(f.have, *e)
	return nil
}
