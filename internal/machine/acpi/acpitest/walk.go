// Package acpitest checks ACPI tables in tests: it places them as firmware
// would, walks them as a system would, and has iasl read them.
package acpitest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var le = binary.LittleEndian

// Found is one table and where it is.
type Found struct {
	Signature string
	Addr      uint64
	Data      []byte // header included
}

// All is what a walk found, by signature where a system finds it: RSDT and
// XSDT themselves included.
type All []Found

// Get returns the first table of a signature.
func (a All) Get(signature string) (Found, bool) {
	for _, f := range a {
		if f.Signature == signature {
			return f, true
		}
	}
	return Found{}, false
}

const maxTable = 1 << 20

// Walk reads the tables that the root pointer at rsdp leads to and checks
// lengths, checksums and that RSDT and XSDT list the same.
func Walk(mem io.ReaderAt, rsdp uint64) (All, error) {
	root, err := read(mem, rsdp, 20)
	if err != nil {
		return nil, fmt.Errorf("root pointer: %w", err)
	}
	if string(root[:8]) != "RSD PTR " {
		return nil, fmt.Errorf("no root pointer at %#x", rsdp)
	}
	if sum(root) != 0 {
		return nil, errors.New("root pointer: wrong checksum")
	}
	w := walker{mem: mem}
	entries, err := w.root(uint64(le.Uint32(root[16:])), "RSDT", 4)
	if err != nil {
		return nil, err
	}
	if root[15] >= 2 {
		if root, err = read(mem, rsdp, 36); err != nil {
			return nil, err
		}
		if le.Uint32(root[20:]) != 36 || sum(root) != 0 {
			return nil, errors.New("root pointer: wrong extended length or checksum")
		}
		long, err := w.root(le.Uint64(root[24:]), "XSDT", 8)
		if err != nil {
			return nil, err
		}
		if fmt.Sprint(long) != fmt.Sprint(entries) {
			return nil, fmt.Errorf("XSDT lists %x, RSDT %x", long, entries)
		}
	}
	for _, addr := range entries {
		t, err := w.table(addr, "")
		if err != nil {
			return nil, err
		}
		if t.Signature == "FACP" {
			if err := w.fadt(t.Data); err != nil {
				return nil, err
			}
		}
	}
	return w.all, nil
}

type walker struct {
	mem io.ReaderAt
	all All
}

// table reads the table at addr and checks it. A signature may be demanded.
func (w *walker) table(addr uint64, signature string) (Found, error) {
	head, err := read(w.mem, addr, 36)
	if err != nil {
		return Found{}, err
	}
	f := Found{Signature: string(head[:4]), Addr: addr}
	n := le.Uint32(head[4:])
	switch {
	case signature != "" && f.Signature != signature:
		return f, fmt.Errorf("%q at %#x where %s should be", f.Signature, addr, signature)
	case n < 36 || n > maxTable:
		return f, fmt.Errorf("%s at %#x: length %d", f.Signature, addr, n)
	}
	if f.Data, err = read(w.mem, addr, int(n)); err != nil {
		return f, err
	}
	if sum(f.Data) != 0 {
		return f, fmt.Errorf("%s at %#x: wrong checksum", f.Signature, addr)
	}
	w.all = append(w.all, f)
	return f, nil
}

func (w *walker) root(addr uint64, signature string, size int) ([]uint64, error) {
	t, err := w.table(addr, signature)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for b := t.Data[36:]; len(b) >= size; b = b[size:] {
		if size == 4 {
			out = append(out, uint64(le.Uint32(b)))
		} else {
			out = append(out, le.Uint64(b))
		}
	}
	return out, nil
}

func (w *walker) fadt(b []byte) error {
	if len(b) < 116 {
		return fmt.Errorf("FACP of %d bytes", len(b))
	}
	dsdt := uint64(le.Uint32(b[40:]))
	if len(b) >= 148 && le.Uint64(b[140:]) != dsdt {
		return fmt.Errorf("FACP: DSDT at %#x and at %#x", dsdt, le.Uint64(b[140:]))
	}
	if _, err := w.table(dsdt, "DSDT"); err != nil {
		return err
	}
	addr := uint64(le.Uint32(b[36:]))
	if addr == 0 {
		return nil
	}
	facs, err := read(w.mem, addr, 64)
	if err != nil {
		return err
	}
	if string(facs[:4]) != "FACS" || le.Uint32(facs[4:]) != 64 || addr%64 != 0 {
		return fmt.Errorf("no FACS at %#x", addr)
	}
	w.all = append(w.all, Found{"FACS", addr, facs})
	return nil
}

func read(mem io.ReaderAt, addr uint64, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := mem.ReadAt(b, int64(addr)); err != nil {
		return nil, fmt.Errorf("%d bytes at %#x: %w", n, addr, err)
	}
	return b, nil
}

func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}

// Memory is guest memory of a few pieces.
type Memory map[uint64][]byte

// ReadAt implements io.ReaderAt. A read has to lie within one piece.
func (m Memory) ReadAt(p []byte, off int64) (int, error) {
	for base, data := range m {
		if uint64(off) >= base && uint64(off)+uint64(len(p)) <= base+uint64(len(data)) {
			return copy(p, data[uint64(off)-base:]), nil
		}
	}
	return 0, io.ErrUnexpectedEOF
}

// RunLoader does with fw_cfg files what firmware does with the script among
// them, and returns memory and the address of the root pointer.
func RunLoader(files map[string][]byte) (Memory, uint64, error) {
	mem := Memory{}
	base := map[string]uint64{}
	data := map[string][]byte{}
	next := map[byte]uint64{1: 0x7fe0000, 2: 0xf5000}
	name := func(b []byte) string { return string(bytes.TrimRight(b[:56], "\x00")) }
	script := files["etc/table-loader"]
	if len(script) == 0 || len(script)%128 != 0 {
		return nil, 0, fmt.Errorf("loader script of %d bytes", len(script))
	}
	for ; len(script) > 0; script = script[128:] {
		cmd, e := le.Uint32(script), script[4:128]
		switch cmd {
		case 1:
			n, align, zone := name(e), uint64(le.Uint32(e[56:])), e[60]
			if files[n] == nil || data[n] != nil || next[zone] == 0 || align&(align-1) != 0 {
				return nil, 0, fmt.Errorf("allocate %q, alignment %d, zone %d", n, align, zone)
			}
			at := (next[zone] + align - 1) &^ (align - 1)
			data[n] = append([]byte(nil), files[n]...)
			base[n], mem[at] = at, data[n]
			next[zone] = at + uint64(len(data[n]))
		case 2:
			dst, src, at, size := name(e), name(e[56:]), le.Uint32(e[112:]), e[116]
			field := data[dst]
			if base[src] == 0 || uint64(at)+uint64(size) > uint64(len(field)) {
				return nil, 0, fmt.Errorf("pointer at %#x of %q to %q", at, dst, src)
			}
			switch size {
			case 4:
				le.PutUint32(field[at:], le.Uint32(field[at:])+uint32(base[src]))
			case 8:
				le.PutUint64(field[at:], le.Uint64(field[at:])+base[src])
			default:
				return nil, 0, fmt.Errorf("pointer of %d bytes", size)
			}
		case 3:
			n, at, start, length := name(e), le.Uint32(e[56:]), le.Uint32(e[60:]), le.Uint32(e[64:])
			b := data[n]
			if uint64(start)+uint64(length) > uint64(len(b)) || uint64(at) >= uint64(len(b)) {
				return nil, 0, fmt.Errorf("checksum at %#x of %q over %#x+%#x", at, n, start, length)
			}
			b[at] -= sum(b[start : start+length])
		default:
			return nil, 0, fmt.Errorf("loader command %d", cmd)
		}
	}
	return mem, base["etc/acpi/rsdp"], nil
}
