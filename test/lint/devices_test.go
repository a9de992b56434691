package lint

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// elsewhere says where a package is tested that is a part of others' devices.
var elsewhere = map[string]string{
	"ata":    "ide",          // the drives of both controllers
	"scsi":   "virtio/vscsi", // what its adapter's bus has
	"virtio": "virtio/rng",   // what all virtio devices have in common
}

var (
	registers = regexp.MustCompile(`(?m)^\t*(device|virtio|pci|isa)\.Register\(`)
	stateful  = regexp.MustCompile(`(?m)^func \(\w+ \*?\w+\) States\(\)`)
	fuzzes    = regexp.MustCompile(`devtest\.FuzzIO\(`)
	roundTrip = regexp.MustCompile(`devtest\.RoundTrip\(`)
	fuzzState = regexp.MustCompile(`devtest\.FuzzState\(`)
)

// Every device is driven by random accesses; if it has state, the state makes a
// round trip, and damaged states are loaded.
func TestDevicesAreFuzzed(t *testing.T) {
	root := filepath.Join("..", "..", "internal", "device")
	checked := 0
	err := filepath.WalkDir(root, func(dir string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, dir)
		if err != nil || !e.IsDir() || name == "." || strings.HasSuffix(name, "test") {
			return err
		}
		code := sources(t, dir, false)
		hasState := stateful.MatchString(code)
		if !hasState && !registers.MatchString(code) {
			return nil
		}
		checked++
		if other, ok := elsewhere[filepath.ToSlash(name)]; ok {
			dir = filepath.Join(root, other)
		}
		tests := sources(t, dir, true)
		if !fuzzes.MatchString(tests) {
			t.Errorf("%s: no fuzz test accesses the device at random (devtest.FuzzIO)", name)
		}
		if hasState && !roundTrip.MatchString(tests) {
			t.Errorf("%s: no test saves, loads and saves its state (devtest.RoundTrip)", name)
		}
		if hasState && !fuzzState.MatchString(tests) {
			t.Errorf("%s: no fuzz test loads damaged states (devtest.FuzzState)", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 20 {
		t.Errorf("only %d packages of devices were found", checked)
	}
}

// sources returns the text of a folder's Go files, tests or all others.
func sources(t *testing.T, dir string, tests bool) string {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") != tests {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
