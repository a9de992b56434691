package protocol

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"
)

// However far a backup or a mirror has come when the program is killed, each image is
// valid, and the disk holds what was written and flushed.
func TestKilledInTheMiddleOfACopy(t *testing.T) {
	govmd, _ := programs(t)
	for i, job := range []string{
		`{"execute": "drive-backup", "arguments": {"device": "d0", "sync": "full", "target": "t.qcow2", "speed": 4000000}}`,
		`{"execute": "drive-backup", "arguments": {"device": "d0", "sync": "none", "target": "t.qcow2"}}`,
		`{"execute": "drive-backup", "arguments": {"device": "d0", "sync": "full", "target": "t.qcow2", "compress": true, "speed": 4000000}}`,
		`{"execute": "drive-mirror", "arguments": {"device": "d0", "sync": "full", "target": "t.qcow2", "speed": 4000000}}`,
		`{"execute": "drive-mirror", "arguments": {"device": "d0", "sync": "full", "target": "t.qcow2", "copy-mode": "write-blocking"}}`,
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Chdir(t.TempDir())
			sh := func(args ...string) {
				t.Helper()
				if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", args, out)
				}
			}
			sh("qemu-img", "create", "-q", "-f", "qcow2", "d.qcow2", "8M")
			sh("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 6M", "d.qcow2")
			var cmd *exec.Cmd
			s := startCommand(t, govmd, []string{"-M", "none", "-S", "-nodefaults", "-display", "none", "-drive", "if=none,id=d0,file=d.qcow2"},
				func(c *exec.Cmd) { cmd = c })
			s.turn(`{"execute": "qmp_capabilities"}`)
			s.turn(`{"execute": "nbd-server-start", "arguments": {"addr": {"type": "unix", "data": {"path": "nbd"}}}}`)
			s.turn(`{"execute": "nbd-server-add", "arguments": {"device": "d0", "writable": true}}`)
			if answer := s.turn(job); fmt.Sprint(answer[0]) != "map[return:map[]]" {
				t.Fatal(answer)
			}
			sh("qemu-io", "-f", "raw", "-c", "write -P 2 1M 300k", "-c", "write -P 3 7M 512", "-c", "flush", "nbd+unix:///d0?socket=nbd")
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, s.r) // until it is gone
			for _, image := range []string{"d.qcow2", "t.qcow2"} {
				// Clusters may leak: they cost space and nothing else.
				err := exec.Command("qemu-img", "check", "-U", "-q", image).Run()
				var exit *exec.ExitError
				if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
					t.Errorf("qemu-img check %s: %v", image, err)
				}
			}
			sh("qemu-io", "-U", "-r", "-f", "qcow2", "-c", "read -P 1 0 1M", "-c", "read -P 2 1M 300k", "-c", "read -P 3 7M 512", "d.qcow2")
		})
	}
}
