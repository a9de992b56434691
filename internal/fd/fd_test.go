package fd

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// isOpen reports whether fd is open.
func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func open(t *testing.T, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestNames(t *testing.T) {
	var tab Table
	tab.SessionBegins(1)
	tab.SessionBegins(2)
	a, b := open(t, "/dev/null", unix.O_RDONLY), open(t, "/dev/null", unix.O_RDONLY)
	if err := tab.Put(1, "x", a); err != nil {
		t.Fatal(err)
	}
	if _, err := tab.Take(2, "x"); err == nil || err.Error() != "File descriptor named 'x' not found" {
		t.Errorf("another session's name: %v", err)
	}
	if err := tab.Put(1, "x", b); err != nil || isOpen(a) {
		t.Errorf("replacing a name: %v; the old one open: %v", err, isOpen(a))
	}
	if fd, err := tab.Take(1, "x"); fd != b || err != nil {
		t.Errorf("Take returned %d, %v", fd, err)
	}
	if _, err := tab.Take(1, "x"); !errors.As(err, new(*NotFoundError)) {
		t.Errorf("the second Take: %v", err)
	}
	c := open(t, "/dev/null", unix.O_RDONLY)
	if err := tab.Put(1, "1x", c); err == nil || err.Error() != "Parameter 'fdname' expects a name not starting with a digit" || isOpen(c) {
		t.Errorf("a number as a name: %v", err)
	}
	if err := tab.Put(1, "x", b); err != nil {
		t.Fatal(err)
	}
	tab.SessionEnds(1)
	if isOpen(b) {
		t.Error("a session's descriptors outlive it")
	}
	c = open(t, "/dev/null", unix.O_RDONLY)
	if err := tab.Put(1, "x", c); err == nil || isOpen(c) {
		t.Errorf("a name in a session that has ended: %v", err)
	}
}

func TestNamesAreBounded(t *testing.T) {
	var tab Table
	defer tab.Close()
	tab.SessionBegins(1)
	var err error
	for i := 0; i <= maxNames && err == nil; i++ {
		err = tab.Put(1, "n"+string(rune(0x100+i)), open(t, "/dev/null", unix.O_RDONLY))
	}
	if err == nil {
		t.Error("names are not bounded")
	}
}

func ids(tab *Table) (list []int64) {
	for _, s := range tab.Sets() {
		list = append(list, s.ID)
	}
	return list
}

func ptr[T any](v T) *T { return &v }

func TestSets(t *testing.T) {
	var tab Table
	defer tab.Close()
	tab.SessionBegins(1)
	for _, id := range []*int64{nil, nil, ptr(int64(5)), ptr(int64(3)), nil} {
		if _, err := tab.Add(id, open(t, "/dev/null", unix.O_RDONLY), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(&tab); len(got) != 5 || got[0] != 5 || got[1] != 3 || got[2] != 2 || got[4] != 0 {
		t.Errorf("sets %v", got)
	}
	bad := open(t, "/dev/null", unix.O_RDONLY)
	if _, err := tab.Add(ptr(int64(-1)), bad, nil); err == nil || isOpen(bad) {
		t.Errorf("a negative number: %v", err)
	}
	for _, c := range []struct {
		id   int64
		fd   *int64
		text string
	}{
		{9, nil, "File descriptor named 'fdset-id:9' not found"},
		{5, ptr(int64(9999)), "File descriptor named 'fdset-id:5, fd:9999' not found"},
	} {
		if err := tab.Remove(c.id, c.fd); err == nil || err.Error() != c.text {
			t.Errorf("Remove: %v, want %s", err, c.text)
		}
	}
	fd := int(tab.Sets()[0].FDs[0].FD)
	if err := tab.Remove(5, ptr(int64(fd))); err != nil || isOpen(fd) || len(ids(&tab)) != 4 {
		t.Errorf("Remove: %v, open %v, sets %v", err, isOpen(fd), ids(&tab))
	}
	// While the machine does not run, descriptors stay.
	running := false
	tab.SetRunning(func() bool { return running })
	fd = int(tab.Sets()[0].FDs[0].FD)
	if err := tab.Remove(3, nil); err != nil || !isOpen(fd) {
		t.Errorf("Remove on a paused machine: %v, open %v", err, isOpen(fd))
	}
	if _, err := tab.OpenFD("/dev/fdset/3", unix.O_RDONLY, 0); !errors.Is(err, unix.EACCES) {
		t.Errorf("opening what was removed: %v", err)
	}
	running = true
	tab.SessionEnds(1)
	if len(ids(&tab)) != 0 {
		t.Errorf("sets %v outlive the last monitor", ids(&tab))
	}
}

func TestOpenMatchesAccess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	var tab Table
	defer tab.Close()
	tab.SessionBegins(1)
	id := int64(1)
	for _, flags := range []int{unix.O_RDONLY, unix.O_RDWR} {
		if _, err := tab.Add(&id, open(t, path, flags), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		flags int
		err   error
	}{
		{"/dev/fdset/1", os.O_WRONLY, unix.EACCES},
		{"/dev/fdset/2", os.O_RDONLY, unix.ENOENT},
		{"/dev/fdset/x", os.O_RDONLY, unix.EINVAL},
		{"/dev/fdset/", os.O_RDONLY, unix.EINVAL},
		{"/dev/fdset/-1", os.O_RDONLY, unix.EINVAL},
		{"/dev/fdset/99999999999", os.O_RDONLY, unix.EINVAL},
		{"/dev/fdset/1", os.O_RDONLY | os.O_SYNC, unix.EINVAL},
	} {
		if _, err := tab.Open(c.name, c.flags, 0); !errors.Is(err, c.err) {
			t.Errorf("%s, flags %#x: %v, want %v", c.name, c.flags, err, c.err)
		}
	}
	f, err := tab.Open("/dev/fdset/1", os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	w, err := tab.Open("/dev/fdset/1", os.O_RDWR|os.O_APPEND|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := w.Stat(); err != nil || fi.Size() != 0 {
		t.Errorf("O_TRUNC leaves %v, %v", fi, err)
	}
	// What is in use stays, without a monitor too; then it goes.
	tab.SessionEnds(1)
	if len(ids(&tab)) != 1 {
		t.Error("a set in use has gone")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if len(ids(&tab)) != 1 {
		t.Error("a set in use has gone")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if len(ids(&tab)) != 0 {
		t.Error("a set that nobody uses stays")
	}
}

// A duplicate that its owner has closed by himself keeps no set.
func TestClosedWithoutTelling(t *testing.T) {
	var tab Table
	defer tab.Close()
	if _, err := tab.Add(nil, open(t, "/dev/null", unix.O_RDONLY), nil); err != nil {
		t.Fatal(err)
	}
	fd, err := tab.OpenFD("/dev/fdset/0", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	tab.SessionEnds(1)
	if len(ids(&tab)) != 1 {
		t.Error("a set in use has gone")
	}
	_ = unix.Close(fd)
	tab.SessionEnds(1)
	if len(ids(&tab)) != 0 {
		t.Error("a set that nobody uses stays")
	}
}

// A nil table opens plain files.
func TestNilTable(t *testing.T) {
	var tab *Table
	fd, err := tab.OpenFD("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := tab.CloseFD(fd); err != nil {
		t.Error(err)
	}
	if _, err := tab.Open("/dev/fdset/0", os.O_RDWR, 0); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

func TestOption(t *testing.T) {
	fd := open(t, "/dev/null", unix.O_RDWR)
	defer unix.Close(fd)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, err string }{
		{"fd=7,set=2,opaque=foo", ""},
		{"set=1", "fd option is required and must be non-negative"},
		{"fd=-1,set=1", "fd option is required and must be non-negative"},
		{"fd=1,set=1", "fd cannot be a standard I/O stream"},
		{"fd=7", "set option is required and must be non-negative"},
		{"fd=7,set=-1", "set option is required and must be non-negative"},
		{"fd=9999", "fd is not valid or already in use"},
		{"fd=7,set=1,x=1", "Invalid parameter 'x'"},
		{"fd=x,set=1", "Parameter 'fd' expects a number"},
	} {
		o, err := Schema.Parse(strings.ReplaceAll(c.text, "fd=7", "fd="+strconv.Itoa(fd)))
		if err == nil {
			_, err = FromOptions(o)
		}
		if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%s: %v, want %q", c.text, err, c.err)
		}
	}
}

func TestInherited(t *testing.T) {
	fd := open(t, "/dev/null", unix.O_RDWR)
	var tab Table
	defer tab.Close()
	if err := tab.AddInherited(Inherited{FD: fd, Set: 2}); !errors.Is(err, ErrInherited) {
		t.Errorf("one of our own: %v", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	for _, set := range []int{2, 4} {
		if err := tab.AddInherited(Inherited{FD: fd, Set: set}); err != nil {
			t.Fatal(err)
		}
	}
	tab.CloseInherited()
	if isOpen(fd) || len(ids(&tab)) != 2 {
		t.Errorf("original open: %v, sets %v", isOpen(fd), ids(&tab))
	}
}
