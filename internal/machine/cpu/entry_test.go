package cpu

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/sirupsen/logrus"

	"govmd/internal/kvm"
	"govmd/internal/kvm/kvmtest"
)

func quiet() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// ports is a handler that hands on what a guest writes to ports.
type ports struct{ said chan string }

func (p *ports) PortIn(uint16, int) uint32            { return 0xff }
func (p *ports) PortOut(port uint16, n int, v uint32) { p.said <- fmt.Sprintf("%x/%d: %x", port, n, v) }
func (p *ports) MMIORead(uint64, int) uint64          { return 0 }
func (p *ports) MMIOWrite(a uint64, _ int, v uint64)  { p.said <- fmt.Sprintf("mmio %x: %x", a, v) }
func (p *ports) Stopped(s *kvm.Stop)                  { p.said <- s.String() }

// machine is a small guest with vCPUs of a model.
type machine struct {
	*kvmtest.Guest
	set     *Set
	model   *Model
	threads []*kvm.Thread
	cpus    []*VCPU
	said    chan string
}

func newMachine(t *testing.T, spec string, topo Topology) *machine {
	t.Helper()
	sys := kvmtest.Open(t)
	g := kvmtest.NewGuest(t, sys, 1<<20)
	host, err := NewHost(sys)
	kvmtest.Check(t, err)
	s, _, err := Parse(spec)
	kvmtest.Check(t, err)
	m, warnings, err := s.Resolve(host, topo)
	kvmtest.Check(t, err)
	t.Logf("%s: %q", spec, warnings)
	set, err := Prepare(Config{System: sys, VM: g.VM, Log: quiet(), Model: m})
	kvmtest.Check(t, err)
	mach := &machine{Guest: g, set: set, model: m, said: make(chan string, 16)}
	gate := &kvm.Gate{}
	for i := range topo.CPUs() {
		v, err := g.VM.CreateVCPU(int(topo.APICID(i)))
		kvmtest.Check(t, err)
		th := kvm.StartThread(v, &ports{mach.said}, fmt.Sprintf("CPU %d/KVM", i), gate)
		t.Cleanup(func() { kvmtest.Check(t, th.Close()) })
		mach.threads = append(mach.threads, th)
		mach.cpus = append(mach.cpus, nil)
		mach.do(t, i, func() (err error) { mach.cpus[i], err = set.Setup(v, i); return err })
	}
	return mach
}

// do runs fn on the thread of vCPU i.
func (m *machine) do(t *testing.T, i int, fn func() error) {
	t.Helper()
	var err error
	kvmtest.Check(t, m.threads[i].Do(func(*kvm.VCPU) { err = fn() }))
	kvmtest.Check(t, err)
}

func (m *machine) enter(t *testing.T, change func(*kvm.Regs, *kvm.Sregs)) {
	t.Helper()
	m.do(t, 0, func() error { return m.cpus[0].SetRegisters(change) })
}

func (m *machine) hear(t *testing.T, want string) {
	t.Helper()
	if got := kvmtest.Receive(t, want, m.said); got != want {
		t.Fatalf("guest says %q, want %q", got, want)
	}
}

const (
	gdtAt   = 0x3000
	tables  = 0x4000
	entryAt = 0x10000
)

func (m *machine) gdt(long bool) {
	for i, d := range EntryGDT(long) {
		binary.LittleEndian.PutUint64(m.Mem[gdtAt+8*i:], d)
	}
}

func TestKVMEntries(t *testing.T) {
	m := newMachine(t, "max", Topology{})
	le := binary.LittleEndian
	// out dx, al is the same in all modes; what is before tells the mode.
	say := []byte{0xba, 0x00, 0x01, 0x00, 0x00, 0xee, 0xf4} // mov edx, 0x100; out dx, al; hlt

	m.gdt(true)
	le.PutUint64(m.Mem[tables:], tables+0x1000|3)
	le.PutUint64(m.Mem[tables+0x1000:], 0x83) // 1 GiB page
	le.PutUint64(m.Mem[tables+0x1000:], tables+0x2000|3)
	le.PutUint64(m.Mem[tables+0x2000:], 0x83)                // 2 MiB page
	code := []byte{0x48, 0x89, 0xf0, 0x48, 0xc1, 0xe8, 0x20} // mov rax, rsi; shr rax, 32
	copy(m.Mem[entryAt:], append(code, say...))
	long := LongEntry{RIP: entryAt, RSP: 0x8000, RSI: 0x42 << 32, CR3: tables, GDT: gdtAt}
	m.enter(t, long.Set)
	m.threads[0].Resume()
	m.hear(t, "100/1: 42")
	m.threads[0].Pause()

	m.do(t, 0, m.cpus[0].Reset)
	m.gdt(false)
	code = []byte{0x8c, 0xd8, 0x8e, 0xc0, 0x88, 0xd8} // mov eax, ds; mov es, eax; mov al, bl
	copy(m.Mem[entryAt:], append(code, say...))
	prot := ProtectedEntry{RIP: entryAt, RSP: 0x8000, RBX: 0x17, GDT: gdtAt}
	m.enter(t, prot.Set)
	m.do(t, 0, m.cpus[0].WithoutFirmware)
	m.threads[0].Resume()
	m.hear(t, "100/1: 17")
	m.threads[0].Pause()

	m.do(t, 0, m.cpus[0].Reset)
	copy(m.Mem[entryAt:], []byte{0xb8, 0x34, 0x12, 0xba, 0x00, 0x01, 0xef, 0xf4}) // mov ax, 0x1234; mov dx, 0x100; out dx, ax; hlt
	wake := RealEntry{CS: entryAt >> 4}
	m.enter(t, wake.Set)
	m.threads[0].Resume()
	m.hear(t, "100/2: 1234")
}
