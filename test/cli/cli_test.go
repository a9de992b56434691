// Package cli has the tests of the program as its users see it: options, help,
// bad input, signals, the terminal, and what happens at the end.
package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program is the binary under test, built by TestMain.
var program string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cli")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = os.Getenv("GOVMD")
	if program == "" {
		program = filepath.Join(dir, "govmd")
		build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "govmd/cmd/govmd")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		os.Setenv("GOVMD", program) // for vmtest, which runs QEMU with VM=qemu
	}
	return m.Run()
}

// limit bounds each run of the program. What takes so long hangs.
const limit = 20 * time.Second

// result is what a run of the program came to.
type result struct {
	stdout, stderr string
	status         int
}

// runIn runs the program in a folder until it ends by itself.
func runIn(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return runCommand(t, dir, program, args...)
}

// findQEMU returns the name of the program that ours is compared with.
func findQEMU(t *testing.T) string {
	t.Helper()
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Fatalf("QEMU is what govmd is compared with: %v", err)
	}
	return qemu
}

// runShell runs what is to start the program in the end.
func runShell(t *testing.T, dir, script string) result {
	t.Helper()
	return runCommand(t, dir, "/bin/sh", "-c", script)
}

func runCommand(t *testing.T, dir, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var status *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &status) {
		t.Fatalf("%q: %v, %v\n%s", args, err, ctx.Err(), stderr.String())
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// files lists a folder, with sizes.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %v %d", e.Name(), info.Mode(), info.Size()))
	}
	return strings.Join(lines, "\n")
}
