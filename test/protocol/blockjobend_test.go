package protocol

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// However the program ends in the middle of a job, or right behind it, each image is valid, and the disk
// holds what was written and flushed: here by a client of an NBD export.
func TestEndInTheMiddleOfAJob(t *testing.T) {
	govmd, _ := programs(t)
	kill := func(sig unix.Signal) func(*session, int) {
		return func(_ *session, pid int) { _ = unix.Kill(pid, sig) }
	}
	ends := map[string]func(s *session, pid int){
		"SIGKILL": kill(unix.SIGKILL),
		"SIGTERM": kill(unix.SIGTERM),
		"quit":    func(s *session, _ int) { s.send(`{"execute": "quit"}`) },
	}
	jobs := []struct{ request, until string }{
		{`{"execute": "block-stream", "arguments": {"device": "d0", "speed": 8000000}}`, "running"},
		{`{"execute": "block-commit", "arguments": {"device": "d0", "top": "mid.qcow2", "speed": 8000000}}`, "running"},
		{`{"execute": "block-commit", "arguments": {"device": "d0", "speed": 8000000}}`, "running"},
		{`{"execute": "block-commit", "arguments": {"device": "d0"}}`, "READY"},
		{`{"execute": "block-stream", "arguments": {"device": "d0"}}`, "COMPLETED"},
		{`{"execute": "block-commit", "arguments": {"device": "d0", "top": "mid.qcow2"}}`, "COMPLETED"},
	}
	for i, job := range jobs {
		for end, act := range ends {
			for seed := range 2 {
				t.Run(fmt.Sprint(i, end, seed), func(t *testing.T) {
					rnd := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
					endInTheMiddle(t, govmd, rnd, "until "+job.until+" "+job.request, act)
				})
			}
		}
	}
}

// disk is what an image must hold.
type disk struct {
	t    *testing.T
	rnd  *rand.Rand
	want []byte
}

// write has qemu-io write to an image, and flush.
func (d *disk) write(n int, image ...string) {
	d.t.Helper()
	args := image
	for range n {
		size := 512 * (1 + d.rnd.IntN(600))
		off := 512 * d.rnd.IntN((len(d.want)-size)/512)
		b := byte(d.rnd.IntN(256))
		copy(d.want[off:], bytes.Repeat([]byte{b}, size))
		args = append(args, "-c", fmt.Sprintf("write -P %d %d %d", b, off, size))
	}
	run(d.t, "qemu-io", append(args, "-c", "flush")...)
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %s", name, strings.Join(args, " "), out)
	}
}

func endInTheMiddle(t *testing.T, program string, rnd *rand.Rand, job string, end func(*session, int)) {
	t.Chdir(t.TempDir())
	d := &disk{t, rnd, make([]byte, 8<<20)}
	if err := os.WriteFile("base.raw", d.want, 0o600); err != nil {
		t.Fatal(err)
	}
	d.write(40, "-f", "raw", "base.raw")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "mid.qcow2")
	d.write(20, "-f", "qcow2", "mid.qcow2")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
	d.write(20, "-f", "qcow2", "top.qcow2")

	var cmd *exec.Cmd
	s := startCommand(t, program, []string{"-M", "none", "-S", "-nodefaults", "-display", "none",
		"-drive", "if=none,id=d0,file=top.qcow2"}, func(c *exec.Cmd) { cmd = c })
	s.turn(`{"execute": "qmp_capabilities"}`)
	s.turn(`{"execute": "nbd-server-start", "arguments": {"addr": {"type": "unix", "data": {"path": "nbd"}}}}`)
	s.turn(`{"execute": "nbd-server-add", "arguments": {"device": "d0", "writable": true}}`)
	s.turn(job)
	for range rnd.IntN(4) {
		d.write(8, "-f", "raw", "nbd+unix:///d0?socket=nbd")
	}
	pid := cmd.Process.Pid
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	end(s, pid)
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != unix.EINTR {
			break
		}
	}
	for _, image := range []string{"mid.qcow2", "top.qcow2"} {
		// Clusters may leak: they cost space and nothing else.
		if err := exec.Command("qemu-img", "check", "-q", image).Run(); err != nil && err.(*exec.ExitError).ExitCode() != 3 {
			t.Errorf("qemu-img check %s: %v", image, err)
		}
	}
	if err := os.WriteFile("want", d.want, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", "want", "top.qcow2")
}
