package boot

import (
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
