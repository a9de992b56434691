package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"time"
)

// Exits are measured with a guest of ours, a few instructions in an ELF that is
// entered through PVH: it runs three loops for ever and writes a letter to the
// serial port after each. The clock is this side's, so that it does not matter
// what the guest's time-stamp counter is.
const (
	exitsPerLoop = 20_000
	guestAddr    = 0x100000 // where the guest is loaded
)

// exitGuest is the guest: 32-bit code, flat segments, no stack.
func exitGuest() []byte {
	const hpet = 0xfed00000 // its identification register answers every read
	loop := func(letter byte, body ...byte) []byte {
		code := []byte{0xb9} // mov ecx, exitsPerLoop
		code = binary.LittleEndian.AppendUint32(code, exitsPerLoop)
		code = append(code, body...)
		code = append(code, 0x49, 0x75, byte(-(len(body) + 3))) // dec ecx; jnz body
		code = append(code, 0xb0, letter, 0xee)                 // mov al, letter; out dx, al
		return code
	}
	code := []byte{
		0xba, 0xf8, 0x03, 0, 0, // mov edx, 0x3f8
		0xbb, // mov ebx, hpet
	}
	code = binary.LittleEndian.AppendUint32(code, hpet)
	start := len(code)
	code = append(code, loop('E')...)             // empty
	code = append(code, loop('P', 0xe6, 0x80)...) // out 0x80, al
	code = append(code, loop('M', 0x8b, 0x03)...) // mov eax, [ebx]
	code = append(code, 0xe9)                     // jmp start
	return binary.LittleEndian.AppendUint32(code, uint32(start-len(code)-4))
}

// exitELF wraps the guest in an ELF file with a PVH note: a header, a segment to
// load, the note, the code.
func exitELF() []byte {
	const (
		headers = 64 + 2*56
		noteLen = 12 + 4 + 8
		physEnt = 18 // XEN_ELFNOTE_PHYS32_ENTRY
	)
	code := exitGuest()
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			binary.Write(&b, binary.LittleEndian, v) // cannot fail
		}
	}
	entry := uint64(guestAddr + headers + noteLen)
	size := uint64(headers+noteLen) + uint64(len(code))
	// 64-bit, little-endian, version 1; executable, x86-64.
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	put(uint16(2), uint16(62), uint32(1), entry, uint64(64), uint64(0), uint32(0))
	put(uint16(64), uint16(56), uint16(2), uint16(64), uint16(0), uint16(0))
	// PT_LOAD, all of it.
	put(uint32(1), uint32(5), uint64(0), uint64(guestAddr), uint64(guestAddr), size, size, uint64(4096))
	// PT_NOTE.
	put(uint32(4), uint32(4), uint64(headers), uint64(guestAddr+headers), uint64(guestAddr+headers),
		uint64(noteLen), uint64(noteLen), uint64(4))
	put(uint32(4), uint32(8), uint32(physEnt), []byte("Xen\x00"), entry)
	b.Write(code)
	return b.Bytes()
}

// exitTimes runs the guest for a few rounds and returns the median time of one
// iteration of each loop, in microseconds.
func exitTimes(c contender, rounds int) (times map[byte]float64, err error) {
	image, err := os.CreateTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.Remove(image.Name())
	_, err = image.Write(exitELF())
	image.Close()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p, err := start(c, 0, theirOut, "-M", "pc", "-accel", "kvm", "-m", "64", "-kernel", image.Name(),
		"-chardev", "stdio,id=console", "-serial", "chardev:console")
	theirOut.Close()
	if err != nil {
		return nil, err
	}
	defer p.stop()
	out.SetReadDeadline(time.Now().Add(limit))

	all := make(map[byte][]float64)
	var last time.Time
	var letter [1]byte
	for len(all['M']) < rounds {
		if _, err := out.Read(letter[:]); err != nil {
			return nil, fmt.Errorf("reading the guest's serial port: %w: %s", err, bytes.TrimSpace(p.stderr.Bytes()))
		}
		now := time.Now()
		switch letter[0] {
		case 'E', 'P', 'M':
			if !last.IsZero() {
				all[letter[0]] = append(all[letter[0]], now.Sub(last).Seconds()*1e6/exitsPerLoop)
			}
			last = now
		default:
			last = time.Time{} // firmware speaks
		}
	}
	times = make(map[byte]float64)
	for letter, values := range all {
		times[letter] = median(values)
	}
	return times, nil
}

// exitBenchmarks: what an access costs that ends in user space, less the loop
// around it, on this host's KVM and on the nested host's.
func exitBenchmarks() (all []benchmark) {
	for _, where := range []struct {
		name   string
		nested bool
	}{{"this host's KVM", false}, {"nested host", true}} {
		for _, kind := range []struct {
			name   string
			letter byte
		}{{"PIO write", 'P'}, {"MMIO read", 'M'}} {
			all = append(all, benchmark{
				name: kind.name + " exit, " + where.name, unit: "us", runs: 3, nested: where.nested,
				once: func(c contender) (float64, error) {
					times, err := exitTimes(c, 3)
					return times[kind.letter] - times['E'], err
				},
			})
		}
	}
	return all
}
