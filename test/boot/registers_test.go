package boot

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"govmd/test/guest"
	"govmd/test/vmtest"
)

// vector is what the guest has in its first vector register.
var vector = [4]uint64{0x0123456789abcdef, 0x1111111122222222, 0x3333333344444444, 0xfedcba9876543210}

// longMode is a guest that goes to long mode, puts values into its registers, says
// so, and sleeps. With avx the vector is of 256 bits.
func longMode(avx bool) *vmtest.ROM {
	const (
		segment = 0xf0000 // where the ROM is below 1 MiB
		code64  = 0x08
		data64  = 0x10
	)
	words := func(base []byte, values ...uint64) []byte {
		for _, v := range values {
			base = binary.LittleEndian.AppendUint64(base, v)
		}
		return base
	}
	long := func(base []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(base, v) }

	r := vmtest.NewROM()
	r.Jump("start")
	for r.Len()%8 != 0 {
		r.Code(0x90)
	}
	gdt := r.Len() // null, 64-bit code, data; both have been accessed, as a ROM cannot be written to
	r.Code(words(nil, 0, 0x00af9b000000ffff, 0x00cf93000000ffff)...)
	gdtr := r.Len()
	r.Code(3*8-1, 0).Code(long(nil, segment+uint32(gdt))...)
	data := r.Len()
	r.Code(words(nil, vector[:]...)...)

	cr4 := uint32(1<<5 | 1<<9) // PAE, OSFXSR
	if avx {
		cr4 |= 1 << 18 // OSXSAVE
	}
	r.Label("start").Code(0xea, byte(r.Len()+5), byte((r.Len()+5)>>8), 0x00, segment>>12) // from the end of 4 GiB to below 1 MiB
	r.Code(0xfa, 0x31, 0xc0, 0x8e, 0xd8)                                                  // cli; xor ax, ax; mov ds, ax
	for _, e := range []struct {
		at    uint16
		value uint32
	}{{0x1000, 0x2003}, {0x2000, 0x3003}, {0x3000, 0x83}} { // the first 2 MiB, as they are
		r.Code(0x66, 0xc7, 0x06, byte(e.at), byte(e.at>>8)).Code(long(nil, e.value)...) // mov dword [at], value
	}
	r.Code(0x0f, 0x20, 0xe0, 0x66, 0x0d).Code(long(nil, cr4)...).Code(0x0f, 0x22, 0xe0) // or cr4, ...
	r.Code(0x66, 0xb8).Code(long(nil, 0x1000)...).Code(0x0f, 0x22, 0xd8)                // mov cr3, 0x1000
	r.Code(0x66, 0xb9).Code(long(nil, 0xc0000080)...)                                   // mov ecx, EFER
	r.Code(0x0f, 0x32, 0x66, 0x0d).Code(long(nil, 0x100)...).Code(0x0f, 0x30)           // LME
	r.Code(0x2e, 0x66, 0x0f, 0x01, 0x16, byte(gdtr), byte(gdtr>>8))                     // lgdt cs:[gdtr]
	r.Code(0x0f, 0x20, 0xc0, 0x66, 0x25).Code(long(nil, 0x1fffffff)...)                 // CD and NW off
	r.Code(0x66, 0x0d).Code(long(nil, 0x80000003)...).Code(0x0f, 0x22, 0xc0)            // PG, MP and PE on
	r.Code(0x66, 0xea).Code(long(nil, segment+uint32(r.Len()+6))...).Code(code64, 0)    // jmp far
	r.Code(0x66, 0xb8, data64, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0)                   // mov ds, es, ss
	if avx {
		r.Code(0x31, 0xc9, 0x31, 0xd2, 0xb8).Code(long(nil, 7)...).Code(0x0f, 0x01, 0xd1) // xsetbv
		r.Code(0xc5, 0xfc, 0x10, 0x04, 0x25).Code(long(nil, segment+uint32(data))...)     // vmovups ymm0, [data]
	} else {
		r.Code(0x0f, 0x10, 0x04, 0x25).Code(long(nil, segment+uint32(data))...) // movups xmm0, [data]
	}
	for i := range 16 {
		v := uint64(i) * 0x1001001001001001
		switch {
		case i == 4: // the stack pointer
			r.Code(words([]byte{0x48, 0xbc}, 0x7ff0)...)
		case i < 8:
			r.Code(words([]byte{0x48, 0xb8 + byte(i)}, v)...)
		default:
			r.Code(words([]byte{0x49, 0xb8 + byte(i-8)}, v)...)
		}
	}
	// mov dx, COM1; mov al, '!'; out dx, al; hlt for ever
	r.Code(0x66, 0xba, 0xf8, 0x03, 0xb0, '!', 0xee, 0xf4, 0xeb, 0xfd)
	return r
}

// The registers of a guest in long mode, vectors among them, are shown as QEMU does.
// The emulated host's KVM hands out no more of a vector than its lower half.
func TestRegistersAreQEMUs(t *testing.T) {
	vmtest.NeedKVM(t)
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, cpu string
		avx       bool
	}{{"SSE", cpu, false}, {"AVX", "host", true}} {
		t.Run(c.name, func(t *testing.T) {
			rom := longMode(c.avx).File(t)
			show := func(program string) []string {
				vm := vmtest.Start(t, vmtest.Options{Program: program, Args: []string{
					"-M", "pc", "-accel", "kvm", "-cpu", c.cpu, "-m", "16", "-bios", rom}})
				vm.Expect("!")
				vm.Execute("stop", nil, nil)
				var text string
				vm.Execute("human-monitor-command", map[string]any{"command-line": "info registers"}, &text)
				vm.Execute("quit", nil, nil)
				vm.ExpectExit(0)
				return strings.Split(text, "\r\n")
			}
			got, want := show(""), show(qemu)
			if !slices.Equal(got, want) {
				t.Errorf("info registers shows\n%s\nfrom QEMU\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			for _, line := range []string{fmt.Sprintf("%016x %016x", vector[1], vector[0]), "EFER=0000000000000500", "CS64"} {
				if !strings.Contains(strings.Join(got, "\n"), line) {
					t.Errorf("no %s in\n%s", line, strings.Join(got, "\n"))
				}
			}
		})
	}
}

// A guest takes what inject-nmi sends, and does with it what it has been told to. It
// comes by the pin that Linux has masked on all processors but the first.
func TestInjectNMI(t *testing.T) {
	vmtest.NeedKVM(t)
	vm := start(t, "pc", kernel.ELF(), "", "-device", "pvpanic")
	vm.Expect(guest.Ready)
	vm.Expect(guest.Prompt)
	const count = "set -- $(grep NMI: /proc/interrupts); echo $2 $3"
	equal(t, "interrupts before", vm.Sh(count), "0 0")
	for _, want := range []string{"1 0", "2 0"} {
		vm.Execute("inject-nmi", nil, nil)
		equal(t, "interrupts", vm.Sh(count), want)
	}
	vm.Sh("echo 1 >/proc/sys/kernel/unknown_nmi_panic")
	vm.Execute("inject-nmi", nil, nil)
	vm.ExpectEvent("GUEST_PANICKED")
	vm.ExpectExit(0)
}
