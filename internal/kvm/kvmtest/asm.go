package kvmtest

import (
	"encoding/binary"
	"fmt"
)

// Asm assembles a small 32-bit guest. It has only the plain instructions that
// every KVM can run at privilege level 0, interpreting ones included.
type Asm struct {
	org    uint32
	code   []byte
	labels map[string]uint32
	fixups []fixup
}

type fixup struct {
	at    int
	label string
	abs   bool
}

// NewAsm returns an assembler for code that will be at address org.
func NewAsm(org uint32) *Asm { return &Asm{org: org, labels: map[string]uint32{}} }

// Raw appends machine code.
func (a *Asm) Raw(b ...byte) *Asm { a.code = append(a.code, b...); return a }

func (a *Asm) imm32(v uint32) *Asm {
	a.code = binary.LittleEndian.AppendUint32(a.code, v)
	return a
}

// PC returns the address of the next instruction.
func (a *Asm) PC() uint32 { return a.org + uint32(len(a.code)) }

// Label names the address of the next instruction.
func (a *Asm) Label(name string) *Asm { a.labels[name] = a.PC(); return a }

// Addr returns the address of a label that has been placed.
func (a *Asm) Addr(label string) uint32 {
	addr, ok := a.labels[label]
	if !ok {
		panic(fmt.Sprintf("kvmtest: no label %q", label))
	}
	return addr
}

// Code returns the finished program.
func (a *Asm) Code() []byte {
	for _, f := range a.fixups {
		v := a.Addr(f.label)
		if !f.abs {
			v -= a.org + uint32(f.at) + 4
		}
		binary.LittleEndian.PutUint32(a.code[f.at:], v)
	}
	a.fixups = nil
	return a.code
}

func (a *Asm) rel32(label string) *Asm {
	a.fixups = append(a.fixups, fixup{at: len(a.code), label: label})
	return a.imm32(0)
}

// Immediate loads.

func (a *Asm) MovEAX(v uint32) *Asm { return a.Raw(0xb8).imm32(v) } // MovEAX is mov eax, v.
func (a *Asm) MovECX(v uint32) *Asm { return a.Raw(0xb9).imm32(v) } // MovECX is mov ecx, v.
func (a *Asm) MovEDX(v uint32) *Asm { return a.Raw(0xba).imm32(v) } // MovEDX is mov edx, v.
func (a *Asm) MovEBX(v uint32) *Asm { return a.Raw(0xbb).imm32(v) } // MovEBX is mov ebx, v.
func (a *Asm) MovESP(v uint32) *Asm { return a.Raw(0xbc).imm32(v) } // MovESP is mov esp, v.
func (a *Asm) MovESI(v uint32) *Asm { return a.Raw(0xbe).imm32(v) } // MovESI is mov esi, v.
func (a *Asm) MovEDI(v uint32) *Asm { return a.Raw(0xbf).imm32(v) } // MovEDI is mov edi, v.

// Port I/O through DX.

func (a *Asm) OutAL() *Asm  { return a.Raw(0xee) }       // OutAL is out dx, al.
func (a *Asm) OutAX() *Asm  { return a.Raw(0x66, 0xef) } // OutAX is out dx, ax.
func (a *Asm) OutEAX() *Asm { return a.Raw(0xef) }       // OutEAX is out dx, eax.
func (a *Asm) InAL() *Asm   { return a.Raw(0xec) }       // InAL is in al, dx.
func (a *Asm) InAX() *Asm   { return a.Raw(0x66, 0xed) } // InAX is in ax, dx.
func (a *Asm) InEAX() *Asm  { return a.Raw(0xed) }       // InEAX is in eax, dx.

// RepOuts is rep outs of ECX elements of size bytes from ESI.
func (a *Asm) RepOuts(size int) *Asm { return a.rep(size, 0x6e) }

// RepIns is rep ins of ECX elements of size bytes to EDI.
func (a *Asm) RepIns(size int) *Asm { return a.rep(size, 0x6c) }

func (a *Asm) rep(size int, op byte) *Asm {
	switch size {
	case 1:
		return a.Raw(0xf3, op)
	case 2:
		return a.Raw(0x66, 0xf3, op+1)
	}
	return a.Raw(0xf3, op+1)
}

// Memory at a fixed address.

func (a *Asm) LoadAL(addr uint32) *Asm   { return a.Raw(0xa0).imm32(addr) }       // LoadAL is mov al, [addr].
func (a *Asm) LoadAX(addr uint32) *Asm   { return a.Raw(0x66, 0xa1).imm32(addr) } // LoadAX is mov ax, [addr].
func (a *Asm) LoadEAX(addr uint32) *Asm  { return a.Raw(0xa1).imm32(addr) }       // LoadEAX is mov eax, [addr].
func (a *Asm) StoreAL(addr uint32) *Asm  { return a.Raw(0xa2).imm32(addr) }       // StoreAL is mov [addr], al.
func (a *Asm) StoreAX(addr uint32) *Asm  { return a.Raw(0x66, 0xa3).imm32(addr) } // StoreAX is mov [addr], ax.
func (a *Asm) StoreEAX(addr uint32) *Asm { return a.Raw(0xa3).imm32(addr) }       // StoreEAX is mov [addr], eax.

// IncMem is inc dword [addr].
func (a *Asm) IncMem(addr uint32) *Asm { return a.Raw(0xff, 0x05).imm32(addr) }

// Flow.

func (a *Asm) Jmp(label string) *Asm { return a.Raw(0xe9).rel32(label) }       // Jmp is jmp label.
func (a *Asm) Jz(label string) *Asm  { return a.Raw(0x0f, 0x84).rel32(label) } // Jz is jz label.
func (a *Asm) Jnz(label string) *Asm { return a.Raw(0x0f, 0x85).rel32(label) } // Jnz is jnz label.
func (a *Asm) CmpEAX(v uint32) *Asm  { return a.Raw(0x3d).imm32(v) }           // CmpEAX is cmp eax, v.
func (a *Asm) DecECX() *Asm          { return a.Raw(0x49) }                    // DecECX is dec ecx.
func (a *Asm) PushEAX() *Asm         { return a.Raw(0x50) }                    // PushEAX is push eax.
func (a *Asm) PopEAX() *Asm          { return a.Raw(0x58) }                    // PopEAX is pop eax.
func (a *Asm) Hlt() *Asm             { return a.Raw(0xf4) }                    // Hlt is hlt.
func (a *Asm) Cli() *Asm             { return a.Raw(0xfa) }                    // Cli is cli.
func (a *Asm) Sti() *Asm             { return a.Raw(0xfb) }                    // Sti is sti.
func (a *Asm) Cld() *Asm             { return a.Raw(0xfc) }                    // Cld is cld.
func (a *Asm) Nop() *Asm             { return a.Raw(0x90) }                    // Nop is nop.

// Lidt is lidt [addr].
func (a *Asm) Lidt(addr uint32) *Asm { return a.Raw(0x0f, 0x01, 0x1d).imm32(addr) }

// Out writes an 8-bit value to a port.
func (a *Asm) Out(port uint16, v uint8) *Asm {
	return a.MovEDX(uint32(port)).MovEAX(uint32(v)).OutAL()
}
