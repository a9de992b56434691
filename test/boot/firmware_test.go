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
