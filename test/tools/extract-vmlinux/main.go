// Command extract-vmlinux writes the uncompressed ELF kernel inside a bzImage:
// the form that boots through its PVH note, without a decompressor in the guest.
//
// It finds the payload through the setup header (Linux
// Documentation/arch/x86/boot.rst, fields setup_sects, payload_offset and
// payload_length) and unpacks it with the tool for its format.
package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: extract-vmlinux BZIMAGE VMLINUX")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "extract-vmlinux: %v\n", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	image, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	payload, err := payload(image)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	kernel, err := unpack(payload)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if err := checkPVH(kernel); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return os.WriteFile(to, kernel, 0o644)
}

// payload returns the compressed kernel, without the four bytes of its
// uncompressed size that the build appends.
func payload(image []byte) ([]byte, error) {
	const (
		setupSects    = 0x1f1
		magic         = 0x202
		version       = 0x206
		payloadOffset = 0x248
		payloadLength = 0x24c
		headerEnd     = 0x250
	)
	if len(image) < headerEnd || string(image[magic:magic+4]) != "HdrS" {
		return nil, errors.New("not a bzImage")
	}
	if v := binary.LittleEndian.Uint16(image[version:]); v < 0x208 {
		return nil, fmt.Errorf("boot protocol %#x has no payload fields", v)
	}
	sects := int64(image[setupSects])
	if sects == 0 {
		sects = 4
	}
	start := (sects+1)*512 + int64(binary.LittleEndian.Uint32(image[payloadOffset:]))
	end := start + int64(binary.LittleEndian.Uint32(image[payloadLength:]))
	if end > int64(len(image)) || end-start < 8 {
		return nil, errors.New("bzImage is cut short")
	}
	return image[start : end-4], nil
}

// unpackers has the magic numbers of the formats that kernels are built with.
var unpackers = []struct {
	magic string
	tool  []string
}{
	{"\xfd7zXZ\x00", []string{"xz", "-dc"}},
	{"\x28\xb5\x2f\xfd", []string{"zstd", "-dc"}},
	{"\x02\x21\x4c\x18", []string{"lz4", "-dc"}},
	{"\x1f\x8b", []string{"gzip", "-dc"}},
	{"BZh", []string{"bzip2", "-dc"}},
}

func unpack(payload []byte) ([]byte, error) {
	for _, u := range unpackers {
		if !bytes.HasPrefix(payload, []byte(u.magic)) {
			continue
		}
		cmd := exec.Command(u.tool[0], u.tool[1:]...)
		cmd.Stdin = bytes.NewReader(payload)
		var out, diag bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &diag
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", u.tool[0], err, bytes.TrimSpace(diag.Bytes()))
		}
		return out.Bytes(), nil
	}
	return nil, fmt.Errorf("unknown compression, payload begins % x", payload[:8])
}

// checkPVH makes sure that the kernel can be entered through PVH.
func checkPVH(kernel []byte) error {
	const physEntry = 18 // XEN_ELFNOTE_PHYS32_ENTRY
	f, err := elf.NewFile(bytes.NewReader(kernel))
	if err != nil {
		return err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		notes := make([]byte, p.Filesz)
		if _, err := p.ReadAt(notes, 0); err != nil {
			return err
		}
		for len(notes) >= 12 {
			nameLen := binary.LittleEndian.Uint32(notes)
			descLen := binary.LittleEndian.Uint32(notes[4:])
			kind := binary.LittleEndian.Uint32(notes[8:])
			size := 12 + (uint64(nameLen)+3)&^3 + (uint64(descLen)+3)&^3
			if size > uint64(len(notes)) {
				break
			}
			if kind == physEntry && nameLen == 4 && string(notes[12:15]) == "Xen" {
				return nil
			}
			notes = notes[size:]
		}
	}
	return errors.New("the kernel has no PVH entry note (CONFIG_PVH)")
}
