package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseOptions(t *testing.T) {
	t.Setenv("NESTED_SCRATCH", "")
	o, err := parseOptions([]string{"--memory", "512", "--cpus=1", "--timeout", "7", "--tty",
		"--forward", "/a=/b", "--", "cmd", "--flag"})
	if err != nil {
		t.Fatal(err)
	}
	if o.memoryMiB != 512 || o.cpus != 1 || o.timeout != 7*time.Second || !o.tty ||
		len(o.forwards) != 1 || o.forwards[0] != (forward{"/a", "/b"}) || strings.Join(o.argv, " ") != "cmd --flag" {
		t.Errorf("options are %+v", o)
	}
	for _, args := range [][]string{
		{},
		{"--memory", "1", "cmd"},
		{"--cpus", "0", "cmd"},
		{"--timeout", "-1", "cmd"},
		{"--forward", "/a", "cmd"},
		{"--scratch", "/no/such/folder", "cmd"},
	} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("no error for %q", args)
		}
	}
}

// nested is a call of scripts/nested.
func nested(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	script, err := filepath.Abs("../../scripts/nested")
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(script, args...)
}

func exitStatus(t *testing.T, err error) int {
	t.Helper()
	var failed *exec.ExitError
	if err == nil {
		return 0
	}
	if !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return failed.ExitCode()
}

// The nested hosts of the subtests run at the same time.
func TestNested(t *testing.T) {
	if os.Getenv("GOVMD_TEST_NESTED") == "" {
		t.Skip("starts nested hosts: set GOVMD_TEST_NESTED=1 to run it, as make test does")
	}
	t.Run("streams and status", func(t *testing.T) {
		t.Parallel()
		cmd := nested(t, "sh", "-c", `cat; printf 'a\r\n\000b'; echo oops >&2; test -c /dev/kvm && exit 7`)
		cmd.Dir = "/usr/share"
		cmd.Stdin = strings.NewReader("given\n")
		var out, diag bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &diag
		if status := exitStatus(t, cmd.Run()); status != 7 {
			t.Errorf("status is %d", status)
		}
		if out.String() != "given\na\r\n\x00b" {
			t.Errorf("stdout is %q", &out)
		}
		if diag.String() != "oops\n" {
			t.Errorf("stderr is %q", &diag)
		}
	})
	t.Run("folders", func(t *testing.T) {
		t.Parallel()
		scratch, here := t.TempDir(), t.TempDir()
		cmd := nested(t, "--scratch", scratch, "sh", "-c",
			`pwd >/scratch/dir && echo kept >"$NESTED_SCRATCH/file" && echo lost >lost && cat lost`)
		cmd.Dir = here
		if out, err := cmd.Output(); err != nil || string(out) != "lost\n" {
			t.Fatalf("stdout is %q, %v", out, err)
		}
		if kept, err := os.ReadFile(filepath.Join(scratch, "file")); string(kept) != "kept\n" {
			t.Errorf("the file in the scratch folder has %q, %v", kept, err)
		}
		if dir, _ := os.ReadFile(filepath.Join(scratch, "dir")); string(dir) != here+"\n" {
			t.Errorf("the command ran in %q, want %q", dir, here)
		}
		if _, err := os.Stat(filepath.Join(here, "lost")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a file outside the scratch folder stayed: %v", err)
		}
	})
	t.Run("time limit", func(t *testing.T) {
		t.Parallel()
		cmd := nested(t, "--timeout", "1", "sh", "-c", `trap 'echo caught' QUIT; sleep 1000; echo after`)
		out, err := cmd.Output()
		if status := exitStatus(t, err); status != exitTimeout {
			t.Errorf("status is %d", status)
		}
		if !strings.Contains(string(out), "caught") {
			t.Errorf("the command was not told: %q", out)
		}
	})
	t.Run("kernel panic", func(t *testing.T) {
		t.Parallel()
		// An emulated machine under load has been seen to end before its
		// console had anything: what counts is that the tool shows what is there.
		var diag bytes.Buffer
		for range 3 {
			cmd := nested(t, "sh", "-c", "echo c >/proc/sysrq-trigger")
			diag.Reset()
			cmd.Stderr = &diag
			if status := exitStatus(t, cmd.Run()); status != exitBroken {
				t.Errorf("status is %d", status)
			}
			if strings.Contains(diag.String(), "sysrq triggered crash") {
				return
			}
			t.Logf("no console: %s", &diag)
		}
		t.Error("stderr never has the console")
	})
	t.Run("no such command", func(t *testing.T) {
		t.Parallel()
		if status := exitStatus(t, nested(t, "no-such-command").Run()); status != exitNoEntry {
			t.Errorf("status is %d", status)
		}
	})
	t.Run("network and forwarding", func(t *testing.T) {
		t.Parallel()
		outer := filepath.Join(t.TempDir(), "s")
		cmd := nested(t, "--forward", outer+"=/run/inner", "sh", "-c",
			`ip tuntap add tap0 mode tap && ip link add br0 type bridge && ip netns add x &&
			 modprobe vhost_net && exec socat UNIX-LISTEN:/run/inner EXEC:'tr a-z A-Z',nofork`)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var answer [5]byte
		retry := time.NewTicker(50 * time.Millisecond)
		defer retry.Stop()
		for range 1200 {
			if conn, err := net.Dial("unix", outer); err == nil {
				conn.Write([]byte("hello"))
				conn.(*net.UnixConn).CloseWrite()
				n, _ := conn.Read(answer[:]) // nothing while nobody listens inside
				conn.Close()
				if n > 0 {
					break
				}
			}
			<-retry.C
		}
		if string(answer[:]) != "HELLO" {
			t.Errorf("the answer is %q", answer)
		}
		if status := exitStatus(t, cmd.Wait()); status != 0 {
			t.Errorf("status is %d", status)
		}
	})
}
