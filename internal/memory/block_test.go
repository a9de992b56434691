package memory

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBlockKinds(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ram")
	f, err := os.Create(filepath.Join(dir, "fd"))
	must(t, err)
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd()))
	must(t, err)
	defer unix.Close(fd)
	tests := []struct {
		cfg    BlockConfig
		fd     bool // others can map it
		faults bool
	}{
		{BlockConfig{Name: "anon"}, false, false},
		{BlockConfig{Name: "options", Dump: true, Merge: true, NoReserve: true, Prealloc: true}, false, false},
		{BlockConfig{Name: "memfd", Shared: true}, true, false},
		{BlockConfig{Name: "file", Path: file, Shared: true}, true, true},
		{BlockConfig{Name: "private file", Path: file}, false, true},
		{BlockConfig{Name: "directory", Path: dir, Shared: true, Prealloc: true}, true, true},
		{BlockConfig{Name: "fd", FD: fd, Shared: true, FDOffset: PageSize}, true, true},
	}
	s := NewSystem()
	for _, tt := range tests {
		t.Run(tt.cfg.Name, func(t *testing.T) {
			cfg := tt.cfg
			cfg.Size = 3 * PageSize
			b, err := s.NewBlock(cfg)
			must(t, err)
			if b.HostAddr()%blockAlign != 0 {
				t.Errorf("at %#x", b.HostAddr())
			}
			if (b.FD() >= 0) != tt.fd || b.m.faults != tt.faults || b.PageSize() != PageSize || b.FDOffset() != cfg.FDOffset {
				t.Errorf("descriptor %d, faults %v", b.FD(), b.m.faults)
			}
			must(t, b.Write(3*PageSize-5, []byte("hello")))
			p := make([]byte, 5)
			must(t, b.Read(3*PageSize-5, p))
			if string(p) != "hello" {
				t.Errorf("%q", p)
			}
			if reason(t, b.Write(3*PageSize-4, p)) != FaultRange || reason(t, b.Read(^uint64(0), p)) != FaultRange {
				t.Error("access outside the block")
			}
			if b.FD() >= 0 {
				if _, err := unix.Pread(b.FD(), p, int64(cfg.FDOffset+3*PageSize-5)); err != nil || string(p) != "hello" {
					t.Errorf("the descriptor shows %q, %v", p, err)
				}
			}
			must(t, b.Discard(0, 3*PageSize))
			must(t, b.Discard(1, 2*PageSize-2))
			must(t, b.Read(3*PageSize-5, p))
			if cfg.Path != file && string(p) != "\x00\x00\x00\x00\x00" {
				t.Errorf("discarded memory is %q", p)
			}
			must(t, b.Close())
			if b.Close() == nil {
				t.Error("closed twice")
			}
			if reason(t, b.Read(0, p)) != FaultGone || reason(t, b.Write(0, p)) != FaultGone {
				t.Error("a closed block was accessed")
			}
			if _, err := b.Borrow(0, 1, false); reason(t, err) != FaultGone {
				t.Error(err)
			}
		})
	}
	if len(s.Blocks()) != 0 {
		t.Error("closed blocks are left")
	}
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Error("the caller's descriptor was closed")
	}
}

func TestBlockErrors(t *testing.T) {
	s := NewSystem()
	short := filepath.Join(t.TempDir(), "short")
	must(t, os.WriteFile(short, make([]byte, 100), 0o600))
	newBlock(t, s, "taken", PageSize)
	tests := []struct {
		cfg  BlockConfig
		want string
	}{
		{BlockConfig{Name: "a", Size: 0}, "positive multiple"},
		{BlockConfig{Name: "a", Size: 4097}, "positive multiple"},
		{BlockConfig{Name: "a", Size: 1 << 63}, "positive multiple"},
		{BlockConfig{Name: "taken", Size: PageSize}, "already"},
		{BlockConfig{Name: "pc.ram", Size: 1 << 52}, "cannot set up guest memory 'pc.ram': Cannot allocate memory"},
		{BlockConfig{Name: "a", Size: PageSize, Path: "/nonexistent/x"}, "open /nonexistent/x: no such file"},
		{BlockConfig{Name: "a", Size: PageSize, Path: short}, "it has 100 bytes, but 4096 are needed"},
		{BlockConfig{Name: "a", Size: PageSize, Path: short, FDOffset: 5}, "multiple of the page size"},
		{BlockConfig{Name: "a", Size: PageSize, FD: 99999}, "descriptor 99999: bad file descriptor"},
		{BlockConfig{Name: "a", Size: PageSize, HugeTLB: 12345}, "power of two"},
		{BlockConfig{Name: "a", Size: 1 << 40, HugeTLB: 2 << 20}, "hugepages of 2048 KiB"},
		{BlockConfig{Name: "a", Size: 1 << 40, HugeTLB: 2 << 20, Shared: true}, "hugepages of 2048 KiB"},
		{BlockConfig{Name: "a", Size: 32 << 20, HugeTLB: 32 << 20}, "no hugepages of 32768 KiB"},
	}
	for _, tt := range tests {
		b, err := s.NewBlock(tt.cfg)
		if err == nil {
			t.Errorf("%+v: no error", tt.cfg)
			_ = b.Close()
		} else if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %q, want %q", tt.cfg, err, tt.want)
		}
	}
	if len(s.Blocks()) != 1 {
		t.Error("failed blocks are left")
	}
}

// A backing file that is cut short makes errors, and no crash.
func TestTruncatedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ram")
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	b, err := s.NewBlock(BlockConfig{Name: "ram", Size: 4 * PageSize, Path: path, Shared: true})
	must(t, err)
	must(t, sp.Root().Add(0, s.NewRAM("ram", b, 0, 0)))
	d := sp.NewDMA("d")
	w, err := d.Window(0x2000, 64, true)
	must(t, err)
	lent, err := d.Borrow(0x2000, 16, true)
	must(t, err)
	must(t, w.StoreU16(0, 1))
	must(t, os.Truncate(path, PageSize))

	p := make([]byte, 8)
	gone := func(name string, err error) {
		t.Helper()
		if reason(t, err) != FaultGone {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone("Read", d.Read(0x2000, p))
	gone("Write", d.Write(0x2000, p))
	gone("Block.Read", b.Read(0xffc, p))
	gone("Space.Read", sp.Read(0x2000, p))
	gone("Space.Write", sp.Write(0x2000, p))
	_, err = lent.CopyTo(p, 0)
	gone("CopyTo", err)
	_, err = lent.CopyFrom(p, 0)
	gone("CopyFrom", err)
	gone("Touch", Touch(func() { p[0] = lent.Bytes()[0] }))
	lent.Release(16)
	_, err = w.LoadU16(0)
	gone("LoadU16", err)
	_, err = w.LoadU32(0)
	gone("LoadU32", err)
	_, err = w.LoadU64(0)
	gone("LoadU64", err)
	gone("StoreU16", w.StoreU16(0, 1))
	gone("StoreU32", w.StoreU32(0, 1))
	gone("StoreU64", w.StoreU64(0, 1))
	gone("Window.Read", w.Read(0, p))
	gone("Window.Write", w.Write(0, p))
	sp.ReadIO(0x2000, p)
	if value(p) != ^uint64(0) {
		t.Errorf("read %x", p)
	}
	sp.WriteIO(0x2000, p)
	must(t, b.Read(0, p))
	w.Close()
	must(t, b.Close())
}

func TestTouchPassesPanics(t *testing.T) {
	defer func() {
		if r := recover(); r != "mine" {
			t.Errorf("recovered %v", r)
		}
	}()
	_ = Touch(func() { panic("mine") })
}

// Close waits for what is borrowed, not for windows, which then see nothing of
// the memory any more.
func TestCloseWaits(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	b := newBlock(t, s, "dimm", 2<<20)
	r := s.NewRAM("dimm", b, 0, 0)
	must(t, sp.Root().Add(0, r))
	d := sp.NewDMA("d")
	lent, err := d.Borrow(0, 16, true)
	must(t, err)
	w, err := d.Window(0x1000, 16, true)
	must(t, err)
	must(t, w.StoreU32(0, 7))
	sp.Root().Remove(r)
	done := make(chan error)
	go func() { done <- b.Close() }()
	for b.users.waiting.Load() == 0 {
		select {
		case <-done:
			t.Fatal("Close did not wait")
		default:
			runtime.Gosched()
		}
	}
	copy(lent.Bytes(), "still there")
	lent.Release(16)
	must(t, <-done)
	if v, ok := b.m.load32(0x1000); v != 0 || !ok {
		t.Errorf("a stale access finds %x", v)
	}
	if reason(t, w.StoreU32(0, 1)) != FaultUnassigned {
		t.Error("the window still works")
	}
	if b.windows.Load() != 0 {
		t.Error("the block is still held")
	}
}

// Addresses that are held show nothing of a closed block, and are nobody else's.
func TestHoldAddr(t *testing.T) {
	s := NewSystem()
	b := newBlock(t, s, "dimm", 2<<20)
	must(t, b.Write(0, []byte{7}))
	release := b.HoldAddr()
	must(t, b.Close())
	if v, ok := b.m.load32(0); v != 0 || !ok {
		t.Errorf("a stale access finds %x", v)
	}
	release()
	release()
	if n := b.windows.Load(); n != 0 {
		t.Errorf("the block is still held: %d", n)
	}
}

// Preallocating from a file that has no room fails with what to do about it.
func TestPreallocWithoutRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ram")
	b, err := NewSystem().NewBlock(BlockConfig{Name: "ram", Size: 4 * PageSize, Path: path, Shared: true})
	must(t, err)
	defer b.Close()
	must(t, os.Truncate(path, PageSize))
	err = b.m.populate(0)
	if !errors.Is(err, unix.EFAULT) {
		t.Fatalf("populate: %v", err)
	}
	if got := explain(err, PageSize).Error(); !strings.Contains(got, "cut short") {
		t.Error(got)
	}
	if got := explain(err, 2<<20).Error(); !strings.Contains(got, "too few free hugepages of 2048 KiB") {
		t.Error(got)
	}
}
