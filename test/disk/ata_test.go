package disk

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"govmd/test/guest"
	"govmd/test/vmtest"
)

// random makes a raw image with so many random bytes, and returns its name and the
// bytes' sum.
func random(t *testing.T, name string, size int) (file, sum string) {
	t.Helper()
	p := make([]byte, size)
	_, _ = rand.Read(p)
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, sumOf(p)
}

func sumOf(p []byte) string {
	sum := md5.Sum(p)
	return hex.EncodeToString(sum[:])
}

// bootPC starts the stock kernel on a PC.
func bootPC(t *testing.T, args ...string) *vmtest.VM {
	t.Helper()
	vm := vmtest.Start(t, vmtest.Options{Args: append([]string{
		"-M", "pc", "-accel", "kvm", "-cpu", "host,-xsave", "-m", "256", "-no-reboot",
		"-kernel", kernel.ELF(), "-initrd", guestPath, "-append", "console=ttyS0 panic=-1 quiet",
	}, args...)})
	vm.Expect(guest.Ready)
	vm.Expect(guest.Prompt)
	return vm
}

// find returns the name of the disk or CD-ROM that has so many sectors of 512 bytes,
// once it is there.
func find(vm *vmtest.VM, kind, sectors string) string {
	return vm.Sh(`while ! d=$(grep -lx ` + sectors + ` /sys/block/` + kind + `?/size); do sleep 0.1; done; echo $d | cut -d/ -f4`)
}

// The stock drivers of IDE and SATA disks and CD-ROM drives see them, read and write
// them, and follow a change of media.
func TestATA(t *testing.T) {
	vmtest.NeedKVM(t)
	image := ext4(t)
	raw, _ := random(t, "raw", 6<<20)
	cd, cdSum := random(t, "cd", 2<<20)
	other, otherSum := random(t, "other", 1<<20)
	sataCD, sataSum := random(t, "satacd", 3<<20)
	vm := bootPC(t, "-blockdev", "driver=qcow2,file.driver=file,file.filename="+image+",node-name=disk,discard=unmap",
		"-device", "ide-hd,drive=disk,serial=S-1",
		"-drive", "if=ide,index=2,media=cdrom,format=raw,file="+cd,
		"-device", "ich9-ahci,id=sata",
		"-drive", "if=none,id=raw,format=raw,file="+raw, "-device", "ide-hd,drive=raw,bus=sata.0",
		"-drive", "if=none,id=satacd,media=cdrom,format=raw,file="+sataCD, "-device", "ide-cd,drive=satacd,bus=sata.1,id=scd")
	ide, sata := find(vm, "sd", "131072"), find(vm, "sd", "12288")
	ideCD, sataCDName := find(vm, "sr", "4096"), find(vm, "sr", "6144")

	if got := vm.Sh("cat /sys/block/" + ide + "/device/model"); got != "QEMU HARDDISK" {
		t.Errorf("the IDE disk is a %q", got)
	}
	if got := vm.Sh("cat /sys/block/" + sata + "/device/queue_depth"); got != "32" {
		t.Errorf("the SATA disk has a queue of %s", got)
	}
	vm.Sh("mkdir /mnt; mount -t ext4 -o discard /dev/" + ide + " /mnt")
	file := vm.Sh("dd if=/dev/urandom of=/mnt/a bs=64k count=32 2>/dev/null; sync; md5sum </mnt/a")
	vm.Begin("dd if=/dev/urandom of=/dev/" + sata + " bs=128k count=32 conv=fsync 2>/dev/null; echo done")
	vm.Execute("stop", nil, nil)
	vm.Execute("cont", nil, nil)
	vm.End()
	if got := vm.Sh("echo 3 >/proc/sys/vm/drop_caches; md5sum </mnt/a"); got != file {
		t.Errorf("the file has become %s from %s", got, file)
	}
	disk := strings.Fields(vm.Sh("md5sum </dev/" + sata))[0]
	for name, want := range map[string]string{ideCD: cdSum, sataCDName: sataSum} {
		if got := strings.Fields(vm.Sh("md5sum </dev/" + name))[0]; got != want {
			t.Errorf("%s reads as %s, not %s", name, got, want)
		}
	}
	for device, name := range map[string]string{"ide1-cd0": ideCD, "satacd": sataCDName} {
		vm.Execute("blockdev-change-medium", args{"device": device, "filename": other, "format": "raw"}, nil)
		// The kernel does not let what has opened the disc meanwhile read another one.
		vm.Sh("dd if=/dev/" + name + " of=/dev/null count=1 2>/dev/null || true")
		if got := strings.Fields(vm.Sh("md5sum </dev/" + name))[0]; got != otherSum {
			t.Errorf("%s reads as %s after the change of media, not %s", name, got, otherSum)
		}
		if got := vm.Sh("cat /sys/block/" + name + "/size"); got != "2048" {
			t.Errorf("%s has %s sectors after the change of media", name, got)
		}
	}
	vm.Sh("rm /mnt/a; fstrim /mnt; umount /mnt; sync")
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
	check(t, image)
	p, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := sumOf(p); got != disk {
		t.Errorf("the SATA disk's image is %s, the guest saw %s", got, disk)
	}
	if bytes.Count(p[:4<<20], []byte{0}) > 1<<20 {
		t.Error("the guest has not written to the SATA disk")
	}
}
