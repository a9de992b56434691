package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// drives returns what a program says of the drives that the options make: the members
// that a manager looks at.
func drives(t *testing.T, name string, args ...string) (list []map[string]any) {
	t.Helper()
	out := runShell(t, t.TempDir(), `(echo '{"execute": "qmp_capabilities"}'; echo '{"execute": "query-block"}';
		echo '{"execute": "quit"}') | `+name+` -display none -qmp stdio `+strings.Join(args, " ")).stdout
	var answer struct {
		Return []map[string]any `json:"return"`
	}
	lines := strings.Split(out, "\n")
	if len(lines) < 3 {
		t.Fatalf("%s says %q", name, out)
	}
	if err := json.Unmarshal([]byte(lines[2]), &answer); err != nil {
		t.Fatal(err)
	}
	list = answer.Return
	for _, d := range list {
		delete(d, "qdev") // the numbers of devices without an ID differ
		if in, ok := d["inserted"].(map[string]any); ok {
			d["inserted"] = []any{in["file"], in["ro"], in["drv"], in["cache"], in["detect_zeroes"]}
		}
	}
	return list
}

// blankImage makes a raw image of 1 MiB.
func blankImage(t *testing.T) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "i")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return image
}

// Drives have QEMU's names, those too that nobody has asked for.
func TestDrivesAreQEMUs(t *testing.T) {
	qemu := findQEMU(t)
	image := blankImage(t)
	for _, args := range []string{
		"",
		"-nodefaults",
		"-hda IMAGE -hdd IMAGE -snapshot",
		"-cdrom IMAGE",
		"-fdb IMAGE",
		"-drive file=IMAGE,format=raw,index=3,media=cdrom -drive if=none,id=x,readonly=on,file=IMAGE,format=raw",
		"-drive if=ide,bus=1,unit=1,format=raw,file=IMAGE,cache=none,detect-zeroes=on -nodefaults",
		"-device ide-cd,bus=ide.0",
		"-nodefaults -device ide-cd,id=a -device ich9-ahci,id=s -device ide-cd,bus=s.3,id=b",
		"-drive if=none,id=d,format=raw,file=IMAGE,rerror=stop -device ide-hd,drive=d,serial=1",
		"-nodefaults -device virtio-scsi-pci,id=s -device scsi-cd,id=a -drive if=none,id=d,format=raw,file=IMAGE -device scsi-hd,drive=d,lun=3",
		"-device virtio-scsi-pci -drive if=none,id=d -device scsi-hd,drive=d,removable=on,id=r",
	} {
		t.Run(args, func(t *testing.T) {
			words := append(strings.Fields(strings.ReplaceAll(args, "IMAGE", image)), "-S", "-m", "16")
			want := drives(t, qemu, append(words, "-accel", "tcg")...)
			got := drives(t, program, append(words, "-accel", "qtest")...)
			if len(want) != len(got) {
				t.Fatalf("there are %v, in QEMU %v", got, want)
			}
			for i := range got {
				if s, ok := want[i]["inserted"].([]any); ok && strings.Contains(args, "-snapshot") {
					s[0], got[i]["inserted"].([]any)[0] = "", "" // a name that was made up
				}
				if !reflect.DeepEqual(got[i], want[i]) {
					t.Errorf("drive %v\n%v, in QEMU\n%v", got[i]["device"], got[i], want[i])
				}
			}
		})
	}
}

// What cannot be is refused in QEMU's words.
func TestDriveErrorsAreQEMUs(t *testing.T) {
	qemu := findQEMU(t)
	image := blankImage(t)
	for _, args := range []string{
		"-device ide-hd",
		"-drive if=scsi,format=raw,file=IMAGE",
		"-device scsi-hd",
		"-device virtio-scsi-pci -device scsi-hd",
		"-device virtio-scsi-pci -drive if=none,id=x -device scsi-hd,drive=x",
		"-device virtio-scsi-pci -device scsi-cd,scsi-id=256",
		"-device virtio-scsi-pci -device scsi-cd,lun=16384",
		"-device virtio-scsi-pci -device scsi-cd,channel=1",
		"-device virtio-scsi-pci -device scsi-cd,id=x,scsi-id=1,lun=0 -device scsi-cd,scsi-id=1,lun=0",
		"-device virtio-scsi-pci,virtqueue_size=2",
		"-drive if=none,id=x,format=raw,file=IMAGE -device nvme,drive=x",
		"-device ide-hd,drive=x",
		"-drive if=none,id=x -device ide-hd,drive=x",
		"-drive if=none,id=x,format=raw,file=IMAGE,readonly=on -device ide-hd,drive=x",
		"-drive if=none,id=x,format=raw,file=IMAGE -device ide-hd,drive=x -device ide-hd,drive=x",
		"-device ide-cd,bus=ide.0,unit=2",
		"-nodefaults -device ide-cd,bus=ide.0,unit=1 -device ide-cd,bus=ide.0,unit=1",
		"-drive if=ide,bus=2,format=raw,file=IMAGE",
		"-drive if=ide,unit=2,format=raw,file=IMAGE",
		"-hda IMAGE -drive index=0,format=raw,file=IMAGE",
		"-drive if=none,id=x,format=raw,file=IMAGE -device ide-hd,drive=x,logical_block_size=4096,physical_block_size=4096,discard_granularity=0",
		"-drive if=none,id=x,format=raw,file=IMAGE -device ide-hd,drive=x,cyls=1,heads=17,secs=1",
		"-hda IMAGE -device ide-hd,drive=ide0-hd0",
		"-device ide-cd,logical_block_size=3",
		"-device ide-cd,id=q,physical_block_size=3000",
		"-device ide-cd,discard_granularity=3",
		"-device ide-cd,min_io_size=3",
	} {
		t.Run(args, func(t *testing.T) {
			words := append(strings.Fields(strings.ReplaceAll(args, "IMAGE", image)), "-S", "-m", "16")
			say := func(name, accel string) string {
				out := runCommand(t, t.TempDir(), name, append(words, "-display", "none", "-accel", accel)...).stderr
				line, _, _ := strings.Cut(strings.TrimSpace(out[strings.LastIndex("\n"+strings.TrimSpace(out), "\n"):]), "\n")
				_, line, _ = strings.Cut(line, ": ")
				return line
			}
			if got, want := say(program, "qtest"), say(qemu, "tcg"); got != want {
				t.Errorf("%q, in QEMU %q", got, want)
			}
		})
	}
}
