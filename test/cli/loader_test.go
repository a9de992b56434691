package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"govmd/test/vmtest"
)

// memoryOf returns the guest's low memory as a program that is started with args
// has it. What firmware has for itself is left out.
func memoryOf(t *testing.T, name string, args []string) []byte {
	t.Helper()
	k := startTalk(t, name, append([]string{"-M", "pc", "-m", "32", "-S", "-display", "none"}, args...)...)
	k.message() // the greeting
	file := k.path("memory")
	arguments, err := json.Marshal(map[string]any{"val": 0, "size": 4 << 20, "filename": file})
	if err != nil {
		t.Fatal(err)
	}
	said := k.say(fmt.Sprintf(`{"execute": "qmp_capabilities"}{"execute": "pmemsave", "arguments": %s}`, arguments))
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; it says %v", err, said)
	}
	k.last(`{"execute": "quit"}`)
	clear(data[0xa0000:0x100000])
	return data
}

// What -device loader loads is where QEMU has it.
func TestLoaderIsQEMUs(t *testing.T) {
	qemu := findQEMU(t)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	image := elf(elfFields{})
	copy(image[0x1000:], "text of the image")
	hex := file("hex", []byte(":10010000214601360121470136007EFE09D2190140\n:00000001FF\n"))
	exe, raw := file("elf", image), file("raw", []byte("just some bytes"))
	for _, loaders := range [][]string{
		{
			"loader,addr=0x5000,data=0x1122334455667788,data-len=8",
			"loader,addr=0x5010,data=0x1122334455667788,data-len=3",
			"loader,addr=0x5020,data=0x1122334455667788,data-len=4,data-be=on",
			`{"driver":"loader","addr":20528,"data":4660,"data-len":8,"data-be":true}`,
			"loader,addr=0x200000,file=" + raw,
			"loader,addr=0x210001,file=" + raw + ",force-raw=on",
			`{"driver":"loader","addr":2228224,"file":"` + raw + `","force-raw":true}`,
			"loader,file=" + exe,
			"loader,file=" + exe + ",force-raw=on,addr=0x300000",
			"loader,file=" + hex,
			"loader,file=" + hex + ",force-raw=on,addr=0x310000",
		},
		// What says itself where it belongs goes there.
		{"loader,file=" + exe + ",addr=0x300000", "loader,file=" + hex + ",addr=0x310000"},
	} {
		var args []string
		for _, l := range loaders {
			args = append(args, "-device", l)
		}
		want := memoryOf(t, qemu, append(args, "-accel", "tcg"))
		got := memoryOf(t, program, append(args, "-accel", "qtest"))
		if len(want) != len(got) {
			t.Fatalf("%d bytes of memory, QEMU has %d", len(got), len(want))
		}
		for at := range want {
			if got[at] != want[at] {
				t.Errorf("%q: at %#x are % x, in QEMU % x", loaders, at, got[at:at+16], want[at:at+16])
				break
			}
		}
		if bytes.Count(want, []byte{0}) == len(want) {
			t.Error("nothing is loaded")
		}
	}
}

// A loader has a processor start where it says, again after each reset.
func TestKVMLoaderStartsProcessor(t *testing.T) {
	rom := vmtest.NewROM().Print("the reset vector\n").Halt().Label("elsewhere").Print("elsewhere\n").Halt()
	vm := boot(t, rom, "-device", fmt.Sprintf("loader,cpu-num=0,addr=%#x", rom.Offset("elsewhere")))
	for range 2 {
		vm.Execute("cont", nil, nil)
		vm.Expect("elsewhere\n")
		vm.Execute("stop", nil, nil)
		vm.Execute("system_reset", nil, nil)
	}
	if text := vm.Console.Text(); strings.Contains(text, "vector") {
		t.Errorf("the guest says %q", text)
	}
	vm.Execute("quit", nil, nil)
	vm.ExpectExit(0)
}
