package kvm_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"govmd/internal/kvm"
	"govmd/internal/kvm/kvmtest"
)

// A slot that two vCPUs execute from is taken away and put back: neither may
// see it missing, be it in the guest or in a handler.
func TestKVMGateHidesSlotChanges(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	g.Load(kvmtest.NewAsm(kvmtest.Org).MovEDX(0x100).Label("x").OutAL().Jmp("x"))
	gate := &kvm.Gate{}
	replace := func() {
		slot := g.Slot(0)
		gate.With(func() {
			gone := *slot
			gone.Size = 0
			if err := g.VM.SetUserMemoryRegion(&gone); err != nil {
				t.Error(err)
			}
			if err := g.VM.SetUserMemoryRegion(slot); err != nil {
				t.Error(err)
			}
		})
	}
	b := newBoard()
	var outs atomic.Int64
	ran := make(chan struct{}) // closed at the guest's first exit
	b.out = func(uint16, uint32) {
		n := outs.Add(1)
		if n == 1 {
			close(ran)
		}
		if n%16 == 0 {
			replace() // from a handler, while the other vCPU runs
		}
	}
	var threads []*kvm.Thread
	for id := range 2 {
		v, err := g.VM.CreateVCPU(id)
		kvmtest.Check(t, err)
		kvmtest.Check(t, v.SetMPState(kvm.MPRunnable))
		g.Flat(t, v, kvmtest.Org)
		th := kvm.StartThread(v, b, "CPU/KVM", gate)
		t.Cleanup(func() { kvmtest.Check(t, th.Close()) })
		threads = append(threads, th)
	}
	for _, th := range threads {
		th.Resume()
	}
	inTime(t, "changes while the guest runs", func(ctx context.Context) error {
		select { // a slow host may take longer to enter the guest than for all the changes
		case <-ran:
		case <-ctx.Done():
			return errors.New("the guest does not run")
		}
		for range 300 {
			replace()
		}
		return nil
	})
	for _, th := range threads {
		pause(t, th)
	}
	select {
	case s := <-b.stopped:
		t.Error("a vCPU stopped:", s)
	default:
	}
}
