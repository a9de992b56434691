package boot

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"govmd/test/vmtest"
)

// pause is between looks at what systemd does: the emulated host is slow enough.
const pause = 20 * time.Millisecond

// manager is a systemd in namespaces of its own.
type manager struct {
	t   *testing.T
	ctx context.Context
	pid string // of systemd, outside
	log bytes.Buffer
}

// What the guest says at its start, and when its power button is pressed.
const guestUp, guestDown = "the guest is up", "power button"

// buttonGuest sleeps until its power button is pressed, which is interrupt 9, and then
// powers off.
func buttonGuest() *vmtest.ROM {
	const vector = 0x70 + 1
	r := vmtest.NewROM().EnablePM().Jump("start")
	handler := r.Len()
	r.Print(guestDown + "\n").Sleep(vmtest.SleepS5).Halt()
	r.Label("start").Store(4*vector, string([]byte{byte(handler), byte(handler >> 8), 0, 0xf0}))
	for _, w := range []struct {
		port  uint16
		value uint8
	}{
		{0x20, 0x11}, {0x21, 0x08}, {0x21, 4}, {0x21, 1}, {0x21, ^uint8(1 << 2)}, // the first interrupt controller, all but the second masked
		{0xa0, 0x11}, {0xa1, 0x70}, {0xa1, 2}, {0xa1, 1}, {0xa1, ^uint8(1 << 1)}, // the second
	} {
		r.Out8(w.port, w.value)
	}
	r.Print(guestUp+"\n").Out16(0x602, 1<<8) // PM1_EN: PWRBTN_EN
	return r.Code(0xfb, 0xf4, 0xeb, 0xfd)    // sti; hlt for ever
}

// startManager starts systemd, which runs nothing yet. That is for the nested host
// alone: elsewhere a mistake in the script would be made on somebody's machine.
func startManager(t *testing.T) *manager {
	t.Helper()
	vmtest.NeedKVM(t)
	if os.Getenv("GOVMD_NESTED") == "" {
		t.Skip("runs a systemd: only in the nested host")
	}
	program, err := vmtest.Program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	m := &manager{t: t, ctx: ctx}
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--cgroup", "--uts", "--ipc",
		"sh", "testdata/systemd.sh", filepath.Dir(filepath.Dir(program)), program, buttonGuest().File(t))
	cmd.Stdout, cmd.Stderr = &m.log, &m.log
	group := fmt.Sprintf("/sys/fs/cgroup/systemd-%d", os.Getpid()) // the root of its cgroups
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed in the end
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("systemd says:\n%s", m.log.Bytes())
		}
	})
	children := fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid)
	for { // until systemd answers
		select {
		case <-ended:
			t.Fatal("systemd does not come up")
		default:
		}
		text, _ := os.ReadFile(children) // fails at the end
		m.pid = strings.TrimSpace(string(text))
		if _, err := os.Stat(m.path("/run/systemd/private")); m.pid == "" || err != nil {
			time.Sleep(pause)
			continue
		}
		if out, _ := m.run("systemctl", "is-active", "idle.target"); out == "active" {
			return m
		}
	}
}

// path is where a file of the machine's namespace is for the test.
func (m *manager) path(name string) string { return "/proc/" + m.pid + "/root" + name }

// run runs a command beside systemd.
func (m *manager) run(name string, args ...string) (string, error) {
	cmd := exec.CommandContext(m.ctx, "nsenter", append([]string{"-t", m.pid, "-m", "-p", "-C", name}, args...)...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *manager) must(name string, args ...string) string {
	m.t.Helper()
	out, err := m.run(name, args...)
	if err != nil {
		m.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// property is one of the unit's.
func (m *manager) property(name string) string {
	m.t.Helper()
	return m.must("systemctl", "show", "-P", name, "govmd@web")
}

// await waits until the property changes from what it was.
func (m *manager) await(name, was string) string {
	m.t.Helper()
	for m.ctx.Err() == nil {
		if now := m.property(name); now != was {
			return now
		}
	}
	m.t.Fatalf("%s stays %s", name, was)
	return ""
}

// consoleSays waits until the guest's console has said text n times.
func (m *manager) consoleSays(text string, n int) {
	m.t.Helper()
	var log []byte
	for ; m.ctx.Err() == nil; time.Sleep(pause) {
		log, _ = os.ReadFile(m.path("/var/log/govmd/web-console.log")) // there is none at first
		if bytes.Count(log, []byte(text)) >= n {
			return
		}
	}
	m.t.Fatalf("the console has not said %q %d times:\n%s", text, n, log)
}

// A machine under systemd: started means that its monitor answers; its sockets are the
// group's; it pings the watchdog, and is started anew when it hangs; to stop it the
// power button is pressed, whoever holds the monitor.
func TestUnderSystemd(t *testing.T) {
	m := startManager(t)
	m.must("systemctl", "start", "govmd@web")
	equal(t, "status", m.must("/usr/local/bin/govmctl", "web", "status"), "running")
	equal(t, "who runs it", m.must("stat", "-c", "%U", "/proc/"+m.property("MainPID")), "govmd")
	equal(t, "folder of the sockets", m.must("stat", "-c", "%U:%G %a", "/run/govmd/web"), "govmd:govmd 750")
	for _, name := range []string{"qmp", "events", "console"} {
		equal(t, name, m.must("stat", "-c", "%U:%G %a %F", "/run/govmd/web/"+name), "govmd:govmd 770 socket")
	}
	m.await("WatchdogTimestampMonotonic", m.property("WatchdogTimestampMonotonic"))
	m.consoleSays(guestUp, 1)
	equal(t, "restarts", m.property("NRestarts"), "0")

	hung := m.property("MainPID")
	m.must("kill", "-STOP", hung)
	m.consoleSays(guestUp, 2)
	equal(t, "restarts", m.property("NRestarts"), "1")
	if now := m.property("MainPID"); now == hung || now == "0" {
		t.Errorf("the process is %s, was %s", now, hung)
	}

	holder, err := vmtest.DialQMP(m.ctx, m.path("/run/govmd/web/qmp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	m.must("systemctl", "stop", "govmd@web")
	if _, err := holder.WaitEvent(m.ctx, "POWERDOWN"); err != nil {
		t.Error(err)
	}
	m.consoleSays(guestDown, 1)
	for name, want := range map[string]string{"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"} {
		equal(t, name, m.property(name), want)
	}
	if out, err := m.run("ls", "/run/govmd/web"); err == nil {
		t.Errorf("left behind: %s", out)
	}
}
