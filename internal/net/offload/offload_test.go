package offload

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// packet is a frame with TCP data, whose checksum is that of the pseudo header.
func packet(v6 bool, data []byte) []byte {
	be := binary.BigEndian
	p := make([]byte, 12)
	if v6 {
		p = append(p, 0x86, 0xdd, 0x60, 0, 0, 0)
		p = be.AppendUint16(p, uint16(20+len(data)))
		p = append(p, 6, 64)
		p = append(p, bytes.Repeat([]byte{0x20}, 16)...)
		p = append(p, bytes.Repeat([]byte{0x30}, 16)...)
	} else {
		p = append(p, 8, 0, 0x45, 0)
		p = be.AppendUint16(p, uint16(40+len(data)))
		p = append(p, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2)
	}
	p = append(p, 0, 80, 1, 2)
	p = be.AppendUint32(p, 1000)
	p = append(p, 0, 0, 0, 9, 0x50, flagCWR|flagPSH|flagFIN|0x10, 1, 1, 0, 0, 0, 0)
	return append(p, data...)
}

// valid checks lengths and checksums and returns the segment's number and data.
func valid(t *testing.T, frame []byte) (seq uint32, flags byte, data []byte) {
	t.Helper()
	l, err := parse(frame)
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	ip := frame[l.ip:]
	addresses := ip[12:20]
	if l.v6 {
		addresses = ip[8:40]
		if int(be.Uint16(ip[4:])) != len(ip)-40 {
			t.Errorf("the length is %d of %d", be.Uint16(ip[4:]), len(ip)-40)
		}
	} else {
		if int(be.Uint16(ip[2:])) != len(ip) {
			t.Errorf("the length is %d of %d", be.Uint16(ip[2:]), len(ip))
		}
		if fold(add(0, ip[:20])) != 0xffff {
			t.Error("the checksum of IP is wrong")
		}
	}
	if fold(add(add(6+uint64(len(frame)-l.tcp), addresses), frame[l.tcp:])) != 0xffff {
		t.Error("the checksum of TCP is wrong")
	}
	return be.Uint32(frame[l.tcp+4:]), frame[l.tcp+13], frame[l.data:]
}

func TestSegments(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		data := make([]byte, 3333)
		for i := range data {
			data[i] = byte(i * 7)
		}
		h := Header{GSO: GSOTCPv4, Size: 1000}
		if v6 {
			h.GSO = GSOTCPv6 | GSOECN
		}
		frame := packet(v6, data)
		var got []byte
		var flags []byte
		err := Resolve(h, frame, make([]byte, len(frame)), func(f []byte) bool {
			seq, fl, part := valid(t, f)
			if seq != 1000+uint32(len(got)) {
				t.Errorf("segment %d at %d", seq, len(got))
			}
			got, flags = append(got, part...), append(flags, fl)
			return true
		})
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("v6 %v: %d bytes, %v", v6, len(got), err)
		}
		if want := []byte{flagCWR | 0x10, 0x10, 0x10, flagPSH | flagFIN | 0x10}; !bytes.Equal(flags, want) {
			t.Errorf("the flags are % x", flags)
		}
	}
}

func TestChecksum(t *testing.T) {
	frame := packet(false, []byte("data"))
	copy(frame[34+16:], []byte{0, 0})
	sum := fold(add(6+24, frame[26:34])) // of the pseudo header, as drivers leave it
	binary.BigEndian.PutUint16(frame[34+16:], sum)
	frame[24], frame[25] = 0, 0
	binary.BigEndian.PutUint16(frame[24:], ^fold(add(0, frame[14:34])))
	h := Header{Flags: NeedsChecksum, Start: 34, Off: 16}
	if h.Plain() {
		t.Error("the header is taken for one that asks for nothing")
	}
	if err := Resolve(h, frame, nil, func(f []byte) bool { valid(t, f); return true }); err != nil {
		t.Fatal(err)
	}
}

func TestFramesThatLie(t *testing.T) {
	good := packet(false, make([]byte, 100))
	for name, tc := range map[string]struct {
		h     Header
		frame []byte
	}{
		"checksum beyond the end": {Header{Flags: NeedsChecksum, Start: 140, Off: 16}, good},
		"checksum far beyond":     {Header{Flags: NeedsChecksum, Start: 65535, Off: 65535}, good},
		"size zero":               {Header{GSO: GSOTCPv4}, good},
		"unknown kind":            {Header{GSO: 9, Size: 10}, good},
		"UDP":                     {Header{GSO: GSOUDP, Size: 10}, good},
		"no TCP":                  {Header{GSO: GSOTCPv4, Size: 10}, make([]byte, 100)},
		"the other IP":            {Header{GSO: GSOTCPv6, Size: 10}, good},
		"cut short":               {Header{GSO: GSOTCPv4, Size: 10}, good[:40]},
		"empty":                   {Header{GSO: GSOTCPv4, Size: 10}, nil},
	} {
		if err := Resolve(tc.h, bytes.Clone(tc.frame), make([]byte, 200), func([]byte) bool { t.Error(name, "is sent"); return true }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 100, 0, 34, 0, 16, 0}, packet(false, make([]byte, 300)))
	f.Add([]byte{0, 4, 0, 0, 1, 0, 0, 0, 0, 0}, packet(true, make([]byte, 300)))
	f.Fuzz(func(t *testing.T, header, frame []byte) {
		if len(header) < 10 || len(frame) > 1<<16 {
			return
		}
		_ = Resolve(Parse(header), frame, make([]byte, len(frame)), func([]byte) bool { return true })
	})
}
