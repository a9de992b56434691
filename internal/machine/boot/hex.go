package boot

import (
	"encoding/hex"
	"slices"
)

// Records of Intel's hexadecimal object file format (revision A, 1988).
const (
	hexData         = 0
	hexEnd          = 1
	hexSegmentBase  = 2 // of 16 bytes
	hexSegmentStart = 3
	hexLinearBase   = 4 // of 64 KiB
	hexLinearStart  = 5
)

// maxHex is the size of the largest file in that format.
const maxHex = 16 << 20

// hexImage is what such a file says.
type hexImage struct {
	segments []Segment
	entry    uint64 // 0 if the file has none
}

// looksLikeHex reports whether a file begins with a record.
func looksLikeHex(img *Image) (bool, error) {
	const longest = 1 + 2*(5+255)
	line, err := img.read(0, int(min(img.Size, longest)))
	if err != nil {
		return false, err
	}
	_, _, ok := hexRecord(line)
	return ok, nil
}

// hexRecord returns the bytes of the record that text begins with, without their
// checksum, and what follows it.
func hexRecord(text []byte) (record, rest []byte, ok bool) {
	if len(text) < 3 || text[0] != ':' {
		return nil, nil, false
	}
	var n [1]byte
	if _, err := hex.Decode(n[:], text[1:3]); err != nil {
		return nil, nil, false
	}
	size := int(n[0]) + 5 // its length, address, type and checksum too
	if len(text) < 1+2*size {
		return nil, nil, false
	}
	record = make([]byte, size)
	if _, err := hex.Decode(record, text[1:1+2*size]); err != nil {
		return nil, nil, false
	}
	var sum byte
	for _, b := range record {
		sum += b
	}
	return record[:size-1], text[1+2*size:], sum == 0
}

// parseHex reads a file whose first record is sound. Its records are lines, and the
// last of them says that it is the last.
func parseHex(img *Image) (*hexImage, error) {
	if img.Size > maxHex {
		return nil, img.bad("an Intel HEX file of more than %d bytes", int64(maxHex))
	}
	text, err := img.read(0, int(img.Size))
	if err != nil {
		return nil, err
	}
	h := &hexImage{}
	base := uint64(0)
	for line := 1; ; line++ {
		for len(text) > 0 && (text[0] == '\r' || text[0] == '\n') {
			text = text[1:]
		}
		if len(text) == 0 {
			return nil, img.bad("an Intel HEX file without a last record")
		}
		r, rest, ok := hexRecord(text)
		if !ok {
			return nil, img.bad("an Intel HEX file whose record %d is damaged", line)
		}
		text = rest
		addr, kind, data := uint64(r[1])<<8|uint64(r[2]), r[3], r[4:]
		value := uint64(0)
		for _, b := range data[:min(len(data), 4)] {
			value = value<<8 | uint64(b)
		}
		want := 4
		switch kind {
		case hexData:
			h.add(img, base+addr, data)
			continue
		case hexEnd:
			return h, nil
		case hexSegmentBase:
			base, want = value<<4, 2
		case hexLinearBase:
			base, want = value<<16, 2
		case hexSegmentStart:
			h.entry = value>>16<<4 + value&0xffff
		case hexLinearStart:
			h.entry = value
		default:
			return nil, img.bad("an Intel HEX file whose record %d is of unknown type %d", line, kind)
		}
		if len(data) != want {
			return nil, img.bad("an Intel HEX file whose record %d has %d bytes and not %d", line, len(data), want)
		}
	}
}

// add appends data, to the last segment if it goes on there.
func (h *hexImage) add(img *Image, addr uint64, data []byte) {
	if n := len(h.segments); n > 0 {
		s := &h.segments[n-1]
		if s.Addr+s.Size == addr {
			s.Data = append(s.Data, data...)
			s.Size += uint64(len(data))
			return
		}
	}
	h.segments = append(h.segments, Segment{Name: img.String(), Addr: addr, Size: uint64(len(data)), Data: slices.Clone(data)})
}
