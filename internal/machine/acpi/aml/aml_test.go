package aml

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// The expected bytes were worked out by hand from chapter 20 and section 6.4 of
// the specification.
func TestEncoding(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"zero", Int(0), "00"},
		{"one", Int(1), "01"},
		{"byte", Int(0xff), "0aff"},
		{"word", Int(0x100), "0b0001"},
		{"dword", Int(0xfec00000), "0c0000c0fe"},
		{"qword", Int(1 << 32), "0e0000000001000000"},
		{"string", String("GED"), "0d47454400"},
		{"eisa id", EISAID("PNP0A03"), "0c41d00a03"},
		{"root", Ref(`\`), "5c00"},
		{"short name", Ref("_S5"), "5f53355f"},
		{"parents", Ref("^^AB"), "5e5e41425f5f"},
		{"dual name", Ref(`\_SB.PCI0`), "5c2e5f53425f50434930"},
		{"multi name", Ref(`A.B.C`), "2f03415f5f5f425f5f5f435f5f5f"},
		{"name", Name("_UID", Int(4)), "085f5549440a04"},
		{"buffer", Buffer([]byte{1, 2}), "11050a020102"},
		{"package", Package(Int(1), Int(0)), "1204020100"},
		{"scope", Scope("_SB", Name("A", Int(0))), "100b5f53425f08415f5f5f00"},
		{"device", Device("A", Term{}), "5b8205415f5f5f"},
		{"processor", Processor("C000", 3), "5b830b43303030030000000000"},
		{"method", Method("_STA", 0, false, Return(Int(15))), "14095f53544100a40a0f"},
		{"serialized", Method("_EVT", 1, true), "14065f45565409"},
		{"region", OpRegion("P", PCIConfig, 0x60, 4), "5b80505f5f5f020a600a04"},
		{"field", Field("P", ByteAccess, Preserve, Bits("A", 8), Gap(64)), "5b810e505f5f5f01415f5f5f08004004"},
		{"and", And(Ref("A"), Int(1)), "7b415f5f5f0100"},
		{"or with target", Or(Ref("A"), Int(1), Local(2)), "7d415f5f5f0162"},
		{"if", If(Local(0), Break()), "a00360a5"},
		{"else", Else(Break()), "a102a5"},
		{"store", Store(Arg(0), Ref("A")), "7068415f5f5f"},
		{"notify", Notify("A", 0x80), "86415f5f5f0a80"},
		{"uuid", UUID([16]byte{0xe5, 0xc9, 0x37, 0xd0, 0x35, 0x53, 0x4d, 0x7a, 0x91, 0x17, 0xea, 0x4d, 0x19, 0xc3, 0x43, 0x4d}),
			"11130a10d037c9e553357a4d9117ea4d19c3434d"},
		{"io", IO(0x510, 0x510, 1, 12), "4701100510050" + "10c"},
		{"irq", IRQNoFlags(4, 3), "221800"},
		{"dma", DMA(2), "2a0400"},
		{"memory32", Memory32Fixed(true, 0xfed00000, 0x400), "860900010000d0fe00040000"},
		{"interrupt", Interrupt(Edge, 9), "89060003010900" + "0000"},
		{"shared", Interrupt(Shared, 5, 10), "890a000902050000000a000000"},
		{"bus", WordBusNumber(0, 255), "880d00020c0000000000ff0000000001"},
		{"ports", WordIO(0xd00, 0xffff), "880d00010c030000000dffff000000f3"},
		{"dword window", DWordMemory(false, 0xe0000000, 0xfebfffff),
			"871700000c0100000000000000e0ffffbffe000000000000c01e"},
		{"qword window", QWordMemory(true, 1<<32, 1<<33-1),
			"8a2b00000c03" + "0000000000000000" + "0000000001000000" + "ffffffff01000000" + "0000000000000000" + "0000000001000000"},
		{"template", Resources(IRQNoFlags(8)), "11080a05220001" + "7900"},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A package's length counts the bytes of the length field itself, so the field
// grows just before its content would fill it.
func TestPackageLength(t *testing.T) {
	for content, want := range map[int]string{
		0: "01", 62: "3f", 63: "4104", 4093: "4fff", 4094: "810001", 1<<20 - 4: "8fffff", 1<<20 - 3: "c1000001",
	} {
		if got := hex.EncodeToString(pkgLength(content)); got != want {
			t.Errorf("length of %d bytes: %s, want %s", content, got, want)
		}
	}
}

func TestLongPackageIsVariable(t *testing.T) {
	got := Package(make([]Term, 256)...)
	if want := []byte{opVarPkg, 4, opWord, 0, 1}; !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

func TestMistakesPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"empty segment":   func() { Ref("A..B") },
		"long segment":    func() { Ref("ABCDE") },
		"lower case":      func() { Ref("abc") },
		"leading digit":   func() { Ref("0ABC") },
		"root in middle":  func() { Ref(`^\A`) },
		"many segments":   func() { Ref(strings.Repeat("A.", 255) + "A") },
		"eisa vendor":     func() { EISAID("pnp0A03") },
		"eisa product":    func() { EISAID("PNP0XYZ") },
		"eisa length":     func() { EISAID("PNP") },
		"string":          func() { String("ü") },
		"local":           func() { Local(8) },
		"arguments":       func() { Method("A", 8, false) },
		"no interrupt":    func() { Interrupt(0) },
		"empty range":     func() { DWordMemory(false, 2, 1) },
		"giant bit field": func() { Field("A", AnyAccess, Preserve, Gap(1<<28)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("accepted")
				}
			}()
			f()
		})
	}
}
