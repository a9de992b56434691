package cli

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// install installs the program below a folder and returns it.
func install(t *testing.T) string {
	t.Helper()
	root := shortDir(t)
	cmd := exec.Command("make", "-s", "install")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOVMD="+program, "PREFIX="+root+"/usr", "SYSCONFDIR="+root+"/etc", "RUNDIR="+root+"/run", "LOGDIR="+root+"/log")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return root
}

// DESTDIR is put before every path, and is in no file.
func TestInstallDestdir(t *testing.T) {
	dest := shortDir(t)
	cmd := exec.Command("make", "-s", "install", "DESTDIR="+dest, "PREFIX=/usr")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOVMD="+program)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{
		"/usr/bin/govmd", "/usr/bin/govmctl", "/usr/share/man/man1/govmd.1", "/usr/share/man/man1/govmctl.1",
		"/usr/lib/systemd/system/govmd@.service", "/usr/lib/sysusers.d/govmd.conf", "/etc/govmd", "/etc/logrotate.d/govmd",
		"/usr/share/bash-completion/completions/govmd", "/usr/share/bash-completion/completions/govmctl",
	} {
		if _, err := os.Stat(dest + name); err != nil { // follows links
			t.Error(err)
		}
	}
	unit, _ := os.ReadFile(dest + "/usr/lib/systemd/system/govmd@.service")
	if !strings.Contains(string(unit), "ExecStart=/usr/bin/govmd ") || strings.Contains(string(unit), dest) {
		t.Errorf("unit:\n%s", unit)
	}
	for _, name := range []string{"/usr/lib/systemd/system/govmd@.service", "/etc/logrotate.d/govmd"} {
		if text, _ := os.ReadFile(dest + name); strings.Contains(strings.ReplaceAll(string(text), "@system-service", ""), "@/") ||
			strings.Contains(string(text), "DIR@") {
			t.Errorf("%s has a path that is not filled in:\n%s", name, text)
		}
	}
}

// systemd and man find nothing wrong with what is installed, and the manual has
// every option.
func TestInstalledFiles(t *testing.T) {
	root := install(t)
	man := root + "/usr/share/man"
	instance := filepath.Join(root, "usr/lib/systemd/system/govmd@web.service")
	verify := exec.Command("systemd-analyze", "verify", instance)
	verify.Env = append(os.Environ(), "MANPATH="+man)
	if out, err := verify.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	var manual string
	for _, page := range []string{"govmd.1", "govmctl.1"} {
		cmd := exec.Command("man", "--warnings", "-l", filepath.Join(man, "man1", page))
		cmd.Env = append(os.Environ(), "MANWIDTH=100", "LC_ALL=C")
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil || said.Len() > 0 {
			t.Errorf("%s: %v\n%s", page, err, said.String())
		}
		manual += string(out)
	}
	for line := range strings.Lines(help(t, program, "-help")) {
		if option, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(line, "-") && !strings.Contains(manual, " "+option) {
			t.Errorf("%s is not in the manual", option)
		}
	}
}

// notifySocket plays the service manager.
type notifySocket struct {
	t    *testing.T
	conn *net.UnixConn
}

func listenNotify(t *testing.T, name string) *notifySocket {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &notifySocket{t, conn}
}

// next returns the next message.
func (n *notifySocket) next() string {
	n.t.Helper()
	if err := n.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		n.t.Fatal(err)
	}
	var buf [4096]byte
	k, err := n.conn.Read(buf[:])
	if err != nil {
		n.t.Fatal(err)
	}
	return string(buf[:k])
}

// expect waits for a message that has the line, past pings.
func (n *notifySocket) expect(line string) {
	n.t.Helper()
	for {
		got := n.next()
		if slices.Contains(strings.Split(got, "\n"), line) {
			return
		}
		if got != "WATCHDOG=1" {
			n.t.Fatalf("%q, want %q", got, line)
		}
	}
}

// The service manager hears when the machine is there, that it lives, and of its
// end.
func TestNotify(t *testing.T) {
	for _, abstract := range []bool{false, true} {
		dir := shortDir(t)
		name := filepath.Join(dir, "notify")
		if abstract {
			name = "@" + name
		}
		manager := listenNotify(t, name)
		t.Setenv("NOTIFY_SOCKET", name)
		t.Setenv("WATCHDOG_USEC", "100000")
		p := begin(t, "-M", "pc", "-accel", "qtest", "-name", "the\nguest", "-qmp", qmpSocket)
		manager.expect("READY=1")
		conn, err := net.Dial("unix", p.path("qmp")) // once: it listens
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range 3 {
			if got := manager.next(); got != "WATCHDOG=1" {
				t.Errorf("%q", got)
			}
		}
		p.signal(unix.SIGTERM)
		manager.expect("STOPPING=1")
		p.expectEnd(0)
	}
}

// A machine that cannot be made is not announced; what the service manager says
// is checked; one that is not there costs a warning.
func TestNotifyFailures(t *testing.T) {
	dir := shortDir(t)
	manager := listenNotify(t, filepath.Join(dir, "notify"))
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	if got := runIn(t, dir, "-M", "none", "-qmp", "unix:none/x,server=on"); got.status != 1 {
		t.Errorf("status %d", got.status)
	}
	if got := manager.next(); got != "STOPPING=1" {
		t.Errorf("%q", got)
	}
	t.Setenv("WATCHDOG_USEC", "never")
	if got := runIn(t, dir, "-M", "none"); got.status != 1 || got.stderr != "govmd: WATCHDOG_USEC: 'never' is no time in microseconds\n" {
		t.Errorf("status %d, %q", got.status, got.stderr)
	}
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("NOTIFY_SOCKET", "relative")
	if got := runIn(t, dir, "-M", "none"); got.status != 1 || !strings.HasPrefix(got.stderr, "govmd: NOTIFY_SOCKET: 'relative' is neither") {
		t.Errorf("status %d, %q", got.status, got.stderr)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "none"))
	p := begin(t, "-M", "none", "-qmp", qmpSocket)
	p.expectStderr("warning: service manager: dial unixgram")
	p.signal(unix.SIGTERM)
	p.expectEnd(0)
}

// unitCommand returns a command of the installed unit, for the instance web.
func unitCommand(t *testing.T, root, key string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system/govmd@.service"))
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.ReplaceAll(strings.ReplaceAll(string(text), "\\\n", " "), "%i", "web")
	for line := range strings.Lines(unit) {
		if command, ok := strings.CutPrefix(line, key+"="); ok {
			return strings.Fields(command)
		}
	}
	t.Fatalf("the unit has no %s", key)
	return nil
}

// The unit's commands do what systemd is told that they do: start and say so, be
// there for govmctl by name, and stop, by force where the guest does not listen.
func TestUnit(t *testing.T) {
	root := install(t)
	for _, dir := range []string{"run/govmd/web", "log/govmd"} { // RuntimeDirectory=, LogsDirectory=
		if err := os.MkdirAll(filepath.Join(root, dir), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	config := "[machine]\ntype = \"pc\"\naccel = \"qtest\"\n[memory]\nsize = \"32M\"\n[chardev \"extra\"]\nbackend = \"null\"\n"
	if err := os.WriteFile(filepath.Join(root, "etc/govmd/web.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	manager := listenNotify(t, filepath.Join(root, "notify"))
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(root, "run")) // where govmctl looks beside /run
	pre := unitCommand(t, root, "ExecStartPre")
	if got := runCommand(t, root, pre[0], pre[1:]...); got.status != 0 {
		t.Fatal(got.stderr)
	}
	start := slices.DeleteFunc(unitCommand(t, root, "ExecStart"), func(s string) bool { return s == "$GOVMD_OPTIONS" })
	cmd := exec.Command(start[0], start[1:]...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(root, "notify"))
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // fails if it has ended
	manager.expect("READY=1")
	ctl := filepath.Join(root, "usr/bin/govmctl")
	for _, c := range []struct{ args, want string }{
		{"list", "web\n"}, {"web status", "running\n"}, {"web query-name --json", `{"name": "web"}` + "\n"},
		{"web query-memory-size-summary --json", `{"base-memory": 33554432, "plugged-memory": 0}` + "\n"},
	} {
		if got := runCommand(t, root, ctl, strings.Fields(c.args)...); got.stdout != c.want {
			t.Errorf("govmctl %s: %q, %q, want %q", c.args, got.stdout, got.stderr, c.want)
		}
	}
	checkCompletion(t, root)
	checkWatching(t, root)
	stop := unitCommand(t, root, "ExecStop")
	stop[0] = strings.TrimPrefix(stop[0], "-") // systemd: its failure is no failure
	i := slices.Index(stop, "--wait")
	if i < 0 {
		t.Fatalf("ExecStop=%q", stop)
	}
	stop[i+1] = "0.1" // there is no guest that would listen
	stopped := runCommand(t, root, stop[0], stop[1:]...)
	manager.expect("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, said.String())
	}
	if stopped.status != 0 && stopped.status != 4 {
		t.Errorf("ExecStop: status %d, %s", stopped.status, stopped.stderr)
	}
	if left := files(t, filepath.Join(root, "run/govmd/web")); !strings.HasPrefix(left, "console.log L") || strings.Contains(left, "\n") {
		t.Errorf("left behind:\n%s", left)
	}
	if _, err := os.Stat(filepath.Join(root, "run/govmd/web/console.log")); err != nil {
		t.Errorf("the console's log is not where the link says: %v", err)
	}
}

// checkWatching follows the events of the machine web while others give commands.
func checkWatching(t *testing.T, root string) {
	t.Helper()
	ctl := filepath.Join(root, "usr/bin/govmctl")
	watcher := exec.Command(ctl, "web", "events", "--follow", "--timeout", fmt.Sprint(limit.Seconds()))
	out, err := watcher.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watcher.Start(); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1)
	go func() {
		defer close(seen)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasSuffix(lines.Text(), " STOP") {
				seen <- lines.Text()
				return
			}
		}
	}()
	for watching := true; watching; { // when it is there, it sees one
		for _, command := range []string{"stop", "cont"} {
			if got := runCommand(t, root, ctl, "web", command); got.status != 0 {
				t.Fatalf("%s beside a client that watches: %q", command, got.stderr)
			}
		}
		select {
		case line, ok := <-seen:
			if !ok {
				t.Errorf("events --follow ended")
			}
			watching = line == "" && ok
		default:
		}
	}
	_ = watcher.Process.Kill() // it follows
	_ = watcher.Wait()
}

// checkCompletion has bash complete lines about the machine web, as a user at the
// terminal would.
func checkCompletion(t *testing.T, root string) {
	t.Helper()
	ctl, vmm := filepath.Join(root, "usr/bin/govmctl"), filepath.Join(root, "usr/bin/govmd")
	for _, c := range []struct{ function, program, line, want string }{
		{"_govmctl", ctl, "govmctl w", "web"},
		{"_govmctl", ctl, "govmctl web powerd", "powerdown"},
		{"_govmctl", ctl, "govmctl web query-memory-si", "query-memory-size-summary"},
		{"_govmctl", ctl, "govmctl web query-memory-size-summary ", ""},
		{"_govmctl", ctl, "govmctl web chardev-send-break ", "id="},
		{"_govmctl", ctl, "govmctl web ringbuf-read for", "format="},
		{"_govmctl", ctl, "govmctl web ringbuf-read format=", "utf8 base64"},
		{"_govmctl", ctl, "govmctl web ringbuf-read format=b", "base64"},
		{"_govmctl", ctl, "govmctl nobody query-", ""},
		{"_govmd", vmm, "govmd ctl web stat", "status"},
		{"_govmd", vmm, "govmd -daem", "-daemonize"},
		{"_govmd", vmm, "govmd -M micro", "microvm microvm-7.2"},
		{"_govmd", vmm, "govmd -object rng-r", "rng-random"},
	} {
		script := fmt.Sprintf(". %s/usr/share/bash-completion/completions/govmctl; COMP_LINE='%s'; COMP_POINT=${#COMP_LINE}; "+
			"COMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:'; %s %s; echo \"${COMPREPLY[*]}\"", root, c.line, c.function, c.program)
		got := runCommand(t, root, "bash", "-c", script)
		if got.stdout != c.want+"\n" || got.stderr != "" {
			t.Errorf("%q is completed to %q, want %q; %s", c.line, strings.TrimSpace(got.stdout), c.want, got.stderr)
		}
	}
}
