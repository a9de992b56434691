package acpitest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// failure is a line by which acpiexec says that the byte code is wrong.
var failure = regexp.MustCompile(`(?m)^.*(ACPI (Error|Warning|BIOS)|AE_[A-NP-Z]).*$`)

// Execute has ACPICA's interpreter, which is that of Linux, load a DSDT and carry
// out commands such as `execute \_SB.LNKA._STA`, and fails the test if it finds an
// error. Registers are memory of the interpreter's own, whose bytes are all fill
// at first. Complaints that match except are passed over; it may be nil. It
// returns what the interpreter says.
func Execute(t *testing.T, dsdt Found, fill byte, except *regexp.Regexp, commands ...string) string {
	t.Helper()
	acpiexec, err := exec.LookPath("acpiexec")
	if err != nil {
		t.Fatal("acpiexec is missing: install acpica-tools (scripts/deps does)")
	}
	name := filepath.Join(t.TempDir(), "dsdt.aml")
	if err := os.WriteFile(name, dsdt.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(acpiexec, "-fv", strconv.Itoa(int(fill)), "-b", strings.Join(commands, ";"), name).CombinedOutput()
	if err != nil {
		t.Fatalf("acpiexec: %v\n%s", err, out)
	}
	for _, line := range failure.FindAllString(string(out), -1) {
		if except == nil || !except.MatchString(line) {
			t.Errorf("acpiexec: %s", line)
		}
	}
	return string(out)
}
