package boot

import (
	"os"
	"path/filepath"
	"testing"

	"govmd/test/vmtest"
)

// Firmware runs on any KVM. With -nographic it speaks on the serial port.
func TestKVMFirmwareFindsNothingToBoot(t *testing.T) {
	vmtest.NeedAnyKVM(t)
	vm := vmtest.Start(t, vmtest.Options{NoConsole: true, Args: []string{
		"-M", "pc", "-accel", "kvm", "-m", "128", "-nographic",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
	}})
	vm.Expect("SeaBIOS")
	vm.Expect("No bootable device")
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
}

// Firmware finds the disk that bootindex says to start from, and reads it.
func TestKVMFirmwareBootsFromVirtioDisk(t *testing.T) {
	vmtest.NeedAnyKVM(t)
	first := vmtest.BootDisk(t, "first first first first\r\n", 1<<20)
	second := vmtest.BootDisk(t, "second second second second\r\n", 1<<20)
	vm := vmtest.Start(t, vmtest.Options{NoConsole: true, Args: []string{
		"-M", "pc", "-accel", "kvm", "-m", "128", "-nographic",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-drive", "if=virtio,format=raw,file=" + first,
		"-drive", "if=none,id=d,format=raw,file=" + second, "-device", "virtio-blk-pci,drive=d,bootindex=1",
	}})
	vm.Expect("second second") // firmware may still write a dot amid the words
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
}

// Firmware runs an option ROM.
func TestKVMFirmwareRunsOptionROM(t *testing.T) {
	vmtest.NeedAnyKVM(t)
	rom := make([]byte, 512)
	code := append([]byte{0x55, 0xaa, 1}, 0xba, 0xf8, 3) // signature, one unit of 512 bytes; mov dx, 0x3f8
	for _, c := range []byte("option ROM was here\r\n") {
		code = append(code, 0xb0, c, 0xee) // mov al, c; out dx, al
	}
	copy(rom, append(code, 0xcb)) // retf
	for _, b := range rom[:511] {
		rom[511] -= b // the bytes of a ROM add up to 0
	}
	file := filepath.Join(t.TempDir(), "test.rom")
	if err := os.WriteFile(file, rom, 0o600); err != nil {
		t.Fatal(err)
	}
	// Without -nographic the serial port is the ROM's alone.
	vm := vmtest.Start(t, vmtest.Options{Args: []string{"-M", "pc", "-accel", "kvm", "-m", "128", "-option-rom", file}})
	vm.Expect("option ROM was here")
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
}
