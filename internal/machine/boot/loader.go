package boot

import (
	"encoding/binary"
	"strconv"

	"govmd/internal/option"
)

// Loader is what -device loader says: to put a file or a number into memory at
// every reset, or to have a processor start at an address.
type Loader struct {
	File     string
	Addr     uint64
	ForceRaw bool // even if the file is an ELF image
	CPU      int  // -1: none
	Data     uint64
	DataLen  uint8 // bytes, 0: no data
	DataBE   bool  // big-endian
}

var loaderKeys = []string{"file", "addr", "force-raw", "data", "data-len", "data-be", "cpu-num"}

// ParseLoader reads the device's properties.
func ParseLoader(pairs []Pair) (Loader, error) {
	l := Loader{CPU: -1}
	for _, p := range pairs {
		var err error
		var n uint64
		switch p.Key {
		case "file":
			l.File = p.Value
		case "addr":
			l.Addr, err = strconv.ParseUint(p.Value, 0, 64)
		case "force-raw":
			l.ForceRaw, err = option.BoolValue(p.Key, p.Value)
		case "data":
			l.Data, err = strconv.ParseUint(p.Value, 0, 64)
		case "data-len":
			n, err = strconv.ParseUint(p.Value, 0, 8)
			l.DataLen = uint8(n)
		case "data-be":
			l.DataBE, err = option.BoolValue(p.Key, p.Value)
		case "cpu-num":
			n, err = strconv.ParseUint(p.Value, 0, 31)
			l.CPU = int(n)
		default:
			return l, optionErrorf("Property 'loader.%s' not found%s", p.Key, option.DidYouMean(p.Key, loaderKeys))
		}
		if _, numeric := err.(*strconv.NumError); numeric {
			err = optionErrorf("Parameter '%s' expects uint64", p.Key)
		}
		if err != nil {
			return l, err
		}
	}
	return l, l.Check()
}

// Check says whether the properties go together.
func (l *Loader) Check() error {
	if l.Data != 0 || l.DataLen != 0 || l.DataBE {
		switch {
		case l.File != "":
			return optionError("Specifying a file is not supported when loading memory values")
		case l.ForceRaw:
			return optionError("Specifying force-raw is not supported when loading memory values")
		case l.DataLen == 0:
			return optionError("Both data and data-len must be specified")
		case l.DataLen > 8:
			return optionError("data-len cannot be greater then 8 bytes")
		}
		return nil
	}
	if l.File == "" && (l.ForceRaw || l.Addr == 0) {
		return optionError("please include valid arguments")
	}
	if l.File == "" && l.CPU < 0 {
		return optionError("cpu-num must be specified when setting a program counter")
	}
	return nil
}

// Plan is what the device does at each reset. img is the opened File, nil if
// there is none.
func (l *Loader) Plan(img *Image) (*Plan, error) {
	p := &Plan{CPU: max(l.CPU, 0)}
	pc := l.Addr
	switch {
	case img != nil:
		segments, entry, err := l.file(img)
		if err != nil {
			return nil, err
		}
		p.Segments, pc = segments, entry
	case l.DataLen > 0:
		b := make([]byte, 8)
		if l.DataBE {
			// As in QEMU: the first bytes of a number of 64 bits, whatever data-len is.
			binary.BigEndian.PutUint64(b, l.Data)
		} else {
			le.PutUint64(b, l.Data)
		}
		p.Segments = []Segment{{Name: "loader data", Addr: l.Addr, Size: uint64(l.DataLen), Data: b[:l.DataLen]}}
		return p, nil
	}
	if l.CPU >= 0 {
		p.PC = &pc
	}
	return p, nil
}

// uImageMagic begins a U-Boot image.
const uImageMagic = "\x27\x05\x19\x56"

// file is an ELF image or an Intel HEX file in its pieces, unless it is to be taken
// raw, or any other file as it is at Addr.
func (l *Loader) file(img *Image) ([]Segment, uint64, error) {
	if img.Size >= 16 && !l.ForceRaw {
		head, err := img.read(0, 4)
		if err != nil {
			return nil, 0, err
		}
		switch string(head) {
		case elfMagic:
			elf, err := parseELF(img)
			if err != nil {
				return nil, 0, err
			}
			return elf.segments(img), elf.entry, nil
		case uImageMagic:
			return nil, 0, img.bad("U-Boot images are not supported; force-raw=on loads it as it is")
		}
		isHex, err := looksLikeHex(img)
		if err != nil {
			return nil, 0, err
		}
		if isHex {
			h, err := parseHex(img)
			if err != nil {
				return nil, 0, err
			}
			return h.segments, h.entry, nil
		}
	}
	if l.Addr+uint64(img.Size) < l.Addr || l.Addr+uint64(img.Size) > maxPhysical {
		return nil, 0, img.bad("%d bytes do not fit at address %#x", img.Size, l.Addr)
	}
	return []Segment{img.segment(l.Addr, 0, img.Size)}, l.Addr, nil
}
