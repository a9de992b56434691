package kvm

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenSaysWhatToDo(t *testing.T) {
	_, err := Open(t.TempDir() + "/kvm")
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindUnavailable || !errors.Is(err, unix.ENOENT) {
		t.Fatalf("got %#v", err)
	}
	if !strings.Contains(err.Error(), "kvm_intel") {
		t.Errorf("no advice in %q", err)
	}
	_, err = Open("/dev/null")
	if !errors.As(err, &e) || e.Kind != KindUnavailable || !strings.Contains(err.Error(), "/dev/null is not a KVM device") {
		t.Errorf("got %v", err)
	}
}

func TestMissingNamesEach(t *testing.T) {
	have := map[Cap]int{CapUserMemory: 1}
	err := missing(func(c Cap) int { return have[c] }, [][]Need{
		{{CapUserMemory, "guest memory"}, {CapIRQFD, "interrupts of fast devices"}},
		{{Cap(9999), "nothing"}},
	})
	want := "KVM capability KVM_CAP_IRQFD is missing: needed for interrupts of fast devices\n" +
		"KVM capability KVM_CAP_9999 is missing: needed for nothing"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if err := missing(func(Cap) int { return 1 }, [][]Need{Basics}); err != nil {
		t.Errorf("nothing is missing, but: %v", err)
	}
}

// fakeRun is a vCPU with a shared page and no kernel behind it.
func fakeRun() *VCPU {
	page := make([]byte, 3*4096)
	return &VCPU{fd: -1, run: page, word0: runWord(page)}
}

func TestImmediateExitLeavesTheRestAlone(t *testing.T) {
	v := fakeRun()
	v.SetRequestInterruptWindow(true)
	v.SetImmediateExit()
	if v.run[0] != 1 || v.run[1] != 1 {
		t.Errorf("first bytes are % x", v.run[:4])
	}
	v.ClearImmediateExit()
	if v.run[0] != 1 || v.run[1] != 0 {
		t.Errorf("first bytes are % x", v.run[:4])
	}
	v.SetRequestInterruptWindow(false)
	if v.run[0] != 0 {
		t.Errorf("first bytes are % x", v.run[:4])
	}
}

func TestExitDescriptions(t *testing.T) {
	v := fakeRun()
	le := binary.LittleEndian
	u := v.run[runUnion:]
	u[0], u[1] = 1, 2
	le.PutUint16(u[2:], 0x3f8)
	le.PutUint32(u[4:], 3)
	le.PutUint64(u[8:], 4096)
	io, data := v.IO()
	if (io != IO{Port: 0x3f8, Size: 2, Count: 3, Out: true}) || len(data) != 6 {
		t.Errorf("%+v with %d bytes", io, len(data))
	}
	le.PutUint64(u[8:], 3*4096-5)
	if io, data := v.IO(); io.Count != 0 || data != nil {
		t.Errorf("data beyond the page: %+v with %d bytes", io, len(data))
	}
	le.PutUint64(u[8:], ^uint64(0))
	if io, _ := v.IO(); io.Count != 0 {
		t.Errorf("offset that wraps: %+v", io)
	}

	clear(u[:64])
	le.PutUint64(u, 0xfee00000)
	le.PutUint32(u[16:], 99)
	u[20] = 1
	if m, d := v.MMIO(); m.Addr != 0xfee00000 || !m.Write || len(d) != 8 {
		t.Errorf("%+v with %d bytes", m, len(d))
	}

	clear(u[:64])
	le.PutUint32(u, InternalErrorEmulation)
	le.PutUint32(u[4:], 3)
	u[8] = 1
	u[16] = 2
	u[17], u[18] = 0x0f, 0x0b
	e := v.InternalError()
	if got := e.Instruction(); len(got) != 2 || got[0] != 0x0f || got[1] != 0x0b {
		t.Errorf("instruction % x of %+v", got, e)
	}
	le.PutUint32(u[4:], 1<<31)
	if e := v.InternalError(); e.NData != 16 {
		t.Errorf("%d words of data", e.NData)
	}
}

func TestCPUIDEncoding(t *testing.T) {
	in := []CPUIDEntry{{Function: 1, EAX: 2, EBX: 3, ECX: 4, EDX: 5}, {Function: 7, Index: 1, Flags: 1, EDX: 9}}
	out := decodeCPUID(encodeCPUID(in))
	if len(out) != 2 || out[0] != in[0] || out[1] != in[1] {
		t.Errorf("%+v", out)
	}
	buf := encodeCPUID(in)
	buf[0] = 1000 // more than there is
	if out := decodeCPUID(buf); len(out) != 2 {
		t.Errorf("%d entries from a bad count", len(out))
	}
}

func TestDirtyWords(t *testing.T) {
	for size, want := range map[uint64]int{0: 0, 4096: 1, 64 * 4096: 1, 65 * 4096: 2} {
		if got := DirtyWords(size); got != want {
			t.Errorf("DirtyWords(%d) = %d", size, got)
		}
	}
}
