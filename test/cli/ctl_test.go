package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/test/vmtest"
)

// ctl runs govmctl, which is the program by another name.
func ctl(t *testing.T, dir string, args ...string) result {
	t.Helper()
	name := filepath.Join(t.TempDir(), "govmctl")
	if err := os.Symlink(program, name); err != nil {
		t.Fatal(err)
	}
	return runCommand(t, dir, name, args...)
}

// What a person does with a machine from a shell.
func TestCtl(t *testing.T) {
	p := begin(t, "-M", "pc", "-accel", "qtest", "-qmp", qmpSocket, "-name", "web",
		"-chardev", "ringbuf,id=ring,size=4k")
	p.dialQMP("qmp").Close()
	for _, c := range []struct{ args, stdout, stderr string }{
		{"status", "running\n", ""},
		{"stop", "", ""},
		{"cont", "", ""},
		{"--json status", `{"running": true, "singlestep": false, "status": "running"}` + "\n", ""},
		{"query-name", "name: web\n", ""},
		{"ringbuf-write device=ring data=hello", "", ""},
		{"ringbuf-read device=ring size=4k", "hello\n", ""},
		{"ringbuf-write device=ring data=again", "", ""},
		{"console --chardev ring", "again", ""},
		{"chardev-add id=file backend.type=file backend.data.out=log backend.data.append=on", "", ""},
		{"object-add qom-type=rng-random id=r filename=/dev/urandom", "", ""},
		{`object-add {"qom-type":"rng-builtin","id":"s"}`, "", ""},
		{"qom-get path=/objects/r property=filename", "/dev/urandom\n", ""},
		{"object-del id=none", "", "1 govmctl: object 'none' not found\n"},
		{"query-statsu", "", "1 govmctl: The command query-statsu has not been found; did you mean 'query-status'?\n"},
		{"query-name force=on", "", "1 govmctl: Parameter 'force' is unexpected\n"},
		{"object-add id=x", "", "1 govmctl: Parameter 'qom-type' is missing\n"},
		{"stop force=on", "", "2 govmctl: stop takes no argument 'force=on'\n"},
		{"console", "", "1 govmctl: no character device is called console or serial0 or charserial0; --chardev names another: compat_monitor0, file, ring\n"},
		{"console --chardev file", "", "1 govmctl: the console is 'file': only a listening Unix or TCP socket, a pty or a ring buffer can be attached to\n"},
	} {
		got := ctl(t, p.dir, append([]string{"./qmp"}, strings.Fields(c.args)...)...)
		status := 0
		if c.stderr != "" {
			status = int(c.stderr[0] - '0')
			c.stderr = c.stderr[2:]
		}
		if got.stdout != c.stdout || got.stderr != c.stderr || got.status != status {
			t.Errorf("%s: %+v", c.args, got)
		}
	}
	if err := os.Remove(p.path("log")); err != nil {
		t.Error(err)
	}
	if got := ctl(t, p.dir, "./qmp", "quit"); got != (result{"", "", 0}) {
		t.Errorf("quit: %+v", got)
	}
	p.expectEnd(0)
	if got := ctl(t, p.dir, "./qmp", "status"); got.status != 3 || got.stderr != "govmctl: ./qmp: no machine listens there\n" {
		t.Errorf("after the end: %+v", got)
	}
}

// A guest that does not listen is not waited for beyond the time, and then ended
// if that is what was asked for. "govmd ctl" is govmctl too.
func TestCtlPowerdown(t *testing.T) {
	p := begin(t, "-M", "pc", "-accel", "qtest", "-qmp", qmpSocket)
	p.dialQMP("qmp").Close()
	if got := runIn(t, p.dir, "ctl", "./qmp", "powerdown", "--wait", "0.1"); got.status != 4 ||
		got.stderr != "govmd ctl: the guest has not powered off in 100ms\n" {
		t.Errorf("%+v", got)
	}
	if got := runIn(t, p.dir, "ctl", "./qmp", "powerdown", "--wait", "0.1", "--force"); got.status != 0 {
		t.Errorf("%+v", got)
	}
	p.expectEnd(0)
}

// Events are shown as they come, until the end.
func TestCtlEvents(t *testing.T) {
	p := begin(t, "-M", "none", "-qmp", qmpSocket, "-qmp", "unix:other,server=on,wait=off")
	q := p.dialQMP("other")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "ctl", "./qmp", "events", "--follow", "STOP", "SHUTDOWN")
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	shown := vmtest.NewConsole(r)
	await(p, func() bool { // that it listens
		for _, command := range []string{"stop", "cont"} {
			if err := q.Execute(p.ctx, command, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		return strings.Contains(shown.Text(), " STOP\n")
	})
	p.signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := shown.Wait(p.ctx, " SHUTDOWN guest=false reason=host-signal\n"); err != nil {
		t.Error(err)
	}
	if strings.Contains(shown.Text(), "RESUME") {
		t.Errorf("what was not asked for: %s", shown.Text())
	}
	p.expectEnd(0)
}

// It is a client of QMP, not of govmd: QEMU's types are those of its own schema.
func TestCtlOfQEMU(t *testing.T) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip(err)
	}
	p := beginProgram(t, qemu, nil, "-S", "-M", "pc", "-accel", "tcg", "-qmp", qmpSocket, "-device", "virtio-serial-pci",
		"-chardev", "socket,id=serial0,path=con,server=on,wait=off", "-serial", "chardev:serial0")
	p.dialQMP("qmp").Close()
	for _, c := range []struct {
		args, stdout, stderr string
		status               int
	}{
		{"./qmp status", "prelaunch\n", "", 6},
		{"./qmp device_add driver=virtio-rng-pci id=r max-bytes=1024 period=1000", "", "", 0},
		{"./qmp qom-get path=/machine/peripheral/r property=max-bytes", "1024\n", "", 0},
		{"./qmp qom-set path=/machine property=graphics value=false", "", "", 0},
		{"./qmp qom-get path=/machine property=graphics", "false\n", "", 0},
		{"./qmp blockdev-add driver=null-co node-name=n size=1M read-zeroes=on", "", "", 0},
		{"./qmp human-monitor-command command-line=info\tchardev", "compat_monitor0: filename=unix:qmp,server=on\n" +
			"serial0: filename=disconnected:unix:con,server=on\n", "", 0},
		{"./qmp blockdev-add driver=nullco", "", "did you mean 'null-co'?", 2},
		{"--complete ./qmp blockdev-add driver=qcow2 file.dr", "file.driver=\n", "", 0},
		{"--complete ./qmp blockdev-add driver=qcow2 file.driver=ftp", "file.driver=ftp\nfile.driver=ftps\n", "", 0},
		{"--complete ./qmp migrate-set-parameters c", "compress-level=\ncompress-threads=\ncompress-wait-thread=\n" +
			"cpu-throttle-initial=\ncpu-throttle-increment=\ncpu-throttle-tailslow=\n", "", 0},
		{"./qmp powerdown --wait 60 --force", "", "", 0}, // it is paused, and hears nothing
	} {
		words := strings.Fields(strings.ReplaceAll(c.args, "\t", "\x00"))
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "\x00", " ")
		}
		got := ctl(t, p.dir, words...)
		if got.stdout != c.stdout || got.status != c.status || !strings.Contains(got.stderr, c.stderr) {
			t.Errorf("%s: %+v", c.args, got)
		}
	}
	p.expectEnd(0)
}
