package boot

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// record makes a record of an Intel HEX file, with the checksum that it needs.
func record(addr uint16, kind byte, data ...byte) string {
	b := append([]byte{byte(len(data)), byte(addr >> 8), byte(addr), kind}, data...)
	sum := byte(0)
	for _, x := range b {
		sum -= x
	}
	return fmt.Sprintf(":%X\n", append(b, sum))
}

func TestHex(t *testing.T) {
	file := record(0x100, hexData, 1, 2, 3) + record(0x103, hexData, 4) + "\r\n" +
		record(0, hexSegmentBase, 0x12, 0x34) + record(5, hexData, 5, 6) +
		record(0, hexLinearBase, 0, 0x20) + record(0xffff, hexData, 7, 8) +
		record(0, hexSegmentStart, 0, 1, 0, 2) + record(0, hexLinearStart, 0, 0x20, 0, 1) + record(0, hexEnd)
	l := Loader{File: "x", CPU: 0, Addr: 0x7777}
	p, err := l.Plan(image("file", []byte(strings.ToLower(file)+"and more")))
	if err != nil {
		t.Fatal(err)
	}
	want := []Segment{{Addr: 0x100, Data: []byte{1, 2, 3, 4}}, {Addr: 0x12345, Data: []byte{5, 6}}, {Addr: 0x20ffff, Data: []byte{7, 8}}}
	if len(p.Segments) != len(want) || *p.PC != 0x200001 {
		t.Fatalf("%+v, start at %#x", p.Segments, *p.PC)
	}
	for i, s := range p.Segments {
		if s.Addr != want[i].Addr || !bytes.Equal(s.Data, want[i].Data) || s.Size != uint64(len(s.Data)) {
			t.Errorf("segment %d: %+v", i, s)
		}
	}
	// What only begins like one is taken as it is, and so is what is to be.
	for _, l := range []Loader{{File: "x", CPU: -1, ForceRaw: true}, {File: "x", CPU: -1}} {
		text := file
		if !l.ForceRaw {
			text = ":" + strings.Repeat("z", 20)
		}
		if p, err := l.Plan(image("file", []byte(text))); err != nil || len(p.Segments) != 1 || p.Segments[0].Size != uint64(len(text)) {
			t.Errorf("raw: %+v, %v", p, err)
		}
	}
}

func TestHexErrors(t *testing.T) {
	first := record(0x100, hexData, 1, 2, 3)
	damaged := strings.Replace(first, "01", "02", 1)
	for file, want := range map[string]string{
		first:                                     "an Intel HEX file without a last record",
		first + "  ":                              "whose record 2 is damaged",
		first + damaged:                           "whose record 2 is damaged",
		first + first[:9]:                         "whose record 2 is damaged",
		first + record(0, 9):                      "whose record 2 is of unknown type 9",
		first + record(0, hexLinearBase, 1):       "whose record 2 has 1 bytes and not 2",
		first + record(0, hexLinearStart, 1, 2):   "whose record 2 has 2 bytes and not 4",
		"\x27\x05\x19\x56 and its header follows": "U-Boot images are not supported; force-raw=on loads it as it is",
	} {
		l := Loader{File: "x", CPU: -1}
		if _, err := l.Plan(image("file", []byte(file))); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", file, err, want)
		}
	}
}

func FuzzHex(f *testing.F) {
	f.Add([]byte(record(0x100, hexData, 1, 2, 3) + record(0, hexLinearBase, 0xff, 0xff) + record(0xffff, hexData, 4, 5) + record(0, hexEnd)))
	f.Add([]byte(record(0, hexSegmentStart, 1, 2, 3, 4) + record(0, hexSegmentBase, 1, 2) + record(0, hexEnd)))
	f.Fuzz(checkLoader)
}
