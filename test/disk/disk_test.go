// Package disk has the whole-system tests of disks: a stock kernel with a file
// system on an image, while snapshots, resizes and limits arrive over QMP.
package disk

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"govmd/test/guest"
	"govmd/test/initramfs"
	"govmd/test/vmtest"
)

var (
	kernel    *initramfs.Kernel
	guestPath string
)

// modules are what the guest needs beside the usual.
var modules = []string{"virtio_blk", "virtio_scsi", "nvme", "ata_piix", "ahci", "sd_mod", "sr_mod", "crc32c_generic", "ext4"}

func TestMain(m *testing.M) { os.Exit(vmtest.RunWithGuest(m, &kernel, &guestPath, modules...)) }

// host runs a program on the host and returns what it prints.
func host(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// boot starts the stock kernel as fast as it can be, and waits for its shell.
func boot(t *testing.T, args ...string) *vmtest.VM {
	t.Helper()
	vm := vmtest.Start(t, vmtest.Options{Args: append([]string{
		"-M", "microvm", "-accel", "kvm", "-cpu", "host,-xsave", "-smp", "2", "-m", "256", "-no-reboot",
		"-kernel", kernel.ELF(), "-initrd", guestPath, "-append", "console=ttyS0 panic=-1 quiet",
	}, args...)})
	vm.Expect(guest.Ready)
	vm.Expect(guest.Prompt)
	return vm
}

// ext4 makes a qcow2 image of 64 MiB with an empty file system.
func ext4(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	raw, image := filepath.Join(dir, "raw"), filepath.Join(dir, "disk.qcow2")
	host(t, "truncate", "-s", "64M", raw)
	host(t, "/sbin/mkfs.ext4", "-q", "-F", raw)
	host(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
	return image
}

// check has an image, and the file system on it, checked.
func check(t *testing.T, image string) {
	t.Helper()
	host(t, "qemu-img", "check", "-q", image)
	raw := filepath.Join(t.TempDir(), "raw")
	host(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw)
	host(t, "/sbin/e2fsck", "-f", "-n", raw)
}

type args map[string]any

// A guest's files are whole, whatever is done to its disk meanwhile.
func TestDiskUnderWay(t *testing.T) {
	vmtest.NeedKVM(t)
	image := ext4(t)
	top := filepath.Join(filepath.Dir(image), "top.qcow2")
	vm := boot(t, "-object", "iothread,id=io", "-blockdev", "driver=file,filename="+image+",node-name=file",
		"-blockdev", "driver=qcow2,file=file,node-name=disk,discard=unmap",
		"-device", "virtio-blk-device,drive=disk,iothread=io,serial=S-1234,id=d0")
	if got := vm.Sh("echo $(cat /sys/block/vda/serial) $(cat /sys/block/vda/queue/write_cache)"); got != "S-1234 write back" {
		t.Errorf("the disk is %q", got)
	}
	vm.Sh("mkdir /mnt; mount -t ext4 -o discard /dev/vda /mnt")
	sums := vm.Sh("dd if=/dev/urandom of=/mnt/a bs=64k count=64 2>/dev/null; sync; md5sum /mnt/a")

	vm.Begin("dd if=/dev/urandom of=/mnt/b bs=64k count=96 2>/dev/null; sync; md5sum /mnt/b")
	vm.Execute("blockdev-snapshot-sync", args{"node-name": "disk", "snapshot-file": top, "snapshot-node-name": "top"}, nil)
	vm.Execute("block_set_io_throttle", args{"id": "d0", "bps": 64 << 20, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}, nil)
	vm.Execute("stop", nil, nil)
	vm.Execute("cont", nil, nil)
	vm.Execute("block_resize", args{"node-name": "top", "size": 96 << 20}, nil)
	vm.Execute("block_set_io_throttle", args{"id": "d0", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}, nil)
	sums += "\n" + vm.End()

	if got := vm.Sh("echo 3 >/proc/sys/vm/drop_caches; md5sum /mnt/a /mnt/b"); got != sums {
		t.Errorf("the guest's files have become\n%s\nfrom\n%s", got, sums)
	}
	if got := vm.Sh("cat /sys/block/vda/size"); got != "196608" {
		t.Errorf("after the resize the disk has %s sectors", got)
	}
	vm.Sh("rm /mnt/a; fstrim /mnt; umount /mnt; sync")
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
	check(t, top)
	host(t, "qemu-img", "check", "-q", image)
}

// What the guest has been told is on the disk is there after the program was killed.
func TestKilled(t *testing.T) {
	vmtest.NeedKVM(t)
	image := ext4(t)
	drive := "if=virtio,cache=writeback,file=" + image
	vm := boot(t, "-drive", drive)
	vm.Sh("mkdir /mnt; mount -t ext4 /dev/vda /mnt")
	sum := vm.Sh("dd if=/dev/urandom of=/mnt/kept bs=64k count=32 2>/dev/null; sync; md5sum /mnt/kept")
	vm.Begin("while :; do dd if=/dev/urandom of=/mnt/lost bs=64k count=32 2>/dev/null; done")
	for range 3 {
		vm.Execute("query-blockstats", nil, nil)
	}
	vm.Kill()
	// Leaked clusters are no harm.
	if out, err := exec.Command("qemu-img", "check", image).CombinedOutput(); err != nil && !strings.Contains(string(out), "leaked clusters were found") {
		t.Errorf("%v: %s", err, out)
	}
	vm = boot(t, "-drive", drive)
	vm.Sh("mkdir /mnt; mount -t ext4 /dev/vda /mnt")
	if got := vm.Sh("md5sum /mnt/kept"); got != sum {
		t.Errorf("%s, not %s", got, sum)
	}
	vm.Sh("umount /mnt")
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
	check(t, image)
}
