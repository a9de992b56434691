package boot

import (
	"testing"

	"govmd/test/vmtest"
)

// Firmware finds a boot loader on each kind of disk that it can read, in the order
// that -boot and bootindex say. It runs on any KVM.
func TestKVMFirmwareBoots(t *testing.T) {
	vmtest.NeedAnyKVM(t)
	const text = "started from the disk\n"
	disk := vmtest.BootDisk(t, text, 1<<20)
	for name, args := range map[string][]string{
		"ide": {"-hda", disk},
		"cd":  {"-cdrom", vmtest.BootCD(t, text), "-boot", "d"},
		"ahci": {
			"-device", "ich9-ahci,id=sata", "-drive", "if=none,id=d,format=raw,file=" + disk,
			"-device", "ide-hd,drive=d,bus=sata.2,bootindex=0",
		},
		"ahci-cd": {
			"-device", "ich9-ahci,id=sata", "-drive", "if=none,id=d,media=cdrom,format=raw,file=" + vmtest.BootCD(t, text),
			"-device", "ide-cd,drive=d,bus=sata.0,bootindex=0",
		},
		"scsi": {
			"-hda", vmtest.BootDisk(t, "started from the wrong disk\n", 1<<20), "-device", "virtio-scsi-pci,id=scsi0",
			"-drive", "if=none,id=d,format=raw,file=" + disk, "-device", "scsi-hd,drive=d,scsi-id=3,lun=1,bootindex=0",
		},
		"nvme": {
			"-hda", vmtest.BootDisk(t, "started from the wrong disk\n", 1<<20),
			"-drive", "if=none,id=d,format=raw,file=" + disk, "-device", "nvme,drive=d,serial=S-1,bootindex=0",
		},
		"scsi-cd": {
			"-device", "virtio-scsi-pci", "-drive", "if=none,id=d,media=cdrom,format=raw,file=" + vmtest.BootCD(t, text),
			"-device", "scsi-cd,drive=d,bootindex=0",
		},
		"bootindex": {
			"-hda", vmtest.BootDisk(t, "started from the wrong disk\n", 1<<20),
			"-drive", "if=none,id=d,format=raw,file=" + disk, "-device", "ide-hd,drive=d,bus=ide.1,bootindex=1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			vm := vmtest.Start(t, vmtest.Options{NoConsole: true, Args: append([]string{
				"-M", "pc", "-accel", "kvm", "-m", "64", "-display", "none",
				"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
			}, args...)})
			vm.Expect("started from the disk")
			vm.Execute("quit", nil, nil)
			vm.ExpectExit(0)
		})
	}
}
