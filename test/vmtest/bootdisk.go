package vmtest

import (
	"os"
	"path/filepath"
	"testing"
)

// bootCode is a boot sector's: it reads the disk's second sector by the BIOS and
// writes what is there, up to a zero, to the first serial port.
var bootCode = []byte{
	0x31, 0xc0, // xor ax, ax
	0x8e, 0xd8, // mov ds, ax
	0x8e, 0xc0, // mov es, ax
	0xb8, 0x01, 0x02, // mov ax, 0x0201: read one sector
	0xb9, 0x02, 0x00, // mov cx, 2: cylinder 0, sector 2
	0xb6, 0x00, // mov dh, 0: head 0
	0xbb, 0x00, 0x7e, // mov bx, 0x7e00
	0xcd, 0x13, // int 0x13
	0x89, 0xde, // mov si, bx
	0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xac,       // lodsb
	0x84, 0xc0, // test al, al
	0x74, 0x03, // jz +3
	0xee,       // out dx, al
	0xeb, 0xf8, // jmp -8
	0xf4,       // hlt
	0xeb, 0xfd, // jmp -3
}

// BootDisk makes a raw image of size bytes whose boot sector writes text, which is
// in the second one, to the first serial port. It returns the image's name.
func BootDisk(t testing.TB, text string, size int) string {
	t.Helper()
	p := make([]byte, size)
	copy(p, bootCode)
	p[510], p[511] = 0x55, 0xaa
	copy(p[512:1023], text)
	name := filepath.Join(t.TempDir(), "boot.img")
	if err := os.WriteFile(name, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// BootCD makes an ISO image whose El Torito boot image, which needs no emulation,
// writes text to the first serial port. It returns the image's name.
func BootCD(t testing.TB, text string) string {
	t.Helper()
	const sector = 2048
	p := make([]byte, 64*sector)
	volume := p[16*sector:]
	copy(volume, "\x01CD001\x01")
	record := p[17*sector:]
	copy(record, "\x00CD001\x01EL TORITO SPECIFICATION")
	record[0x47] = 20 // the catalogue
	copy(p[18*sector:], "\xffCD001\x01")
	entry := p[20*sector:]
	copy(entry, []byte{1, 0, 0, 0})
	entry[30], entry[31] = 0x55, 0xaa
	sum := uint16(0)
	for i := 0; i < 32; i += 2 {
		sum += uint16(entry[i]) | uint16(entry[i+1])<<8
	}
	entry[28], entry[29] = byte(-sum), byte(-sum>>8)
	boot := entry[32:]
	boot[0] = 0x88 // bootable
	boot[6] = 4    // virtual sectors, of 512 bytes
	boot[8] = 21   // where they are
	code := p[21*sector:]
	// All is in memory: the code begins with what comes after reading.
	n := copy(code, bootCode[:6])
	n += copy(code[n:], []byte{0xbb, 0x00, 0x7e}) // mov bx, 0x7e00
	copy(code[n:], bootCode[19:])
	copy(code[512:1023], text)
	name := filepath.Join(t.TempDir(), "boot.iso")
	if err := os.WriteFile(name, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
