package main

import (
	"bytes"
	"debug/elf"
	"strings"
	"testing"
)

func TestExitELF(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(exitELF()))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Progs) != 2 || f.Progs[0].Type != elf.PT_LOAD || f.Progs[1].Type != elf.PT_NOTE {
		t.Fatalf("segments are %v", f.Progs)
	}
	code := make([]byte, 5)
	if _, err := f.Progs[0].ReadAt(code, int64(f.Entry-f.Progs[0].Paddr)); err != nil {
		t.Fatal(err)
	}
	if want := []byte{0xba, 0xf8, 0x03, 0, 0}; !bytes.Equal(code, want) {
		t.Errorf("at the entry is % x, want % x", code, want)
	}
}

func TestReport(t *testing.T) {
	var out strings.Builder
	report(&out, []benchmark{{name: "less", unit: "ms"}, {name: "more", unit: "1/s", more: true}, {name: "alone"}}, []sample{
		{"less", "govmd", 1, ""}, {"less", "govmd", 100, ""}, {"less", "govmd", 2, ""},
		{"less", "QEMU", 8, ""},
		{"more", "govmd", 3000, ""}, {"more", "QEMU", 1000, ""}, {"more", "QEMU", 2000, ""},
		{"alone", "QEMU", 5, ""}, {"alone", "govmd", 0, "is not there"},
	})
	for _, want := range []string{"4.00x", "2.00x", "| 5.000 ", "alone, govmd: is not there"} {
		text := strings.Join(strings.Fields(out.String()), " ")
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}
