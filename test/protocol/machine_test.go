package protocol

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// machineDifferences are lines of testdata/machine.txt whose answers differ from
// QEMU's, and why.
var machineDifferences = map[string]string{
	`query-tpm-models`:                          "there is no TPM of any model yet",
	`query-tpm-types`:                           "nor a back end for one",
	`query-command-line-options {"option": ""}`: "QEMU has a group of options without a name, which is an accident",
}

// variousMembers are members whose values differ from run to run or program to program.
var variousMembers = map[string]string{
	"thread-id": "of the process",
	"irq":       "the PIIX4's power management function has interrupt 9 wired; firmware tells QEMU's",
	"qom-path":  "an interrupt controller is part of its vCPU, not a device of its own",
}

// plain takes such members' values out of an answer, but for those of topologies,
// which are small.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if _, ok := variousMembers[k]; ok && v["core-id"] == nil {
				v[k] = "..."
				continue
			}
			v[k] = plain(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plain(e)
		}
		if strings.Contains(fmt.Sprint(v), "type:chardev") { // of query-yank: in the order in which options were read
			slices.SortFunc(v, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
	return v
}

// What is asked about a machine is answered as QEMU does, events included.
func TestMachineIsQEMUs(t *testing.T) {
	text, err := os.ReadFile("testdata/machine.txt")
	if err != nil {
		t.Fatal(err)
	}
	govmd, qemu := programs(t)
	var talkers []*talker
	for i, program := range []string{govmd, qemu} {
		dir := t.TempDir()
		accel := []string{"qtest", "tcg"}[i]
		s := startWith(t, program, []string{"-M", "pc", "-accel", accel, "-m", "64", "-S", "-nodefaults", "-display", "none",
			"-chardev", "socket,id=s1,server=on,wait=off,path=" + filepath.Join(dir, "s1")})
		s.result("qmp_capabilities")
		talkers = append(talkers, &talker{s, dir})
	}
	saved := func() (files [2][]byte) {
		for i, s := range talkers {
			files[i], _ = os.ReadFile(filepath.Join(s.dir, "file")) // there is none before the first
		}
		return files
	}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		command, args, _ := strings.Cut(line, " ")
		request := `{"execute": "` + command + `"`
		if args != "" {
			request += `, "arguments": ` + args
		}
		var answers [2]any
		for j, s := range talkers {
			answers[j] = plain(any(s.say(strings.ReplaceAll(request, "FILE", filepath.Join(s.dir, "file")) + "}")))
		}
		if _, ok := machineDifferences[line]; ok {
			if reflect.DeepEqual(answers[0], answers[1]) {
				t.Errorf("testdata/machine.txt:%d: %s: the answers do not differ any more", i+1, line)
			}
			continue
		}
		if !reflect.DeepEqual(answers[0], answers[1]) {
			t.Errorf("testdata/machine.txt:%d: %s brings\n%.600s, from QEMU\n%.600s", i+1, line, fmt.Sprint(answers[0]), fmt.Sprint(answers[1]))
		}
		if files := saved(); strings.Contains(command, "memsave") && !bytes.Equal(files[0], files[1]) {
			t.Errorf("testdata/machine.txt:%d: after %s the files are not the same: %d bytes, QEMU's %d", i+1, line, len(files[0]), len(files[1]))
		}
	}
}
