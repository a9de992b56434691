package blocktest

import (
	"os/exec"
	"testing"

	"govmd/internal/block"
)

// Backend returns a back end with a node in it that takes perm and shares everything.
func Backend(t testing.TB, g *block.Graph, n *block.Node, perm block.Perm) *block.Backend {
	t.Helper()
	b, err := g.NewBackend("")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetPerms(perm, block.PermAll); err != nil {
		t.Fatal(err)
	}
	if err := b.InsertMedium(n); err != nil {
		t.Fatal(err)
	}
	return b
}

// QemuIO starts qemu-io and returns when it has its image open, which it keeps until
// end is called.
func QemuIO(t testing.TB, args ...string) (end func()) {
	t.Helper()
	cmd := exec.Command("qemu-io", args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = in.Write([]byte("length\n")) // what it answers says that it has the image
	if _, err := out.Read(make([]byte, 256)); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
}
