package initramfs

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// The archive is read back by busybox's cpio, which is not ours.
func TestWriter(t *testing.T) {
	var archive bytes.Buffer
	w := NewWriter(&archive)
	w.File("/etc/conf/name", 0o640, []byte("odd"))
	w.File("etc/conf/empty", 0o644, nil)
	w.Symlink("bin", "usr/bin")
	w.Dir("/etc") // already there
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command("busybox", "cpio", "-i", "-d")
	cmd.Dir, cmd.Stdin = dir, &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(dir, "etc/conf/name"))
	if err != nil || string(got) != "odd" {
		t.Errorf("file has %q, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "etc/conf/name")); err != nil || info.Mode() != 0o640 {
		t.Errorf("file's info is %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "etc/conf/empty")); err != nil || info.Size() != 0 {
		t.Errorf("empty file's info is %v, %v", info, err)
	}
	if target, err := os.Readlink(filepath.Join(dir, "bin")); err != nil || target != "usr/bin" {
		t.Errorf("link goes to %q, %v", target, err)
	}
}

func TestWriterCopyMissing(t *testing.T) {
	w := NewWriter(&bytes.Buffer{})
	w.Copy("x", filepath.Join(t.TempDir(), "missing"))
	if err := w.Close(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Close returned %v", err)
	}
}

func TestModules(t *testing.T) {
	dir := t.TempDir()
	modules := filepath.Join(dir, "lib/modules/1.0")
	if err := os.MkdirAll(modules, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(dir, "release"): "1.0\n",
		filepath.Join(modules, "modules.dep"): "kernel/a.ko: kernel/b-x.ko kernel/c.ko\n" +
			"kernel/b-x.ko: kernel/c.ko\nkernel/c.ko:\nkernel/d.ko: kernel/c.ko\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	k, err := OpenKernel(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := k.Modules("a", "b_x", "d")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, ModuleName(f))
	}
	if want := []string{"c", "b_x", "a", "d"}; !slices.Equal(names, want) {
		t.Errorf("order is %v, want %v", names, want)
	}
	if _, err := k.Modules("nothing"); !errors.Is(err, ErrNoModule) {
		t.Errorf("a missing module gives %v", err)
	}
}
