package boot

import (
	"bytes"
	"strings"
	"testing"
)

// section of a made-up ELF image.
type piece struct {
	kind          uint32
	addr, memSize uint64
	data          []byte
}

// note is a note with the padding that 4-byte alignment asks for.
func note(name string, kind uint32, desc []byte) []byte {
	pad := func(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }
	var b []byte
	b = le.AppendUint32(b, uint32(len(name)))
	b = le.AppendUint32(b, uint32(len(desc)))
	b = le.AppendUint32(b, kind)
	return append(b, append(pad([]byte(name)), pad(desc)...)...)
}

// elf makes an image of pieces, the headers first.
func elf(is64 bool, pieces ...piece) []byte {
	headerLen, phdrLen := elf32Header, elf32Phdr
	if is64 {
		headerLen, phdrLen = elf64Header, elf64Phdr
	}
	b := make([]byte, headerLen+phdrLen*len(pieces))
	copy(b, elfMagic)
	b[5], b[6] = 1, 1
	le.PutUint16(b[16:], elfExec)
	if is64 {
		b[4] = elfClass64
		le.PutUint16(b[18:], machineAMD)
		le.PutUint64(b[24:], 0x1000000)
		le.PutUint64(b[32:], uint64(headerLen))
		le.PutUint16(b[54:], uint16(phdrLen))
		le.PutUint16(b[56:], uint16(len(pieces)))
	} else {
		b[4] = elfClass32
		le.PutUint16(b[18:], machine386)
		le.PutUint32(b[24:], 0x1000000)
		le.PutUint32(b[28:], uint32(headerLen))
		le.PutUint16(b[42:], uint16(phdrLen))
		le.PutUint16(b[44:], uint16(len(pieces)))
	}
	for i, p := range pieces {
		h := b[headerLen+i*phdrLen:]
		size := max(p.memSize, uint64(len(p.data)))
		le.PutUint32(h, p.kind)
		if is64 {
			le.PutUint64(h[8:], uint64(len(b)))
			le.PutUint64(h[24:], p.addr)
			le.PutUint64(h[32:], uint64(len(p.data)))
			le.PutUint64(h[40:], size)
		} else {
			le.PutUint32(h[4:], uint32(len(b)))
			le.PutUint32(h[12:], uint32(p.addr))
			le.PutUint32(h[16:], uint32(len(p.data)))
			le.PutUint32(h[20:], uint32(size))
		}
		b = append(b, p.data...)
	}
	return b
}

var (
	textPiece = piece{ptLoad, 16 << 20, 0x3000, []byte("text of the kernel")}
	dataPiece = piece{ptLoad, 20 << 20, 0, []byte("data")}
	notePiece = piece{ptNote, 0, 0, append(note("GNU\x00", 3, make([]byte, 5)), note("Xen\x00", 18, []byte{4, 0, 0, 1})...)}
)

func TestPVH(t *testing.T) {
	for _, is64 := range []bool{true, false} {
		k := kernel(elf(is64, textPiece, dataPiece, notePiece))
		k.Initrd = image("initrd", bytes.Repeat([]byte("initrd"), 1000))
		p, err := k.Plan()
		if err != nil {
			t.Fatal(err)
		}
		checkSegments(t, p, k.Memory)
		g := newGuest(testRAM)
		g.dirty(16<<20, 0x4000)
		g.dirty(20<<20, 16)
		if err := p.Load(g, false); err != nil {
			t.Fatal(err)
		}
		checkDescriptors(t, g, p.Entry)
		e := p.Entry
		if e.Mode != Protected32 || e.RIP != 0x1000004 || e.RBX != startInfoAddr || e.CR0&^cr0ET != cr0PE || e.CR4 != 0 || e.EFER != 0 {
			t.Errorf("entry %+v", e)
		}
		if text := g.b[16<<20:]; string(text[:19]) != "text of the kernel\x00" || text[0x2fff] != 0 || text[0x3000] != 0xaa {
			t.Error("text is wrong")
		}
		if string(g.b[20<<20:][:5]) != "data\xaa" {
			t.Error("data is wrong")
		}
		info := g.b[e.RBX:]
		if le.Uint32(info) != startInfoMagic || le.Uint32(info[4:]) != 1 || le.Uint32(info[12:]) != 1 || le.Uint64(info[32:]) != 0xe0000 {
			t.Errorf("start info % x", info[:56])
		}
		if cmdline := g.b[le.Uint64(info[24:]):]; string(cmdline[:14]) != "console=ttyS0\x00" {
			t.Errorf("command line %q", cmdline[:14])
		}
		module := g.b[le.Uint64(info[16:]):]
		if addr := le.Uint64(module); addr != testRAM-8192 || le.Uint64(module[8:]) != 6000 || string(g.b[addr:][:6]) != "initrd" {
			t.Errorf("module % x", module[:32])
		}
		maps := g.b[le.Uint64(info[40:]):]
		if n := int(le.Uint32(info[48:])); n != len(k.Memory) {
			t.Errorf("%d memory ranges", n)
		}
		for i, r := range k.Memory {
			m := maps[i*24:]
			if le.Uint64(m) != r.Addr || le.Uint64(m[8:]) != r.Size || le.Uint32(m[16:]) != uint32(r.Type) {
				t.Errorf("range %d: % x", i, m[:24])
			}
		}
	}
}

func TestPVHInitrdOf32BitKernel(t *testing.T) {
	k := kernel(elf(false, textPiece, notePiece))
	k.Memory = DirectMap(3<<30, 0)
	k.Initrd = &Image{What: "initrd", Name: "i", Size: 4096}
	p, err := k.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Segments[len(p.Segments)-1]; s.Addr != 0x37fff000 {
		t.Errorf("initrd at %#x", s.Addr)
	}
}

func TestELFErrors(t *testing.T) {
	whole := elf(true, textPiece, dataPiece, notePiece)
	at := func(offset int, v ...byte) []byte {
		b := bytes.Clone(whole)
		copy(b[offset:], v)
		return b
	}
	q := func(v uint64) []byte { return le.AppendUint64(nil, v) }
	phdr := func(n int) int { return elf64Header + n*elf64Phdr }
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"byte order", at(5, 2), "another byte order"},
		{"class", at(4, 3), "unknown class 3"},
		{"machine", at(18, 183), "another processor (machine 183)"},
		{"object file", at(16, 1), "type 1, which is not an executable"},
		{"no headers", at(56, 0, 0), "without program headers"},
		{"many headers", at(56, 0xff, 0xff), "65535 program headers"},
		{"small headers", at(54, 8, 0), "program headers of 8 bytes"},
		{"large headers", at(54, 0, 0x20), "program headers of 8192 bytes"},
		{"headers beyond", at(32, q(1<<40)...), "cut short"},
		{"headers at the end", at(32, q(uint64(len(whole)-8))...), "cut short"},
		{"headers far beyond", at(32, q(^uint64(0))...), "cut short"},
		{"data beyond", at(phdr(0)+8, q(1<<40)...), "cut short"},
		{"data wraps", at(phdr(0)+8, q(^uint64(0))...), "program header 0"},
		{"more in the file", at(phdr(0)+40, q(1)...), "program header 0"},
		{"address", at(phdr(0)+24, q(1<<60)...), "program header 0"},
		{"size", at(phdr(0)+40, q(1<<60)...), "program header 0"},
		{"not in RAM", at(phdr(1)+40, q(1<<30)...), "does not fit in RAM"},
		{"on our tables", at(phdr(1)+24, q(0x9000)...), "in use"},
		{"in the BIOS", at(phdr(1)+24, q(0xf0000)...), "does not fit in RAM"},
		{"overlap", at(phdr(1)+24, q(16<<20+0x2fff)...), "overlaps"},
		{"nothing to load", elf(true, notePiece), "nothing to load"},
		{"no note", elf(true, textPiece), "no PVH entry point"},
		{"other note", elf(true, textPiece, piece{ptNote, 0, 0, note("Xen\x00", 17, make([]byte, 4))}), "no PVH entry point"},
		{"other owner", elf(true, textPiece, piece{ptNote, 0, 0, note("GNU\x00", 18, []byte{0, 0, 0, 1})}), "no PVH entry point"},
		{"short note", elf(true, textPiece, piece{ptNote, 0, 0, note("Xen\x00", 18, []byte{0, 0})}), "no PVH entry point"},
		{"note cut off", elf(true, textPiece, piece{ptNote, 0, 0, note("Xen\x00", 18, make([]byte, 4))[:18]}), "no PVH entry point"},
		{"giant note", elf(true, textPiece, piece{ptNote, 0, 0, bytes.Repeat([]byte{0xff}, 64)}), "no PVH entry point"},
		{"entry outside", elf(true, textPiece, piece{ptNote, 0, 0, note("Xen\x00", 18, []byte{0, 0, 0, 2})}), "outside of what it loads"},
		{"64-bit entry", elf(true, textPiece, piece{ptNote, 0, 0, note("Xen\x00", 18, []byte{0, 0, 0, 1, 1, 0, 0, 0})}), "outside of what it loads"},
	}
	for _, tt := range tests {
		_, err := kernel(tt.data).Plan()
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "kernel image 'x'") {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	for n := range whole {
		if _, err := kernel(whole[:n]).Plan(); err == nil || n > 4 && !strings.Contains(err.Error(), "cut short") {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func FuzzELF(f *testing.F) {
	f.Add(elf(true, textPiece, dataPiece, notePiece))
	f.Add(elf(false, textPiece, notePiece))
	f.Add(elf(true, textPiece, piece{ptNote, 0, 0, bytes.Repeat([]byte{0xff}, 64)}))
	f.Add(elf(true, textPiece)[:70])
	f.Fuzz(func(t *testing.T, data []byte) {
		k := kernel(data)
		if p, err := k.Plan(); err == nil {
			checkSegments(t, p, k.Memory)
		}
		checkLoader(t, data)
	})
}

// checkLoader loads a file as -device loader does.
func checkLoader(t *testing.T, data []byte) {
	l := Loader{File: "x", CPU: -1}
	p, err := l.Plan(image("file", data))
	if err != nil {
		return
	}
	for _, s := range p.Segments {
		if s.Addr+s.Size < s.Addr || uint64(s.FileSize) > s.Size || s.Offset+s.FileSize > int64(len(data)) {
			t.Errorf("segment %+v", s)
		}
	}
}
