package ctl

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// socketName is the monitor's socket in a machine's folder.
const socketName = "qmp"

// eventsName is the socket of a second monitor in it, for those who watch: a socket
// serves one client at a time.
const eventsName = "events"

// eventsPath returns the socket to take events from.
func eventsPath(path string) string {
	if filepath.Base(path) == socketName {
		if beside := filepath.Join(filepath.Dir(path), eventsName); isSocket(beside) {
			return beside
		}
	}
	return path
}

// runDirs are the folders in which machines have theirs: the system's, and those
// that a user runs alone.
func (p *program) runDirs() []string {
	dirs := []string{"/run/govmd"}
	if own := p.getenv("XDG_RUNTIME_DIR"); own != "" {
		dirs = append(dirs, filepath.Join(own, "govmd"))
	}
	return dirs
}

// resolve returns the socket of the machine that the user names: by its name or
// by the socket's path.
func (p *program) resolve(name string) (string, error) {
	if name == "" {
		return "", fail(Usage, "the machine's name is empty")
	}
	if strings.Contains(name, "/") {
		return name, nil
	}
	if isSocket(name) {
		return name, nil
	}
	if name == "." || name == ".." {
		return "", fail(Usage, "'%s' names no machine", name)
	}
	var tried []string
	for _, dir := range p.runDirs() {
		path := filepath.Join(dir, name, socketName)
		_, err := os.Stat(path)
		switch {
		case err == nil:
			return path, nil
		case os.IsPermission(err):
			return "", fail(Unreachable, "%s: permission denied: it is for root and the folder's group", path)
		}
		tried = append(tried, path)
	}
	return "", fail(Unreachable, "there is no machine '%s' here: no socket %s", name, strings.Join(tried, " nor "))
}

func isSocket(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.Mode()&fs.ModeSocket != 0
}

// machines lists the names of the machines whose sockets are there.
func (p *program) machines() []string {
	var names []string
	for _, dir := range p.runDirs() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // it is made by the first machine
		}
		for _, e := range entries {
			if isSocket(filepath.Join(dir, e.Name(), socketName)) && !slices.Contains(names, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return names
}
