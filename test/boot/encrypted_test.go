package boot

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"govmd/test/vmtest"
)

// A guest starts from an encrypted disk: at once when its options name the
// passphrase, and after block_passwd and cont when they do not. It runs on any KVM.
func TestKVMEncryptedDisk(t *testing.T) {
	vmtest.NeedAnyKVM(t)
	const text, passphrase = "started from the encrypted disk\n", "correct horse"
	image := filepath.Join(t.TempDir(), "disk.qcow2")
	program, err := vmtest.Program()
	if err != nil {
		t.Fatal(err)
	}
	tool := []string{program, "img"}
	if vmtest.IsQEMU() {
		tool = []string{"qemu-img"}
	}
	convert := exec.Command(tool[0], append(tool[1:], "convert", "--object", "secret,id=s,data="+passphrase, "-f", "raw", "-O", "qcow2",
		"-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", vmtest.BootDisk(t, text, 1<<20), image)...)
	if out, err := convert.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	start := func(t *testing.T, args ...string) *vmtest.VM {
		return vmtest.Start(t, vmtest.Options{NoConsole: true, Args: append([]string{
			"-M", "pc", "-accel", "kvm", "-m", "64", "-display", "none",
			"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		}, args...)})
	}
	t.Run("secret", func(t *testing.T) {
		vm := start(t, "-object", "secret,id=s,data="+passphrase, "-drive", "file="+image+",encrypt.key-secret=s")
		vm.Expect(text[:len(text)-1])
		vm.Execute("quit", nil, nil)
		vm.ExpectExit(0)
	})
	t.Run("block_passwd", func(t *testing.T) {
		if vmtest.IsQEMU() {
			t.Skip("QEMU has dropped block_passwd")
		}
		vm := start(t, "-hda", image)
		var drives []struct {
			Inserted *struct {
				Encrypted bool `json:"encrypted"`
				Missing   bool `json:"encryption_key_missing"`
			} `json:"inserted"`
		}
		query := func() (encrypted, missing bool) {
			t.Helper()
			vm.Execute("query-block", nil, &drives)
			return drives[0].Inserted.Encrypted, drives[0].Inserted.Missing
		}
		if encrypted, missing := query(); !encrypted || !missing {
			t.Errorf("without its key the drive is %+v", drives[0].Inserted)
		}
		refuse := func(command string, args any, want string) {
			t.Helper()
			if err := vm.QMP().Execute(t.Context(), command, args, nil); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", command, err, want)
			}
		}
		refuse("cont", nil, "'ide0-hd0' ("+image+") is encrypted")
		refuse("block_passwd", map[string]any{"device": "ide0-hd0", "password": "wrong"}, "Invalid password")
		if s := vm.Status(); s != "prelaunch" {
			t.Errorf("the machine is %s", s)
		}
		vm.Execute("block_passwd", map[string]any{"device": "ide0-hd0", "password": passphrase}, nil)
		if encrypted, missing := query(); !encrypted || missing {
			t.Errorf("with its key the drive is %+v", drives[0].Inserted)
		}
		vm.Execute("cont", nil, nil)
		vm.Expect(text[:len(text)-1])
		refuse("block_passwd", map[string]any{"device": "ide0-hd0", "password": passphrase}, "has its passphrase already")
		vm.Execute("quit", nil, nil)
		vm.ExpectExit(0)
	})
}
