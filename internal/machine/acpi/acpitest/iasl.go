package acpitest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// complaint is a line by which iasl says that something is wrong. Remarks and
// optimizations are not complaints.
var complaint = regexp.MustCompile(`(?i)^(error|warning)\s|\berror:|invalid|could not|unknown|terminates in the middle`)

// Disassemble has iasl disassemble a table and compile the result again, and
// fails the test if it finds an error or a warning on the way, or if the byte
// code of a DSDT comes out different. It returns the disassembly. Warnings that
// contain one of the allowed texts are passed over.
func Disassemble(t *testing.T, table Found, allowed ...string) string {
	t.Helper()
	iasl, err := exec.LookPath("iasl")
	if err != nil {
		t.Fatal("iasl is missing: install acpica-tools (scripts/deps does)")
	}
	dir := t.TempDir()
	base := filepath.Join(dir, strings.ToLower(table.Signature))
	if err := os.WriteFile(base+".dat", table.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(iasl, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		bad := err != nil
	lines:
		for _, line := range strings.Split(string(out), "\n") {
			if !complaint.MatchString(line) {
				continue
			}
			for _, text := range allowed {
				if strings.Contains(line, text) {
					continue lines
				}
			}
			bad = true
		}
		if bad {
			t.Errorf("%s: iasl %s: %v\n%s", table.Signature, strings.Join(args, " "), err, out)
		}
	}
	run("-d", base+".dat")
	source, err := os.ReadFile(base + ".dsl")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(source), "\n") {
		if strings.HasPrefix(line, "/****") || strings.Contains(line, "Invalid") {
			t.Errorf("%s: disassembly says: %s", table.Signature, line)
		}
	}
	run("-tc", "-oa", "-p", base+"2", base+".dsl")
	again, err := os.ReadFile(base + "2.aml")
	if err != nil {
		t.Fatal(err)
	}
	// The compiler writes its own name and version into the header.
	if len(again) != len(table.Data) || string(again[36:]) != string(table.Data[36:]) {
		t.Errorf("%s: compiled again it differs", table.Signature)
	}
	return string(source)
}
