package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"govmd/test/vmtest"
)

// What a guest writes is in the memory that it was given, where others see it.
func TestKVMGuestWritesAreSeen(t *testing.T) {
	const note, addr = "written by the guest", 0x5000
	path := filepath.Join(t.TempDir(), "ram")
	for name, args := range map[string][]string{
		"memory-backend-file":  {"-object", "memory-backend-file,id=ram,size=16M,share=on,mem-path=" + path, "-machine", "memory-backend=ram"},
		"memory-backend-memfd": {"-object", "memory-backend-memfd,id=ram,size=16M,prealloc=on", "-machine", "memory-backend=ram"},
		// The low half of memory is in one back end, the other in another.
		"two nodes": {"-object", "memory-backend-file,id=ram,size=8M,share=on,mem-path=" + path + "2", "-object", "memory-backend-ram,id=b,size=8M",
			"-numa", "node,memdev=ram,cpus=0", "-numa", "node,memdev=b"},
	} {
		t.Run(name, func(t *testing.T) {
			vm := boot(t, vmtest.NewROM().Store(addr, note).Print("done\n").Halt(), args...)
			vm.Execute("cont", nil, nil)
			vm.Expect("done\n")
			buf := make([]byte, len(note))
			f := openRAM(t, vm.PID(), path, name)
			if _, err := f.ReadAt(buf, addr); err != nil || !bytes.Equal(buf, []byte(note)) {
				t.Errorf("the file has %q (%v)", buf, err)
			}
			_ = f.Close()
			if err := vm.QMP().Execute(vm.Context(), "object-del", map[string]string{"id": "ram"}, nil); err == nil {
				t.Error("memory is taken from under the guest")
			}
			vm.Execute("quit", nil, nil)
			vm.ExpectExit(0)
		})
	}
}

// openRAM opens what the guest's memory is in: a file with a name, or one of the
// program's descriptors.
func openRAM(t *testing.T, pid int, path, name string) *os.File {
	t.Helper()
	if name == "two nodes" {
		path += "2"
	}
	if name == "memory-backend-memfd" {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		fds, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range fds {
			if to, _ := os.Readlink(filepath.Join(dir, e.Name())); to == "/memfd:ram (deleted)" {
				path = filepath.Join(dir, e.Name())
			}
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
