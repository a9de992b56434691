package machine

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// memoryOf reads from p, which is at 0x1000.
func memoryOf(p []byte) func(uint64, []byte) error {
	return func(addr uint64, dst []byte) error {
		if addr < 0x1000 || addr-0x1000+uint64(len(dst)) > uint64(len(p)) {
			return errors.New("not there")
		}
		copy(dst, p[addr-0x1000:])
		return nil
	}
}

func TestDisassemble(t *testing.T) {
	code := []byte{0xea, 0x5b, 0xe0, 0x00, 0xf0, 0x90, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0x0f, 0xff, 0x66}
	for _, c := range []struct {
		at    uint64
		count int64
		mode  int
		want  string
	}{
		{0x1000, 2, 16, "0x00001000:  ea 5b e0 00 f0           ljmp     $0xf000,$0xe05b\n0x00001005:  90                       nop\n"},
		{0x1006, 1, 64, "0x00001006:  48 b8 01 02 03 04 05 06  mov      $0x807060504030201,%rax\n0x0000100e:  07 08\n"},
		{0x1012, 2, 64, "0x00001012:  66                       .byte    0x66\n0x00001013: unable to read memory\n"},
		{0x2000, 1, 32, "0x00002000: unable to read memory\n"},
		{0x1000, 0, 32, ""}, {0x1000, -1, 32, ""},
	} {
		var out strings.Builder
		if err := disassemble(context.Background(), &out, c.at, c.count, c.mode, memoryOf(code)); err != nil || out.String() != c.want {
			t.Errorf("%#x in mode %d: %v\n%s, want\n%s", c.at, c.mode, err, out.String(), c.want)
		}
	}
}

// Whatever guest memory holds is shown, and each byte once.
func FuzzDisassemble(f *testing.F) {
	f.Add([]byte{0xea, 0x5b, 0xe0, 0x00, 0xf0, 0x66, 0xf3, 0x0f, 0xff})
	f.Fuzz(func(t *testing.T, code []byte) {
		for _, mode := range []int{16, 32, 64} {
			var out strings.Builder
			if err := disassemble(context.Background(), &out, 0x1000, 50, mode, memoryOf(code)); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(out.String(), "\n"); n == 0 || n > 100 {
				t.Fatalf("%d lines", n)
			}
		}
	})
}
