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
