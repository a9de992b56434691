package cpu

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/sirupsen/logrus"

	"govmd/internal/kvm"
	"govmd/internal/kvm/kvmtest"
	"govmd/internal/machine/boot"
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

func (m *machine) enter(t *testing.T, e boot.Entry) {
	t.Helper()
	m.do(t, 0, func() error { return m.cpus[0].Enter(&e) })
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

func (m *machine) gdt(code uint64) {
	for i, d := range []uint64{2: code, 3: 0x00cf93000000ffff, 4: 0x00008b0000000067} {
		binary.LittleEndian.PutUint64(m.Mem[gdtAt+8*i:], d)
	}
}

// flat is an entry with segments that cover everything.
func flat(e boot.Entry) boot.Entry {
	long := e.Mode == boot.Long64
	e.CS = boot.SegmentRegister{Selector: 0x10, Limit: 0xffffffff, Type: 0xb, Long: long, Big: !long, Granular: true}
	e.Data = boot.SegmentRegister{Selector: 0x18, Limit: 0xffffffff, Type: 3, Big: true, Granular: true}
	e.TR = boot.SegmentRegister{Selector: 0x20, Limit: 0x67, Type: 0xb, System: true}
	e.GDT = boot.TableRegister{Base: gdtAt, Limit: 39}
	e.RIP, e.RSP = entryAt, 0x8000
	return e
}

func TestKVMEntries(t *testing.T) {
	m := newMachine(t, "max", Topology{})
	le := binary.LittleEndian
	// out dx, al is the same in all modes; what is before tells the mode.
	say := []byte{0xba, 0x00, 0x01, 0x00, 0x00, 0xee, 0xf4} // mov edx, 0x100; out dx, al; hlt

	m.gdt(0x00af9b000000ffff)
	le.PutUint64(m.Mem[tables:], tables+0x1000|3)
	le.PutUint64(m.Mem[tables+0x1000:], 0x83) // 1 GiB page
	le.PutUint64(m.Mem[tables+0x1000:], tables+0x2000|3)
	le.PutUint64(m.Mem[tables+0x2000:], 0x83)                // 2 MiB page
	code := []byte{0x48, 0x89, 0xf0, 0x48, 0xc1, 0xe8, 0x20} // mov rax, rsi; shr rax, 32
	copy(m.Mem[entryAt:], append(code, say...))
	m.enter(t, flat(boot.Entry{Mode: boot.Long64, RSI: 0x42 << 32,
		CR0: 1<<31 | 1<<16 | 1<<5 | 1<<4 | 1, CR3: tables, CR4: 1 << 5, EFER: 1<<10 | 1<<8}))
	m.threads[0].Resume()
	m.hear(t, "100/1: 42")
	m.threads[0].Pause()

	m.do(t, 0, m.cpus[0].Reset)
	m.gdt(0x00cf9b000000ffff)
	code = []byte{0x8c, 0xd8, 0x8e, 0xc0, 0x88, 0xd8} // mov eax, ds; mov es, eax; mov al, bl
	copy(m.Mem[entryAt:], append(code, say...))
	m.enter(t, flat(boot.Entry{Mode: boot.Protected32, RBX: 0x17, CR0: 1<<4 | 1}))
	m.do(t, 0, m.cpus[0].WithoutFirmware)
	m.threads[0].Resume()
	m.hear(t, "100/1: 17")
	m.threads[0].Pause()

	m.do(t, 0, m.cpus[0].Reset)
	copy(m.Mem[entryAt:], []byte{0xb8, 0x34, 0x12, 0xba, 0x00, 0x01, 0xef, 0xf4}) // mov ax, 0x1234; mov dx, 0x100; out dx, ax; hlt
	data := boot.SegmentRegister{Limit: 0xffff, Type: 3}
	code16 := boot.SegmentRegister{Selector: entryAt >> 4, Base: entryAt, Limit: 0xffff, Type: 0xb}
	m.enter(t, boot.Entry{Mode: boot.Real, CS: code16, Data: data, CR0: 1 << 4, IDT: boot.TableRegister{Limit: 0x3ff}})
	m.threads[0].Resume()
	m.hear(t, "100/2: 1234")
}
