package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// maxInstruction is the longest that an instruction can be (SDM volume 2, 2.3.11).
const maxInstruction = 15

// disassemble shows count instructions from addr on, in AT&T syntax. Mode is 16,
// 32 or 64.
func disassemble(ctx context.Context, out io.Writer, addr uint64, count int64, mode int, read func(uint64, []byte) error) error {
	for ; count > 0; count-- {
		if ctx.Err() != nil {
			return errInterrupted
		}
		var buf [maxInstruction]byte
		n := fetch(addr, buf[:], read)
		text, size := instruction(buf[:n], mode, addr)
		if size > n {
			_, err := fmt.Fprintf(out, "0x%08x: unable to read memory\n", addr)
			return err
		}
		if err := showInstruction(out, addr, buf[:size], text); err != nil {
			return err
		}
		addr += uint64(size)
	}
	return nil
}

// fetch reads as much of p as there is.
func fetch(addr uint64, p []byte, read func(uint64, []byte) error) int {
	if read(addr, p) == nil {
		return len(p)
	}
	for i := range p {
		if read(addr+uint64(i), p[i:i+1]) != nil {
			return i
		}
	}
	return len(p)
}

// instruction decodes one instruction. Its size is more than len(p) when more
// bytes are needed.
func instruction(p []byte, mode int, addr uint64) (text string, size int) {
	if len(p) == 0 {
		return "", 1
	}
	inst, err := x86asm.Decode(p, mode)
	switch {
	case err == nil && inst.Len > 0 && inst.Op != 0:
		return x86asm.GNUSyntax(inst, addr, nil), inst.Len
	case errors.Is(err, x86asm.ErrTruncated) && len(p) < maxInstruction:
		return "", len(p) + 1
	}
	return fmt.Sprintf(".byte 0x%02x", p[0]), 1
}

// showInstruction writes an instruction, eight of its bytes a line.
func showInstruction(out io.Writer, addr uint64, p []byte, text string) error {
	const each = 8
	mnemonic, operands, _ := strings.Cut(text, " ")
	for i := 0; i < len(p); i += each {
		line := p[i:min(i+each, len(p))]
		s := fmt.Sprintf("0x%08x:  % x", addr+uint64(i), line)
		if i == 0 {
			s = fmt.Sprintf("0x%08x:  %-24s %-8s %s", addr, fmt.Sprintf("% x", line), mnemonic, operands)
		}
		if _, err := fmt.Fprintln(out, strings.TrimRight(s, " ")); err != nil {
			return err
		}
	}
	return nil
}
