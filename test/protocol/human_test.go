package protocol

import (
	"bufio"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// person is somebody at a human monitor.
type person struct {
	t       *testing.T
	program string
	conn    net.Conn
	r       *bufio.Reader
	dir     string
}

const humanPrompt = "(qemu) "

// greet starts a program with a human monitor and reads up to its first prompt.
func greet(t *testing.T, program string, options []string) *person {
	t.Helper()
	dir := t.TempDir()
	conn := called(t, program, options, filepath.Join(dir, "monitor"), func(*exec.Cmd) {})
	p := &person{t: t, program: program, conn: conn, r: bufio.NewReader(conn), dir: dir}
	p.until(humanPrompt)
	return p
}

// until reads up to the end of what is waited for.
func (p *person) until(end string) string {
	p.t.Helper()
	var got []byte
	for !strings.HasSuffix(string(got[max(0, len(got)-len(end)):]), end) {
		c, err := p.r.ReadByte()
		if err != nil {
			p.t.Fatalf("%s: %v after %q", p.program, err, got)
		}
		got = append(got, c)
	}
	return string(got)
}

// ask types a line and returns all that the terminal gets for it.
func (p *person) ask(line string) string {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(strings.ReplaceAll(line, "DIR", p.dir) + "\r")); err != nil {
		p.t.Fatal(err)
	}
	echo := p.until("\r\n")
	answer := p.until(humanPrompt)
	for _, v := range variousHuman {
		answer = v.re.ReplaceAllString(answer, v.with)
	}
	return strings.ReplaceAll(echo+answer, p.dir, "DIR")
}

// variousHuman is what differs between runs.
var variousHuman = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`thread_id=\d+`), "thread_id=N"},
	{regexp.MustCompile(` is 0x[0-9a-f]+`), " is 0xN"},
}

// humanOptions make a machine on which nothing executes.
func humanOptions(accel string) []string {
	return []string{"-M", "pc", "-accel", accel, "-S", "-nodefaults", "-display", "none", "-m", "64", "-name", "paul", "-uuid", "c4d1a1f2-0a3b-4f5e-9d0c-1122334455ff"}
}

// What a person at a terminal gets is what QEMU sends, byte by byte: echo, answers
// and prompts. Left out is what differs for good: govmd knows more keys (C-b, C-k, C-n,
// C-p, C-u) and fewer commands, and says at the monitor what is wrong with a word in
// quotation marks, where QEMU says that on its standard output.
func TestHumanAnswersAreQEMUs(t *testing.T) {
	govmd, qemu := programs(t)
	ours, theirs := greet(t, govmd, humanOptions("qtest")), greet(t, qemu, humanOptions("tcg"))
	for _, line := range []string{
		"", "  ", "foo", "foo bar", "info foo bar", "in", "stop now", "help stop", "? s", "help foo", "help info foo", "help help",
		"help x", "help xp", "help i", "help o", "help sum", "help memsave", "help info status", "help info uuid",
		"info status", "stop", "info status", "system_wakeup",
		"info name", "info uuid", "info kvm", "info cpus", "cpu 1", "cpu 0", "cpu", "cpu 0x100000000", "cpu x",
		"p 1+2", "p/x 0x10+1*3", "p/d -1", "p/u -1", "p/o 8", "p 8", "p/c 65", "p 7", "p/c 10", "p/c 39", "p/c 200", "p/x 0", "p/q 1",
		"p 1+2&3", "p 1|2*2", "p ~0", "p (1+2)*3", "p (1", "p 1/0", "p 5%0", "p 5%3", "p $foo", "p 'a'", "p 'a", "p ''",
		"p 99999999999999999999", "p abc", "p 1k", "p 1 2", "p", "p 0777",
		"x", "xp/4wx 0xfffffff0", "xp/3bd 0xfffffff0", "xp/3c 0xfffffff0", "xp/3wc 0xfffffff0", "xp/5hd 0xfffffff0", "xp/5ho 0xfffffff0",
		"xp/3gu 0xfffffff0", "xp/2gx 0", "xp/20bx 0xfffffff0", "xp/q 1", "xp 0x100000000000", "sum 0xffff0 16", "sum 0",
		"i/1bx 0x70", "i/h 0x3f8", "i/w 0x3f8", "i 0x70.1", "i", "o/h 0x80 0x1234", "o 0x80",
		"gpa2hva 0", "gpa2hva 0xfffffffffffff", "gpa2hpa 0xfffffffffffff", "help gpa2hpa",
		"boot_set", "boot_set x", "boot_set cd", "boot_set cdz", "boot_set acdn", "boot_set e", "help boot_set",
		"info mem", "info tlb", "info balloon", "balloon 3", "balloon", "help balloon", "info vm-generation-id", "info registers 3", "info registers -q",
		`memsave 0 16`, "memsave 0 16 /nonexist/x", `pmemsave 0 16`,
		"sendkey", "sendkey foo", "sendkey ctrl-", "sendkey -", "sendkey a-foo-b", "sendkey 0x1e", "sendkey <", "sendkey a 0", "sendkey a -5",
		"help sendkey", "mouse_move 1", "mouse_move 1 2", "help mouse_move", "mouse_set 7", "mouse_set 2", "help mouse_set", "mouse_button x",
		"mouse_button 1", "info mice", "info tpm", "watchdog_action", "watchdog_action none",
		"device_frobnicate x", "info version now", "chardev-remove", "info iothreads", "object_del nosuch", "chardev-remove nosuch",
		"a\x01b\x05c\x1b[D\x1b[Dd", "one two\x17\x17", "x\x1b[A\x1b[A\x1b[B\x05y", "zzz\x7f\x7f\x08", "a\x1b[Db\x1b[Cc\x1b[1~d\x1b[4~e\x1b[1~\x1b[3~",
		"inf\tver\tx", "ab\x0ccd", "a\x01\x04", "\xc3\xa9",
	} {
		if a, b := ours.ask(line), theirs.ask(line); a != b {
			t.Errorf("%q:\ngovmd %q\nQEMU  %q", line, a, b)
		}
	}
}
