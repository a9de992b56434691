// Package initramfs makes the initial file systems that the test suite boots:
// cpio archives in the "newc" form (Linux Documentation/driver-api/early-userspace/
// buffer-format.rst), and kernel modules picked from an unpacked kernel package
// in the order in which they load.
package initramfs

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// A Writer writes a newc archive. The first error sticks and is what Close
// returns.
type Writer struct {
	w    io.Writer
	ino  int
	dirs map[string]bool
	err  error
}

// NewWriter returns a Writer on w. Close must be called to finish the archive;
// it does not close w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, dirs: map[string]bool{".": true, "/": true}}
}

const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
	modeChar = 0o020000
)

// Dir adds a folder, and those above it that are not there yet.
func (w *Writer) Dir(name string) {
	name = clean(name)
	if w.dirs[name] {
		return
	}
	w.dirs[name] = true
	w.Dir(path.Dir(name))
	w.entry(name, modeDir|0o755, 0, 0, nil)
}

// File adds a regular file with the given permission bits.
func (w *Writer) File(name string, perm os.FileMode, data []byte) {
	name = clean(name)
	w.Dir(path.Dir(name))
	w.entry(name, modeFile|uint32(perm.Perm()), 0, 0, data)
}

// Copy adds the file at from, a path outside the archive, with its permission
// bits.
func (w *Writer) Copy(name, from string) {
	data, err := os.ReadFile(from)
	if err != nil {
		w.fail(err)
		return
	}
	info, err := os.Stat(from)
	if err != nil {
		w.fail(err)
		return
	}
	w.File(name, info.Mode(), data)
}

// Symlink adds a symbolic link at name.
func (w *Writer) Symlink(name, target string) {
	name = clean(name)
	w.Dir(path.Dir(name))
	w.entry(name, modeLink|0o777, 0, 0, []byte(target))
}

// Char adds a character device node.
func (w *Writer) Char(name string, perm os.FileMode, major, minor int) {
	name = clean(name)
	w.Dir(path.Dir(name))
	w.entry(name, modeChar|uint32(perm.Perm()), major, minor, nil)
}

// Close ends the archive.
func (w *Writer) Close() error {
	w.entry("TRAILER!!!", 0, 0, 0, nil)
	return w.err
}

func (w *Writer) entry(name string, mode uint32, major, minor int, data []byte) {
	w.ino++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		w.ino, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
	w.write([]byte(header + name + "\x00"))
	w.pad(len(header) + len(name) + 1)
	w.write(data)
	w.pad(len(data))
}

func (w *Writer) pad(n int) { w.write(make([]byte, -n&3)) }

func (w *Writer) write(p []byte) {
	if w.err == nil && len(p) > 0 {
		_, w.err = w.w.Write(p)
	}
}

func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }
