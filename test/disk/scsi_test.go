package disk

import (
	"os"
	"strings"
	"testing"

	"govmd/test/vmtest"
)

// The stock driver of virtio-scsi sees disks and CD-ROM drives, reads, writes and
// trims them, and follows changes of media and of size.
func TestSCSI(t *testing.T) {
	vmtest.NeedKVM(t)
	image := ext4(t)
	raw, _ := random(t, "raw", 6<<20)
	cd, cdSum := random(t, "cd", 2<<20)
	other, otherSum := random(t, "other", 1<<20)
	vm := bootPC(t, "-object", "iothread,id=io0", "-device", "virtio-scsi-pci,id=scsi0,iothread=io0",
		"-blockdev", "driver=qcow2,file.driver=file,file.filename="+image+",node-name=disk,discard=unmap",
		"-device", "scsi-hd,drive=disk,serial=S-1,bus=scsi0.0,scsi-id=2,lun=1,id=hd0",
		"-drive", "if=none,id=raw,format=raw,discard=unmap,file="+raw, "-device", "scsi-hd,drive=raw,product=RAWDISK",
		"-drive", "if=none,id=cd,media=cdrom,format=raw,file="+cd, "-device", "scsi-cd,drive=cd,id=scd")
	hd, plain, sr := find(vm, "sd", "131072"), find(vm, "sd", "12288"), find(vm, "sr", "4096")
	if got := vm.Sh("cat /sys/block/" + plain + "/device/model"); got != "RAWDISK" {
		t.Errorf("the raw disk is a %q", got)
	}
	if got := vm.Sh("basename $(readlink /sys/block/" + hd + "/device)"); !strings.HasSuffix(got, ":0:2:1") {
		t.Errorf("the disk is at %s", got)
	}
	vm.Sh("mkdir /mnt; mount -t ext4 -o discard /dev/" + hd + " /mnt")
	file := vm.Sh("dd if=/dev/urandom of=/mnt/a bs=64k count=32 2>/dev/null; sync; md5sum </mnt/a")
	vm.Begin("dd if=/dev/urandom of=/dev/" + plain + " bs=128k count=32 conv=fsync 2>/dev/null; echo done")
	vm.Execute("stop", nil, nil)
	vm.Execute("cont", nil, nil)
	vm.End()
	if got := vm.Sh("echo 3 >/proc/sys/vm/drop_caches; md5sum </mnt/a"); got != file {
		t.Errorf("the file has become %s from %s", got, file)
	}
	vm.Sh("blkdiscard -o 5242880 -l 1048576 /dev/" + plain)
	disk := strings.Fields(vm.Sh("md5sum </dev/" + plain))[0]
	if got := strings.Fields(vm.Sh("md5sum </dev/" + sr))[0]; got != cdSum {
		t.Errorf("the CD-ROM reads as %s, not %s", got, cdSum)
	}
	vm.Execute("blockdev-change-medium", args{"id": "scd", "filename": other, "format": "raw"}, nil)
	// The kernel does not let what has opened the disc meanwhile read another one.
	vm.Sh("dd if=/dev/" + sr + " of=/dev/null count=1 2>/dev/null || true")
	if got := strings.Fields(vm.Sh("md5sum </dev/" + sr))[0]; got != otherSum {
		t.Errorf("the CD-ROM reads as %s after the change of media, not %s", got, otherSum)
	}
	vm.Execute("block_resize", args{"node-name": "disk", "size": 96 << 20}, nil)
	vm.Sh("while ! grep -x 196608 /sys/block/" + hd + "/size; do sleep 0.1; done")
	vm.Sh("rm /mnt/a; fstrim /mnt; umount /mnt; sync")
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
	check(t, image)
	p, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := sumOf(p); got != disk {
		t.Errorf("the raw disk's image is %s, the guest saw %s", got, disk)
	}
}
