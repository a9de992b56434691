package kvm_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"govmd/internal/kvm"
	"govmd/internal/kvm/kvmtest"
)

// board serves a guest's exits for tests.
type board struct {
	out     func(port uint16, v uint32)
	in      func(port uint16) uint32
	mmio    func(addr uint64)
	stopped chan string
}

func newBoard() *board {
	return &board{
		out: func(uint16, uint32) {}, in: func(uint16) uint32 { return 0 }, mmio: func(uint64) {},
		stopped: make(chan string, 16),
	}
}

func (b *board) PortIn(port uint16, _ int) uint32       { return b.in(port) }
func (b *board) PortOut(port uint16, _ int, v uint32)   { b.out(port, v) }
func (b *board) MMIORead(addr uint64, _ int) uint64     { b.mmio(addr); return 0 }
func (b *board) MMIOWrite(addr uint64, _ int, _ uint64) { b.mmio(addr) }
func (b *board) Stopped(s *kvm.Stop)                    { b.stopped <- s.String() }

func start(t testing.TB, v *kvm.VCPU, b kvm.Handler) *kvm.Thread {
	th := kvm.StartThread(v, b, fmt.Sprintf("CPU %d/KVM", v.ID()), &kvm.Gate{})
	t.Cleanup(func() { kvmtest.Check(t, th.Close()) })
	return th
}

// inTime runs fn, which waits for a guest, and fails the test if it takes too long.
func inTime(t testing.TB, what string, fn func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), kvmtest.Limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	case <-ctx.Done():
		t.Fatalf("%s: still waiting after %v", what, kvmtest.Limit)
	}
}

func pause(t testing.TB, th *kvm.Thread) {
	t.Helper()
	th.RequestPause()
	inTime(t, "pause", th.WaitPaused)
}

func regs(t testing.TB, th *kvm.Thread) (r kvm.Regs) {
	t.Helper()
	kvmtest.Check(t, th.Do(func(v *kvm.VCPU) { kvmtest.Check(t, v.Regs(&r)) }))
	return r
}

func receive[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	inTime(t, what, func(ctx context.Context) error {
		select {
		case v = <-ch:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	return v
}

func TestKVMThreadIsNamedAndNotTheMainOne(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	seen := map[int]bool{}
	for i := range 8 {
		v, err := g.VM.CreateVCPU(i)
		kvmtest.Check(t, err)
		th := start(t, v, newBoard())
		if th.TID() == os.Getpid() || seen[th.TID()] {
			t.Errorf("vCPU %d has thread %d", i, th.TID())
		}
		seen[th.TID()] = true
		comm, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/comm", th.TID()))
		kvmtest.Check(t, err)
		if want := fmt.Sprintf("CPU %d/KVM", i); strings.TrimSpace(string(comm)) != want {
			t.Errorf("thread is called %q, want %q", comm, want)
		}
	}
}

// A guest that spins, one that sleeps in HLT with interrupts off, and one that
// waits for SIPI all pause, run operations, and go on.
func TestKVMPauseWhateverTheGuestDoes(t *testing.T) {
	sys := kvmtest.Open(t)
	for _, c := range []struct {
		name string
		id   int
		code *kvmtest.Asm
	}{
		{"spins", 0, kvmtest.NewAsm(kvmtest.Org).Label("x").Jmp("x")},
		{"halts", 0, kvmtest.NewAsm(kvmtest.Org).Cli().Label("x").Hlt().Jmp("x")},
		{"waits for SIPI", 1, kvmtest.NewAsm(kvmtest.Org)},
		{"leaves all the time", 0, kvmtest.NewAsm(kvmtest.Org).MovEDX(0x100).Label("x").InAL().OutAL().Jmp("x")},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := kvmtest.NewGuest(t, sys, 1<<20)
			g.Load(c.code)
			v, err := g.VM.CreateVCPU(c.id)
			kvmtest.Check(t, err)
			if c.id == 0 {
				g.Flat(t, v, kvmtest.Org)
			}
			th := start(t, v, newBoard())
			if th.Running() {
				t.Error("runs before Resume")
			}
			for range 50 {
				th.Resume()
				if !th.Running() {
					t.Fatal("does not run after Resume")
				}
				pause(t, th)
				if th.Running() {
					t.Fatal("runs after Pause")
				}
			}
			th.Resume()
			inTime(t, "operations while running", func(context.Context) error {
				for range 200 {
					if err := th.Do(func(v *kvm.VCPU) { _, _ = v.MPState() }); err != nil {
						return err
					}
				}
				return nil
			})
			if !th.Running() {
				t.Error("operations pause it")
			}
			pause(t, th)
			var s kvm.MPState
			kvmtest.Check(t, th.Do(func(v *kvm.VCPU) { s, err = v.MPState() }))
			kvmtest.Check(t, err)
			if c.id == 1 && s != kvm.MPUninitialized {
				t.Errorf("state %v", s)
			}
		})
	}
}

// Many goroutines kick at once; none waits for ever.
func TestKVMNoKickIsLost(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	g.Load(kvmtest.NewAsm(kvmtest.Org).Cli().Label("x").Hlt().Jmp("x"))
	v, err := g.VM.CreateVCPU(0)
	kvmtest.Check(t, err)
	g.Flat(t, v, kvmtest.Org)
	th := start(t, v, newBoard())
	th.Resume()
	var ran atomic.Int32
	inTime(t, "operations and pauses", func(context.Context) error {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for range 500 {
					if i == 0 {
						th.Pause()
						th.Resume()
						continue
					}
					if th.Do(func(*kvm.VCPU) { ran.Add(1) }) != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		return nil
	})
	if ran.Load() != 1500 {
		t.Errorf("%d operations ran", ran.Load())
	}
}

func TestKVMPauseCompletesPendingAccess(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	a := kvmtest.NewAsm(kvmtest.Org).Cld().MovEDX(0x100).InEAX()
	after := a.PC()
	a.MovEDI(kvmtest.Data).MovECX(6).RepIns(1)
	afterString := a.PC()
	a.LoadEAX(0xd0000000)
	afterMMIO := a.PC()
	a.Label("x").Jmp("x")
	g.Load(a)
	v, err := g.VM.CreateVCPU(0)
	kvmtest.Check(t, err)
	g.Flat(t, v, kvmtest.Org)
	b := newBoard()
	var th *kvm.Thread
	next := uint32(0x01020304)
	b.in = func(uint16) uint32 { th.RequestPause(); next++; return next }
	b.mmio = func(uint64) { th.RequestPause() }
	th = start(t, v, b)

	th.Resume()
	inTime(t, "pause by handler", th.WaitPaused)
	if r := regs(t, th); r.RIP != uint64(after) || uint32(r.RAX) != 0x01020305 {
		t.Errorf("after IN: RIP %#x RAX %#x", r.RIP, r.RAX)
	}
	// A string instruction may take several pauses: between its elements it
	// can be interrupted as on hardware, but each element is in memory.
	for {
		th.Resume()
		inTime(t, "pause by handler", th.WaitPaused)
		r := regs(t, th)
		for i := range r.RDI - kvmtest.Data {
			if got := g.Mem[kvmtest.Data+i]; got != byte(6+i) {
				t.Fatalf("element %d is %#x", i, got)
			}
		}
		if r.RCX == 0 {
			// KVM may leave it to the next entry to find that none is left.
			if r.RIP != uint64(afterString) && r.RIP != uint64(afterString-2) || r.RDI != kvmtest.Data+6 {
				t.Errorf("after REP INS: RIP %#x RDI %#x", r.RIP, r.RDI)
			}
			break
		}
	}
	th.Resume()
	inTime(t, "pause by handler", th.WaitPaused)
	if r := regs(t, th); r.RIP != uint64(afterMMIO) || uint32(r.RAX) != 0 {
		t.Errorf("after MMIO: RIP %#x RAX %#x", r.RIP, r.RAX)
	}
}

func TestKVMTripleFaultParksUntilReset(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	a := kvmtest.NewAsm(kvmtest.Org).Lidt(kvmtest.Data).Raw(0x0f, 0x0b)
	second := a.PC()
	a.Out(0x100, 1).Label("x").Hlt().Jmp("x")
	g.Load(a)
	v, err := g.VM.CreateVCPU(0)
	kvmtest.Check(t, err)
	g.Flat(t, v, kvmtest.Org)
	b := newBoard()
	alive := make(chan uint32, 1)
	b.out = func(_ uint16, v uint32) { alive <- v }
	th := start(t, v, b)
	th.Resume()
	if s := receive(t, "triple fault", b.stopped); s != "triple fault" {
		t.Errorf("stopped by %q", s)
	}
	inTime(t, "pause after triple fault", th.WaitPaused)
	if th.Running() {
		t.Error("runs on")
	}
	kvmtest.Check(t, th.Do(func(v *kvm.VCPU) { g.Flat(t, v, second) }))
	th.Resume()
	if got := receive(t, "life after reset", alive); got != 1 {
		t.Errorf("guest says %d", got)
	}
}

func TestKVMInternalErrorNamesTheInstruction(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	// Running from MMIO: no KVM can fetch there.
	v, err := g.VM.CreateVCPU(0)
	kvmtest.Check(t, err)
	g.Flat(t, v, 0xd0000000)
	b := newBoard()
	th := start(t, v, b)
	th.Resume()
	if s := receive(t, "internal error", b.stopped); !strings.HasPrefix(s, "KVM internal error. Suberror: 1") {
		t.Errorf("stopped by %q", s)
	}
}

// The first vCPU starts the second by INIT and SIPI.
func TestKVMStartsSecondProcessor(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	const icrLow, icrHigh = 0xfee00300, 0xfee00310
	a := kvmtest.NewAsm(kvmtest.Org).MovEAX(0x1ff).StoreEAX(0xfee000f0)
	a.MovEAX(1 << 24).StoreEAX(icrHigh)
	a.MovEAX(0xc500).StoreEAX(icrLow) // INIT, assert, level
	a.MovEAX(0x0609).StoreEAX(icrLow) // SIPI to 0x9000
	a.Label("wait").LoadEAX(0x600).CmpEAX(0x42).Jnz("wait")
	a.Out(0x101, 1).Label("x").Hlt().Jmp("x")
	g.Load(a)
	copy(g.Mem[0x9000:], []byte{ // 16-bit code
		0xb0, 0x42, // mov al, 0x42
		0xa2, 0x00, 0x06, // mov [0x600], al
		0xba, 0x02, 0x01, // mov dx, 0x102
		0xee,       // out dx, al
		0xf4,       // hlt
		0xeb, 0xfd, // jmp to hlt
	})
	said := make(chan string, 2)
	var threads []*kvm.Thread
	for i := range 2 {
		v, err := g.VM.CreateVCPU(i)
		kvmtest.Check(t, err)
		if i == 0 {
			g.Flat(t, v, kvmtest.Org)
		}
		b := newBoard()
		b.out = func(port uint16, v uint32) { said <- fmt.Sprintf("vCPU %d: out %#x %#x", i, port, v) }
		threads = append(threads, start(t, v, b))
	}
	for _, th := range threads {
		th.Resume()
	}
	got := map[string]bool{receive(t, "a vCPU", said): true, receive(t, "the other vCPU", said): true}
	if !got["vCPU 0: out 0x101 0x1"] || !got["vCPU 1: out 0x102 0x42"] {
		t.Errorf("got %v", got)
	}
	for _, th := range threads {
		pause(t, th)
	}
}

func TestKVMThreadEnds(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	g.Load(kvmtest.NewAsm(kvmtest.Org).Label("x").Jmp("x"))
	v, err := g.VM.CreateVCPU(0)
	kvmtest.Check(t, err)
	g.Flat(t, v, kvmtest.Org)
	th := kvm.StartThread(v, newBoard(), "CPU 0/KVM", &kvm.Gate{})
	th.Resume()
	inTime(t, "close", func(context.Context) error { return th.Close() })
	kvmtest.Check(t, th.Close())
	th.Kick() // must not touch what is gone
	th.Resume()
	th.RequestPause()
	inTime(t, "pause after close", th.WaitPaused)
	if err := th.Do(func(*kvm.VCPU) { t.Error("runs") }); err != kvm.ErrThreadEnded {
		t.Errorf("Do after Close: %v", err)
	}
}

// A handler may use its own vCPU.
func TestKVMDoFromHandler(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	g.Load(kvmtest.NewAsm(kvmtest.Org).MovEBX(0x1234).Out(0x100, 1).Label("x").Hlt().Jmp("x"))
	v, err := g.VM.CreateVCPU(0)
	kvmtest.Check(t, err)
	g.Flat(t, v, kvmtest.Org)
	b := newBoard()
	var th *kvm.Thread
	rbx := make(chan uint64, 1)
	b.out = func(uint16, uint32) { rbx <- regs(t, th).RBX }
	th = start(t, v, b)
	th.Resume()
	if got := receive(t, "the handler", rbx); got != 0x1234 {
		t.Errorf("RBX %#x", got)
	}
}

// What a handler or an operation does with its own vCPU is done even while
// somebody waits in Close for it to end.
func TestKVMDoWhileClosing(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	g.Load(kvmtest.NewAsm(kvmtest.Org).MovEBX(0x1234).Out(0x100, 1).Label("x").Hlt().Jmp("x"))
	v, err := g.VM.CreateVCPU(0)
	kvmtest.Check(t, err)
	g.Flat(t, v, kvmtest.Org)
	b := newBoard()
	var th *kvm.Thread
	result := make(chan error, 1)
	closed := make(chan error, 1)
	b.out = func(uint16, uint32) {
		go func() { closed <- th.Close() }()
		for !th.Closing() {
			runtime.Gosched()
		}
		result <- th.Do(func(v *kvm.VCPU) {
			var r kvm.Regs
			kvmtest.Check(t, v.Regs(&r))
			if r.RBX != 0x1234 {
				t.Errorf("RBX %#x", r.RBX)
			}
		})
	}
	th = kvm.StartThread(v, b, "CPU 0/KVM", &kvm.Gate{})
	th.Resume()
	if err := receive(t, "the handler", result); err != nil {
		t.Error(err)
	}
	kvmtest.Check(t, receive(t, "Close", closed))
}

// Everything at once: pauses, operations, kicks and gates from all sides, while
// the guests spin, sleep and leave. Nobody waits for ever.
func TestKVMStress(t *testing.T) {
	g := kvmtest.NewGuest(t, kvmtest.Open(t), 1<<20)
	a := kvmtest.NewAsm(kvmtest.Org).MovEDX(0x100).Label("io").InAL().OutAL().StoreEAX(0xd0000000).Jmp("io")
	spin := a.PC()
	a.Label("spin").Jmp("spin")
	halt := a.PC()
	a.Cli().Label("halt").Hlt().Jmp("halt")
	g.Load(a)
	gate := &kvm.Gate{}
	var inGate atomic.Int32
	exclusive := func() {
		gate.With(func() {
			if inGate.Add(1) != 1 {
				t.Error("two in the gate")
			}
			inGate.Add(-1)
		})
	}
	var threads []*kvm.Thread
	for id, pc := range []uint32{kvmtest.Org, uint32(spin), uint32(halt)} {
		v, err := g.VM.CreateVCPU(id)
		kvmtest.Check(t, err)
		kvmtest.Check(t, v.SetMPState(kvm.MPRunnable))
		g.Flat(t, v, pc)
		b := newBoard()
		n := 0
		b.out = func(uint16, uint32) {
			if n++; n%4 == 0 {
				exclusive()
			}
		}
		th := kvm.StartThread(v, b, "CPU/KVM", gate)
		t.Cleanup(func() { kvmtest.Check(t, th.Close()) })
		threads = append(threads, th)
		th.Resume()
	}
	var ran atomic.Int64
	inTime(t, "operations, pauses and gates", func(context.Context) error {
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				for n := range 200 {
					th := threads[(i+n)%len(threads)]
					switch i {
					case 0:
						th.Pause()
						th.Resume()
					case 1:
						exclusive()
					case 2:
						th.Kick()
					default:
						if th.Do(func(v *kvm.VCPU) { ran.Add(1) }) != nil {
							t.Error("an operation was refused")
						}
					}
				}
			})
		}
		wg.Wait()
		return nil
	})
	if ran.Load() != 600 {
		t.Errorf("%d operations ran", ran.Load())
	}
}

// BenchmarkKVMEntry is what of an exit does not depend on KVM: entering the
// kernel and coming back at once.
func BenchmarkKVMEntry(b *testing.B) {
	g := kvmtest.NewGuest(b, kvmtest.Open(b), 1<<20)
	v, err := g.VM.CreateVCPU(0)
	kvmtest.Check(b, err)
	b.Cleanup(func() { kvmtest.Check(b, v.Close()) })
	v.SetImmediateExit()
	b.ReportAllocs()
	for b.Loop() {
		if exit, err := v.Run(); err != nil || exit != kvm.ExitIntr {
			b.Fatal(exit, err)
		}
	}
}

func BenchmarkKVMExitPIO(b *testing.B) {
	benchmarkExit(b, kvmtest.NewAsm(kvmtest.Org).MovEDX(0x100).Label("x").OutAL().Jmp("x"))
}

func BenchmarkKVMExitMMIO(b *testing.B) {
	benchmarkExit(b, kvmtest.NewAsm(kvmtest.Org).Label("x").StoreEAX(0xd0000000).Jmp("x"))
}

func benchmarkExit(b *testing.B, code *kvmtest.Asm) {
	g := kvmtest.NewGuest(b, kvmtest.Open(b), 1<<20)
	g.Load(code)
	v, err := g.VM.CreateVCPU(0)
	kvmtest.Check(b, err)
	g.Flat(b, v, kvmtest.Org)
	board := newBoard()
	left := b.N
	done := make(chan struct{})
	count := func() {
		if left--; left == 0 {
			close(done)
		}
	}
	board.out = func(uint16, uint32) { count() }
	board.mmio = func(uint64) { count() }
	th := start(b, v, board)
	b.ReportAllocs()
	b.ResetTimer()
	th.Resume()
	<-done
	b.StopTimer()
	th.Pause()
}
