package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A configuration file does what the options would.
func TestReadConfig(t *testing.T) {
	dir := shortDir(t)
	config := `# a machine
[machine]
  type = "pc"
  accel = "qtest"
[memory]
  size = "32M"
[smp-opts]
  cpus = "2"
[name]
  guest = "from, a file"
[chardev "monitor"]
  backend = "socket"
  path = "qmp"
  server = "on"
  wait = "off"
[mon]
  chardev = "monitor"
  mode = "control"
[object "rng"]
  qom-type = "rng-random"
  filename = "/dev/urandom"
[global]
  driver = "isa-debugcon"
  property = "iobase"
  value = "0xe8"
`
	if err := os.WriteFile(filepath.Join(dir, "vm.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d := beginDaemon(t, dir, "-readconfig", "vm.conf")
	q := d.dial("qmp")
	var name struct{ Name string }
	if err := q.Execute(t.Context(), "query-name", nil, &name); err != nil || name.Name != "from, a file" {
		t.Errorf("%+v, %v", name, err)
	}
	var cpus []any
	if err := q.Execute(t.Context(), "query-cpus-fast", nil, &cpus); err != nil || len(cpus) != 2 {
		t.Errorf("vCPUs %v, %v", cpus, err)
	}
	var memory struct {
		Base uint64 `json:"base-memory"`
	}
	if err := q.Execute(t.Context(), "query-memory-size-summary", nil, &memory); err != nil || memory.Base != 32<<20 {
		t.Errorf("%+v, %v", memory, err)
	}
	var file string
	if err := q.Execute(t.Context(), "qom-get", raw(`{"path": "/objects/rng", "property": "filename"}`), &file); err != nil || file != "/dev/urandom" {
		t.Errorf("rng: %q, %v", file, err)
	}
}

// Mistakes in a configuration file are found with file and line, and QEMU's exit
// status.
func TestReadConfigMistakes(t *testing.T) {
	qemu, noQEMU := exec.LookPath("qemu-system-x86_64")
	for _, c := range []struct{ text, want string }{
		{"[foo]\na = \"b\"\n", "vm.conf:1: There is no option group 'foo'"},
		{"\n[drives]\n", "vm.conf:2: There is no option group 'drives'; did you mean 'drive'?"},
		{"a = \"b\"\n", "vm.conf:1: no group defined"},
		{"[chardev \"a\"]\nbackend = \"stdoi\"\n", "vm.conf:1: group 'chardev': "},
		{"[device]\ndriver = \"nope\"\n", "'nope' is not a valid device model name"},
		{"[chardev \"a,b\"]\nbackend = \"null\"\n", "vm.conf:1: Parameter 'id' expects an identifier"},
		{"[chardev]\nbackend = \"null\"\n", "id"},
		{"[memory]\nsize = \"foo\"\n", "vm.conf:1: group 'memory': Parameter 'size' expects"},
		{"[name]\nguest = \"a\"\nbogus = \"x\"\n", "vm.conf:1: group 'name': Invalid parameter 'bogus'"},
		{"[name]\nguest\n", "vm.conf:2: parse error"},
		{"[machine]\ntype = \"nope\"\n", "-machine nope: unsupported machine type"},
		{"[sandbox]\nenable = \"on\"\n", "vm.conf:1: group 'sandbox': this option is not supported yet"},
	} {
		t.Run(c.text, func(t *testing.T) {
			dir := shortDir(t)
			if err := os.WriteFile(filepath.Join(dir, "vm.conf"), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			args := strings.Fields("-nodefaults -display none -M none -readconfig vm.conf")
			if strings.Contains(c.text, "[machine]") {
				args = strings.Fields("-nodefaults -display none -readconfig vm.conf")
			}
			got := runIn(t, dir, args...)
			if got.status != 1 || !strings.Contains(got.stderr, c.want) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("status %d, %q; want 1, %q", got.status, got.stderr, c.want)
			}
			if noQEMU != nil || strings.Contains(c.text, "sandbox") || strings.Contains(c.want, "parse error") {
				return // QEMU has a sandbox, and passes over a line without a value
			}
			if theirs := runCommand(t, dir, qemu, args...); theirs.status != got.status {
				t.Errorf("status %d, QEMU's %d (%s)", got.status, theirs.status, theirs.stderr)
			}
		})
	}
}
