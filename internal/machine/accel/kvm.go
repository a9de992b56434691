package accel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"govmd/internal/device"
	"govmd/internal/kvm"
	"govmd/internal/memory"
)

// Addresses that KVM wants for itself in the guest's physical space on Intel
// hosts: below the BIOS at the top of 4 GiB, where no RAM or device is.
const (
	ReservedAddr = 0xfeffc000
	ReservedSize = 0x4000

	identityMapAddr = ReservedAddr
	tssAddr         = identityMapAddr + 0x1000 // three pages
)

// needs are the capabilities that the machines rely on beside kvm.Basics.
var needs = []kvm.Need{
	{Cap: kvm.CapIRQChip, For: "interrupt controllers"},
	{Cap: kvm.CapPIT2, For: "the interval timer"},
	{Cap: kvm.CapIRQRouting, For: "message-signalled interrupts"},
	{Cap: kvm.CapIRQFD, For: "interrupts from eventfds"},
	{Cap: kvm.CapIOEventFD, For: "queue notification"},
	{Cap: kvm.CapSignalMSI, For: "message-signalled interrupts"},
	{Cap: kvm.CapReadonlyMem, For: "ROM"},
	{Cap: kvm.CapAdjustClock, For: "the paravirtual clock"},
}

// KVM is the accelerator of that name.
type KVM struct {
	System *kvm.System
	VM     *kvm.VM

	log    *logrus.Logger
	router *router
	pins   [GSIs]*device.Pin
	pit    *kvmPIT
	mem    *memory.Space
	io     *memory.Space

	gate  kvm.Gate
	slots *slots

	mu      sync.Mutex // guards threads
	threads []*kvm.Thread
}

// NewKVM opens /dev/kvm and makes a VM with in-kernel interrupt controllers;
// pit says whether with an interval timer. The error names every capability
// that the host's KVM lacks.
func NewKVM(log *logrus.Logger, pit bool) (a *KVM, err error) {
	sys, err := kvm.Open("")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = sys.Close()
		}
	}()
	if err := sys.Missing(kvm.Basics, needs); err != nil {
		return nil, err
	}
	vm, err := sys.CreateVM(0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = vm.Close()
		}
	}()
	if err := vm.SetIdentityMapAddr(identityMapAddr); err != nil {
		return nil, err
	}
	if err := vm.SetTSSAddr(tssAddr); err != nil {
		return nil, err
	}
	if err := vm.CreateIRQChip(); err != nil {
		return nil, err
	}
	if pit {
		if err := vm.CreatePIT2(kvm.PITSpeakerDummy); err != nil {
			return nil, err
		}
	}
	a = &KVM{System: sys, VM: vm, log: log}
	if a.router, err = newRouter(vm, log); err != nil {
		return nil, err
	}
	a.pins = a.router.pins()
	return a, nil
}

// LeaveIdle has vCPUs that wait, by HLT, PAUSE or MWAIT, stay on their CPUs as far as
// this KVM can do that. It comes before the first vCPU.
func (a *KVM) LeaveIdle() error {
	exits := a.VM.Check(kvm.CapX86DisableExits) & kvm.DisableExitsIdle
	if exits == 0 {
		return errors.New("guest stopping CPU not supported: KVM cannot leave idle vCPUs on their CPUs (cpu-pm=on)")
	}
	if err := a.VM.EnableCap(kvm.CapX86DisableExits, uint64(exits)); err != nil {
		return fmt.Errorf("guest stopping CPU not supported: %w", err)
	}
	return nil
}

// Name implements Accel.
func (a *KVM) Name() string { return "kvm" }

// Pins implements Accel.
func (a *KVM) Pins() [GSIs]*device.Pin { return a.pins }

// MSI implements Accel.
func (a *KVM) MSI() device.MSIController { return a.router }

// Wire implements Accel.
func (a *KVM) Wire(sys *memory.System, mem, io *memory.Space, refused func(*MapError)) error {
	a.mem, a.io = mem, io
	n := a.VM.Check(kvm.CapNrMemSlots)
	if n == 0 {
		n = 32 // what the kernel has where it does not say
	}
	a.slots = newSlots(a.VM, n, a.gate.With, func(e *MapError) {
		if e.Stale {
			a.requestPause()
		}
		refused(e)
	})
	mem.AddListener(a.slots, 0)
	mem.AddListener(&eventfds{vm: a.VM, log: a.log}, 0)
	io.AddListener(&eventfds{vm: a.VM, log: a.log, pio: true}, 0)
	_, err := sys.AddDirtySource(a.slots)
	return err
}

// SetELCR implements Accel: only the guest reaches the ports of PICs in the kernel.
func (a *KVM) SetELCR(levels uint16) error {
	return a.changePICs(func(chip int, s *kvm.PICState) { s.ELCR = uint8(levels>>(8*chip)) & picELCRMask[chip] })
}

// MaskPICs implements Accel.
func (a *KVM) MaskPICs() error {
	return a.changePICs(func(_ int, s *kvm.PICState) { s.IMR = 0xff })
}

func (a *KVM) changePICs(change func(chip int, s *kvm.PICState)) error {
	for chip := range picELCRMask {
		s, err := a.VM.PIC(uint32(chip))
		if err != nil {
			return err
		}
		change(chip, &s)
		if err := a.VM.SetPIC(uint32(chip), &s); err != nil {
			return err
		}
	}
	return nil
}

// SetHPETLegacy implements Accel.
func (a *KVM) SetHPETLegacy(on bool) {
	if a.pit != nil {
		a.pit.setHPETLegacy(on)
	}
}

// PlugChips implements Accel.
func (a *KVM) PlugChips(env *device.Env, pic, pit bool, prepare func(device.Device) error) error {
	names := []string{"kvmclock", "kvm-ioapic"}
	if pic {
		names = append(names, "kvm-i8259")
	}
	if pit {
		names = append(names, "kvm-pit")
	}
	for _, name := range names {
		d, err := device.Create(name, "")
		if err != nil {
			return err
		}
		d.(vmUser).setVM(a.VM)
		switch d := d.(type) {
		case *kvmPIT:
			a.pit = d
		case *kvmClock:
			d.vcpus = a.all
		}
		device.PlaceUnattached(env, d)
		if err := prepare(d); err != nil {
			return err
		}
		if err := device.Plug(env, nil, d); err != nil {
			return err
		}
	}
	return nil
}

// StartVCPU makes the vCPU of that index and APIC ID, with a paused thread for
// it. stopped is called on that thread when the vCPU stops by itself.
func (a *KVM) StartVCPU(index, apicID int, stopped func(*kvm.Stop)) (*kvm.Thread, error) {
	if max := a.VM.MaxVCPUs(); index >= max {
		return nil, fmt.Errorf("the host's KVM runs %d vCPUs at most", max)
	}
	v, err := a.VM.CreateVCPU(apicID)
	if err != nil {
		return nil, err
	}
	t := kvm.StartThread(v, &exits{mem: a.mem, io: a.io, stopped: stopped}, fmt.Sprintf("CPU %d/KVM", index), &a.gate)
	a.mu.Lock()
	a.threads = append(a.threads, t)
	a.mu.Unlock()
	return t, nil
}

func (a *KVM) all() []*kvm.Thread {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*kvm.Thread(nil), a.threads...)
}

// Pause implements runstate.VCPUs.
func (a *KVM) Pause() {
	for _, t := range a.requestPause() {
		t.Pause()
	}
}

// requestPause has no vCPU enter the guest again until Resume, and does not wait
// for those that are there.
func (a *KVM) requestPause() []*kvm.Thread {
	list := a.all()
	for _, t := range list {
		t.RequestPause()
	}
	return list
}

// Resume implements runstate.VCPUs. Nothing runs while the guest would see memory
// that is not there: the machine is told so again.
func (a *KVM) Resume() {
	if !a.slots.settle() {
		return
	}
	for _, t := range a.all() {
		t.Resume()
	}
}

// PauseSelf keeps the vCPU whose handler calls it out of the guest until Resume.
func (a *KVM) PauseSelf() {
	tid := unix.Gettid()
	for _, t := range a.all() {
		if t.TID() == tid {
			t.RequestPause()
			return
		}
	}
}

// Close implements Accel.
func (a *KVM) Close() {
	for _, t := range a.all() {
		if err := t.Close(); err != nil {
			a.log.Debugf("vCPU: %v", err)
		}
	}
	_ = a.VM.Close()
	_ = a.System.Close()
}

// exits serves one vCPU's accesses to what is not RAM.
type exits struct {
	mem, io *memory.Space
	stopped func(*kvm.Stop)
	buf     [8]byte // of the vCPU's thread
}

// PortIn implements kvm.Handler.
func (e *exits) PortIn(port uint16, size int) uint32 {
	e.io.ReadIO(uint64(port), e.buf[:size])
	switch size {
	case 1:
		return uint32(e.buf[0])
	case 2:
		return uint32(binary.LittleEndian.Uint16(e.buf[:]))
	}
	return binary.LittleEndian.Uint32(e.buf[:])
}

// PortOut implements kvm.Handler.
func (e *exits) PortOut(port uint16, size int, value uint32) {
	binary.LittleEndian.PutUint32(e.buf[:], value)
	e.io.WriteIO(uint64(port), e.buf[:size])
}

// MMIORead implements kvm.Handler.
func (e *exits) MMIORead(addr uint64, size int) uint64 {
	clear(e.buf[size:])
	e.mem.ReadIO(addr, e.buf[:size])
	return binary.LittleEndian.Uint64(e.buf[:])
}

// MMIOWrite implements kvm.Handler.
func (e *exits) MMIOWrite(addr uint64, size int, value uint64) {
	binary.LittleEndian.PutUint64(e.buf[:], value)
	e.mem.WriteIO(addr, e.buf[:size])
}

// Stopped implements kvm.Handler.
func (e *exits) Stopped(s *kvm.Stop) { e.stopped(s) }
