// Package lint holds what the compiler does not check: the floors of the house.
package lint

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors lists who may import whom, lowest floor first (docs/architecture.md).
// A package belongs to the longest prefix that names it. It may import what is
// on lower floors, and of its own floor what beside names.
var floors = []struct {
	packages []string
	beside   []string
}{
	// Vocabulary: values and small mechanisms that everybody speaks with.
	{packages: []string{"trace", "glob"}, beside: []string{"glob"}},
	{packages: []string{"event", "clock", "lane", "worker"}},
	{packages: []string{"option", "qmp", "object"}, beside: []string{"option", "qmp"}},
	{packages: []string{"runstate", "state", "job", "fd", "sock", "kvm", "authz", "iothread", "throttle", "tracectl", "yank"}},
	{packages: []string{"memory", "chardev", "crypto"}},
	{packages: []string{"display", "block", "net"}},
	{packages: []string{"device"}},
	{packages: []string{"machine", "migrate"}},
	{packages: []string{"monitor"}},
	{packages: []string{"ctl"}},
}

// exceptions narrow what the floors would allow.
var forbidden = map[string][]string{
	"memory":  {"kvm"},
	"device":  {"kvm"},
	"monitor": {"machine", "migrate", "device", "memory", "block", "net", "display", "kvm"},
	"migrate": {"device", "machine", "kvm"},
	"machine": {"migrate"},
	// It is beside the house: of a machine it knows what QMP says.
	"ctl": {
		"event", "clock", "lane", "worker", "object", "runstate", "state", "job", "fd", "sock", "kvm", "authz", "iothread",
		"throttle", "memory", "chardev", "crypto", "display", "block", "net", "device", "machine", "migrate", "monitor",
	},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func floorOf(path string) (floor int, top string) {
	top, _, _ = strings.Cut(strings.TrimPrefix(path, "govmd/internal/"), "/")
	for i, f := range floors {
		for _, p := range f.packages {
			if p == top {
				return i, top
			}
		}
	}
	return -1, top
}

func TestImportsGoDown(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "govmd/internal/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		checkPackage(t, p)
	}
	if seen < 10 {
		t.Errorf("only %d packages were seen", seen)
	}
}

func checkPackage(t *testing.T, p pkg) {
	t.Helper()
	floor, top := floorOf(p.ImportPath)
	if floor < 0 {
		t.Errorf("%s is on no floor: add it to this test and to docs/architecture.md", p.ImportPath)
		return
	}
	for _, imp := range p.Imports {
		if !strings.HasPrefix(imp, "govmd/") {
			continue
		}
		if !strings.HasPrefix(imp, "govmd/internal/") {
			t.Errorf("%s imports %s", p.ImportPath, imp)
			continue
		}
		below, impTop := floorOf(imp)
		switch {
		case impTop == top:
		case below > floor:
			t.Errorf("%s imports %s, which is on a higher floor", p.ImportPath, imp)
		case below == floor && !contains(floors[floor].beside, impTop):
			t.Errorf("%s imports %s, which is on the same floor", p.ImportPath, imp)
		}
		if contains(forbidden[top], impTop) {
			t.Errorf("%s must not import %s", p.ImportPath, imp)
		}
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
