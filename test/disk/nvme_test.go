package disk

import (
	"os"
	"strings"
	"testing"

	"govmd/test/vmtest"
)

// The stock NVMe driver sees disks, reads, writes and trims them, and follows a change
// of size.
func TestNVMe(t *testing.T) {
	vmtest.NeedKVM(t)
	image := ext4(t)
	raw, _ := random(t, "raw", 6<<20)
	vm := bootPC(t, "-smp", "2",
		"-blockdev", "driver=qcow2,file.driver=file,file.filename="+image+",node-name=disk,discard=unmap",
		"-device", "nvme,drive=disk,serial=S-1,id=hd0",
		"-drive", "if=none,id=raw,format=raw,discard=unmap,file="+raw, "-device", "nvme,drive=raw,serial=S-2")
	name := func(sectors string) string {
		return vm.Sh(`while ! d=$(grep -lx ` + sectors + ` /sys/block/nvme?n1/size); do sleep 0.1; done; echo $d | cut -d/ -f4`)
	}
	hd, plain := name("131072"), name("12288")
	if got := strings.TrimSpace(vm.Sh("cat /sys/block/" + plain + "/device/serial")); got != "S-2" {
		t.Errorf("the raw disk's serial number is %q", got)
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
