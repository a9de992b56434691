package hostmem

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/fd"
	"govmd/internal/memory"
	"govmd/internal/object"
)

func newCollection(t testing.TB) *object.Collection {
	s := &object.Collection{}
	object.Provide(s, memory.NewSystem())
	object.Provide(s, Defaults{Merge: true, Dump: true})
	t.Cleanup(s.Close)
	return s
}

// What is written into shared memory is in the file, and the other way round.
func TestSharedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ram")
	s := newCollection(t)
	if err := s.Parse("memory-backend-file,id=m,size=1M,share=on,mem-path=" + path); err != nil {
		t.Fatal(err)
	}
	b := s.Find("m").(*Backend)
	if err := b.Block().Write(4096, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || len(data) != 1<<20 || string(data[4096:4101]) != "hello" {
		t.Errorf("the file has %d bytes, %q (%v)", len(data), data[4096:4101], err)
	}
	// Discarded, it has none of it left when the object has gone.
	if err := object.Set(b, "discard-data", true); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete("m"); err != nil {
		t.Fatal(err)
	}
	if data, _ = os.ReadFile(path); strings.Contains(string(data), "hello") {
		t.Error("data is there after it was discarded")
	}
}

// Private memory of a file begins with what is there, and leaves it alone.
func TestPrivateAndReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ram")
	if err := os.WriteFile(path, append([]byte("hello"), make([]byte, 1<<20-5)...), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newCollection(t)
	for _, text := range []string{"memory-backend-file,id=m,size=1M,mem-path=" + path, "memory-backend-file,id=r,size=1M,readonly=on,mem-path=" + path} {
		if err := s.Parse(text); err != nil {
			t.Fatal(err)
		}
	}
	m, r := s.Find("m").(*Backend).Block(), s.Find("r").(*Backend).Block()
	buf := make([]byte, 5)
	if err := m.Read(0, buf); err != nil || string(buf) != "hello" {
		t.Errorf("%q (%v)", buf, err)
	}
	if err := m.Write(0, []byte("HELLO")); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(0, buf); err != nil || string(buf) != "hello" || r.Write(0, buf) == nil {
		t.Errorf("%q (%v), or it can be written", buf, err)
	}
}

// A descriptor that a client has passed is as good as a name.
func TestFDSet(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "ram"))
	if err != nil {
		t.Fatal(err)
	}
	var table fd.Table
	defer table.Close()
	id := int64(3)
	dup, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := dup.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(n uintptr) {
		c, err := dupFD(int(n))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := table.Add(&id, c, nil); err != nil {
			t.Fatal(err)
		}
	})
	_ = dup.Close()
	s := newCollection(t)
	object.Provide(s, &table)
	if err := s.Parse("memory-backend-file,id=m,size=1M,share=on,mem-path=/dev/fdset/3"); err != nil {
		t.Fatal(err)
	}
	if err := s.Find("m").(*Backend).Block().Write(0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(f.Name()); len(data) != 1<<20 || data[0] != 'x' {
		t.Errorf("the file has %d bytes", len(data))
	}
	if err := s.Parse("memory-backend-file,id=n,size=1M,mem-path=/dev/fdset/9"); err == nil || !strings.Contains(err.Error(), "/dev/fdset/9") {
		t.Errorf("a set that is not there: %v", err)
	}
}

func TestMemfd(t *testing.T) {
	s := newCollection(t)
	if err := s.Parse("memory-backend-memfd,id=m,size=1M"); err != nil {
		t.Fatal(err)
	}
	if b := s.Find("m").(*Backend); !b.share || b.Block().FD() < 0 {
		t.Error("it is not shared")
	}
	if err := s.Parse("memory-backend-memfd,id=p,size=1M,share=off,seal=off"); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	for options, want := range map[string]string{
		"ram,size=0":                                    "property 'size' of memory-backend-ram doesn't take value '0'",
		"ram":                                           "Parameter 'size' is missing",
		"ram,size=1M,prealloc-threads=0":                "property 'prealloc-threads' of memory-backend-ram doesn't take value '0'",
		"ram,size=1M,policy=bind":                       "host-nodes must be set for policy bind",
		"ram,size=1M,host-nodes=0":                      "host-nodes must be empty for policy default, or you should explicitly specify a policy other than default",
		"ram,size=1M,host-nodes=128,policy=bind":        "Invalid host-nodes value: 128",
		"ram,size=1M,host-nodes=127,policy=bind":        "cannot bind memory to host NUMA nodes: Invalid argument",
		"ram,size=1M,prealloc=on,reserve=off":           "'prealloc=on' and 'reserve=off' are incompatible",
		"ram,size=16E":                                  "Parameter 'size' expects size",
		"ram,size=7E":                                   "cannot set up guest memory 'm': size",
		"file,size=1M":                                  "Parameter 'mem-path' is missing",
		"file,size=1M,mem-path=/nonexistent/x":          "can't open backing store /nonexistent/x for guest RAM: No such file or directory",
		"file,size=1M,mem-path=" + short:                "backing store size 0x1000 does not match 'size' option 0x100000",
		"file,size=4k,align=1000,mem-path=" + short:     "alignment 0x3e8 must be multiples of page size 0x1000",
		"file,size=4k,align=12288,mem-path=" + short:    "alignment 0x3000 must be a power of two",
		"file,size=4k,pmem=on,mem-path=" + short:        "pmem=on is not supported",
		"memfd,size=1M,hugetlb=on,hugetlbsize=5000":     "Hugepage size must be a power of 2",
		"memfd,size=1M,hugetlb=on,hugetlbsize=4096":     "the host has no hugepages of 4096 bytes",
		"memfd,size=1M,hugetlb=on,hugetlbsize=2M":       "failed to resize memfd to 1048576",
		"memfd,size=1048576G,hugetlb=on,hugetlbsize=1G": "hugepages",
	} {
		s := newCollection(t)
		name, rest, _ := strings.Cut(options, ",")
		text := "memory-backend-" + name + ",id=m"
		if rest != "" {
			text += "," + rest
		}
		if err := s.Parse(text); err == nil || !strings.HasPrefix(err.Error(), want) && !strings.Contains(err.Error(), "hugepages") {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
		if len(s.Children()) != 0 {
			t.Errorf("%s: something is left", options)
		}
	}
	var none object.Collection
	if err := none.Parse("memory-backend-ram,id=m,size=1M"); err == nil {
		t.Error("memory without a machine")
	}
}

func TestLiveProperties(t *testing.T) {
	s := newCollection(t)
	if err := s.Parse("memory-backend-ram,id=m,size=1M,host-nodes=0,policy=bind,prealloc-threads=2"); err != nil {
		t.Fatal(err)
	}
	m := s.Find("m")
	for _, c := range []struct {
		name  string
		value any
		err   string
	}{
		{"merge", false, ""}, {"merge", true, ""}, {"dump", false, ""}, {"prealloc", true, ""}, {"prealloc", false, ""},
		{"prealloc", "x", "Invalid parameter type for 'prealloc', expected: boolean"},
		{"size", uint64(4096), "cannot change property size of memory-backend-ram "},
		{"share", true, "cannot change property value"}, {"reserve", false, "cannot change property value"},
		{"policy", "default", "cannot change property value"},
	} {
		got := ""
		if err := object.Set(m, c.name, c.value); err != nil {
			got = err.Error()
		}
		if got != c.err {
			t.Errorf("%s=%v: %q, want %q", c.name, c.value, got, c.err)
		}
	}
	want := info{"m", 1 << 20, true, false, true, false, true, []uint16{0}, Bind}
	if got := list(s)[0]; got.ID != want.ID || got.Size != want.Size || got.Merge != want.Merge || got.Dump != want.Dump ||
		got.Prealloc != want.Prealloc || got.Policy != want.Policy || len(got.Nodes) != 1 {
		t.Errorf("query-memdev tells %+v, want %+v", got, want)
	}
	var out strings.Builder
	if err := InfoCommands(s)[0].Run(nil, nil, &out); err != nil {
		t.Fatal(err)
	}
	const text = "memory backend: m\n  size:  1048576\n  merge: true\n  dump: false\n  prealloc: true\n  share: false\n  reserve: true\n  policy: bind\n  host nodes: 0\n\n"
	if out.String() != text {
		t.Errorf("info memdev: %q", out.String())
	}
	if got := ranges([]uint16{0, 1, 2, 5, 7, 8}); got != "0-2,5,7-8" {
		t.Error(got)
	}
}

func dupFD(n int) (int, error) { return unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0) }
