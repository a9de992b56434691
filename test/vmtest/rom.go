package vmtest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A ROM is a guest of a few instructions: firmware of 64 KiB, for -bios, whose
// real-mode code begins when the machine is reset. Every KVM runs it. Its methods
// append code; what needs no stack and no memory is all there is.
type ROM struct {
	code   []byte
	labels map[string]int
	jumps  []romJump
}

type romJump struct {
	at    int // of the 16-bit displacement
	label string
}

const romSize = 64 << 10

// Registers of a PC that tests use.
const (
	PortCMOSIndex    = 0x70
	PortCMOSData     = 0x71
	PortKeyboard     = 0x64
	PortPanic        = 0x505
	PortResetControl = 0xcf9
	PortSerial       = 0x3f8
	portPCIAddress   = 0xcf8
	portPCIData      = 0xcfc
)

// NewROM returns a ROM without code.
func NewROM() *ROM { return &ROM{labels: map[string]int{}} }

func (r *ROM) emit(code ...byte) *ROM {
	r.code = append(r.code, code...)
	return r
}

func (r *ROM) port(port uint16) *ROM { return r.emit(0xba, byte(port), byte(port>>8)) } // mov dx, port

// Code appends instructions as they are.
func (r *ROM) Code(code ...byte) *ROM { return r.emit(code...) }

// Len is how many bytes of code there are: the address of what comes next, from the
// beginning of the segment.
func (r *ROM) Len() int { return len(r.code) }

// Out8 writes a byte to a port.
func (r *ROM) Out8(port uint16, v uint8) *ROM {
	return r.port(port).emit(0xb0, v, 0xee) // mov al, v; out dx, al
}

// Out16 writes a word to a port.
func (r *ROM) Out16(port uint16, v uint16) *ROM {
	return r.port(port).emit(0xb8, byte(v), byte(v>>8), 0xef) // mov ax, v; out dx, ax
}

// Out32 writes a doubleword to a port.
func (r *ROM) Out32(port uint16, v uint32) *ROM {
	r.port(port).emit(0x66, 0xb8) // mov eax, v; out dx, eax
	r.code = binary.LittleEndian.AppendUint32(r.code, v)
	return r.emit(0x66, 0xef)
}

// In8 reads a byte from a port into AL.
func (r *ROM) In8(port uint16) *ROM { return r.port(port).emit(0xec) } // in al, dx

// Print writes text to the first serial port, whose buffer is the reader's matter.
func (r *ROM) Print(text string) *ROM {
	for _, c := range []byte(text) {
		r.Out8(PortSerial, c)
	}
	return r
}

// Store writes text to memory at addr.
func (r *ROM) Store(addr uint16, text string) *ROM {
	for i := range len(text) {
		at := addr + uint16(i)
		r.emit(0xc6, 0x06, byte(at), byte(at>>8), text[i]) // mov byte [at], imm8
	}
	return r
}

// CMOS writes a register of the clock.
func (r *ROM) CMOS(index, v uint8) *ROM {
	return r.Out8(PortCMOSIndex, index).Out8(PortCMOSData, v)
}

// ReadCMOS reads a register of the clock into AL.
func (r *ROM) ReadCMOS(index uint8) *ROM { return r.Out8(PortCMOSIndex, index).In8(PortCMOSData) }

// WritePCI writes a register of a function's configuration space.
func (r *ROM) WritePCI(slot, fn uint8, register uint8, v uint32) *ROM {
	address := 1<<31 | uint32(slot)<<11 | uint32(fn)<<8 | uint32(register)
	return r.Out32(portPCIAddress, address).Out32(portPCIData, v)
}

// Label names this place in the code.
func (r *ROM) Label(name string) *ROM {
	r.labels[name] = len(r.code)
	return r
}

// Offset returns where in the ROM a label is.
func (r *ROM) Offset(label string) int { return r.labels[label] }

func (r *ROM) displace(label string) *ROM {
	r.jumps = append(r.jumps, romJump{len(r.code), label})
	return r.emit(0, 0)
}

// Jump goes to a label, which may come later.
func (r *ROM) Jump(label string) *ROM { return r.emit(0xe9).displace(label) }

// JumpIfAL goes to a label if AL has that value.
func (r *ROM) JumpIfAL(v uint8, label string) *ROM {
	return r.emit(0x3c, v, 0x0f, 0x84).displace(label) // cmp al, v; je label
}

// Spin stays here, with the vCPU at work.
func (r *ROM) Spin() *ROM { return r.emit(0xeb, 0xfe) }

// Halt stays here, with the vCPU asleep.
func (r *ROM) Halt() *ROM { return r.emit(0xfa, 0xf4, 0xeb, 0xfc) } // cli; hlt; jmp

// TripleFault gives the vCPU a fault without anybody to handle it.
func (r *ROM) TripleFault() *ROM {
	// lidt [0x600], where RAM that is still zero says that there are no
	// handlers; then, in protected mode, a division by zero.
	return r.emit(0x0f, 0x01, 0x1e, 0x00, 0x06).
		emit(0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0). // cr0 |= 1
		emit(0x31, 0xc9, 0xf6, 0xf1)                          // xor cx, cx; div cl
}

// pmBase is where EnablePM puts the power-management registers of a pc.
const pmBase = 0x600

// EnablePM makes the power-management registers of a pc reachable, as firmware does.
func (r *ROM) EnablePM() *ROM {
	const slot, fn = 1, 3
	return r.WritePCI(slot, fn, 0x40, pmBase|1).WritePCI(slot, fn, 0x80, 1)
}

// Sleep types of a pc's ACPI.
const (
	SleepS5 = 0
	SleepS3 = 1
)

// Sleep enters a sleep state by the control register of ACPI.
func (r *ROM) Sleep(typ uint16) *ROM {
	const enable = 1 << 13
	return r.Out16(pmBase+4, typ<<10|enable)
}

// Image returns the file's content.
func (r *ROM) Image() ([]byte, error) {
	const vector = romSize - 16
	if len(r.code) > vector {
		return nil, fmt.Errorf("the ROM's code has %d bytes, more than %d", len(r.code), vector)
	}
	image := make([]byte, romSize)
	copy(image, r.code)
	for _, j := range r.jumps {
		to, ok := r.labels[j.label]
		if !ok {
			return nil, fmt.Errorf("there is no label %q", j.label)
		}
		binary.LittleEndian.PutUint16(image[j.at:], uint16(to-j.at-2))
	}
	// The reset vector: a near jump to the beginning of the segment.
	image[vector] = 0xe9
	binary.LittleEndian.PutUint16(image[vector+1:], uint16(romSize-vector-3))
	return image, nil
}

// File writes the ROM to a file of the test's and returns its name.
func (r *ROM) File(t testing.TB) string {
	t.Helper()
	image, err := r.Image()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "rom")
	if err := os.WriteFile(name, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
