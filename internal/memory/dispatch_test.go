package memory

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// recorder logs accesses, and answers reads with the address of each byte, low
// bits, in it.
type recorder struct {
	log []string
	on  func(off uint64)
}

func (r *recorder) ReadIO(off uint64, size int) (v uint64) {
	r.log = append(r.log, fmt.Sprintf("r%d@%x", size, off))
	for i := range 8 { // more than size: must be cut off
		v |= uint64(byte(off)+byte(i)) << (8 * i)
	}
	return v
}

func (r *recorder) WriteIO(off uint64, size int, v uint64) {
	r.log = append(r.log, fmt.Sprintf("w%d@%x=%x", size, off, v))
	if r.on != nil {
		r.on(off)
	}
}

func (r *recorder) take() string {
	s := strings.Join(r.log, " ")
	r.log = nil
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSpec(t *testing.T) {
	tests := []struct {
		name  string
		spec  Spec
		off   uint64
		size  int
		read  string // accesses
		data  string // read, hex
		write string // accesses of a write of bytes 11 22 33 ...
	}{
		{"plain", Spec{}, 4, 4, "r4@4", "04050607", "w4@4=44332211"},
		{"eight", Spec{}, 8, 8, "r8@8", "08090a0b0c0d0e0f", "w8@8=8877665544332211"},
		{"split", Spec{ImplMax: 1}, 4, 4, "r1@4 r1@5 r1@6 r1@7", "04050607", "w1@4=11 w1@5=22 w1@6=33 w1@7=44"},
		{"split to two", Spec{ImplMax: 2}, 4, 4, "r2@4 r2@6", "04050607", "w2@4=2211 w2@6=4433"},
		{"too large", Spec{Max: 2}, 4, 4, "r2@4 r2@6", "04050607", "w2@4=2211 w2@6=4433"},
		{"too large, misaligned", Spec{Max: 4, Unaligned: true}, 5, 8, "r4@5 r4@9", "05060708090a0b0c", "w4@5=44332211 w4@9=88776655"},
		{"too large, at the end", Spec{Min: 4, Max: 4}, 12, 8, "r4@c", "0c0d0e0fffffffff", "w4@c=44332211"},
		{"too small", Spec{Min: 4}, 4, 2, "", "ffff", ""},
		{"widened", Spec{ImplMin: 4}, 6, 1, "r4@4", "06", "w4@4=110000"},
		{"widened, two words", Spec{ImplMin: 4, Unaligned: true}, 7, 2, "r4@4 r4@8", "0708", "w4@4=11000000 w4@8=22"},
		{"misaligned", Spec{}, 5, 4, "r1@5 r2@6 r1@8", "05060708", "w1@5=11 w2@6=3322 w1@8=44"},
		{"misaligned, taken", Spec{Unaligned: true}, 5, 4, "r4@5", "05060708", "w4@5=44332211"},
		{"misaligned, too small", Spec{Min: 2}, 5, 4, "r2@6", "ff0607ff", "w2@6=3322"},
		{"odd size", Spec{}, 4, 3, "r2@4 r1@6", "040506", "w2@4=2211 w1@6=33"},
		{"over the end", Spec{}, 14, 4, "r2@e", "0e0fffff", "w2@e=2211"},
		{"nonsense", Spec{Min: -3, Max: 99, ImplMin: 7, ImplMax: 3}, 4, 4, "r2@4 r2@6", "04050607", "w2@4=2211 w2@6=4433"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := NewSystem()
			sp := s.NewSpace("io", 0)
			r := &recorder{}
			must(t, sp.Root().Add(0x1000, s.NewIO("dev", 16, r, tt.spec)))
			p := make([]byte, tt.size)
			sp.ReadIO(0x1000+tt.off, p)
			if got := fmt.Sprintf("%x", p); got != tt.data {
				t.Errorf("read %s, want %s", got, tt.data)
			}
			if got := r.take(); got != tt.read {
				t.Errorf("reading made %q, want %q", got, tt.read)
			}
			sp.WriteIO(0x1000+tt.off, []byte{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}[:tt.size])
			if got := r.take(); got != tt.write {
				t.Errorf("writing made %q, want %q", got, tt.write)
			}
		})
	}
}

// A handler is never called for what is outside its region, however widened.
func TestWideningStaysInside(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("io", 0x10000)
	r := &recorder{}
	must(t, sp.Root().Add(0, s.NewIO("dev", 6, r, Spec{ImplMin: 4, Unaligned: true})))
	p := make([]byte, 2)
	for off := range uint64(8) {
		sp.ReadIO(off, p)
		sp.WriteIO(off, p)
	}
	for _, e := range r.log {
		if !strings.Contains(e, "@0") {
			t.Errorf("access %s leaves a region of 6 bytes", e)
		}
	}
}

func TestBulkAccess(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("memory", 0)
	b, err := s.NewBlock(BlockConfig{Name: "ram", Size: PageSize})
	must(t, err)
	r := &recorder{}
	must(t, sp.Root().Add(0x1000, s.NewRAM("ram", b, 0, 0)))
	must(t, sp.Root().Add(0x2000, s.NewIO("dev", 8, r, Spec{Max: 4})))
	must(t, sp.Root().Add(0x2008, s.NewROM("rom", b, 0xff8, 0)))
	p := []byte("abcdefghijklmnopqrstuvwxyz")
	must(t, sp.Write(0x1ff8, p))
	if got := r.take(); got != "w4@0=6c6b6a69 w4@4=706f6e6d" {
		t.Errorf("the device got %q", got)
	}
	got := make([]byte, 26)
	must(t, sp.Read(0x1ff8, got))
	want := []byte("abcdefgh\x00\x01\x02\x03\x04\x05\x06\x07abcdefgh\xff\xff") // the ROM is the same memory, unwritten
	if !bytes.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	must(t, sp.WriteROM(0x2004, []byte("0123456")))
	must(t, b.Read(0xff8, got[:8]))
	if string(got[:8]) != "456defgh" {
		t.Errorf("the ROM is %q", got[:8])
	}
	if r.take() != "r4@0 r4@4" {
		t.Error("WriteROM reached a device")
	}
}

func TestEndOfSpace(t *testing.T) {
	s := NewSystem()
	for _, size := range []uint64{0, 0x10000} {
		sp := s.NewSpace("s", size)
		r := &recorder{}
		must(t, sp.Root().Add(size-4, s.NewIO("dev", 4, r, Spec{})))
		p := make([]byte, 8)
		sp.ReadIO(size-4, p)
		if want := []byte{0, 1, 2, 3, 0xff, 0xff, 0xff, 0xff}; !bytes.Equal(p, want) {
			t.Errorf("size %#x: read %x", size, p)
		}
		sp.WriteIO(size-2, p)
		if got := r.take(); got != "r4@0 w2@2=100" {
			t.Errorf("size %#x: device got %q", size, got)
		}
		p = make([]byte, 100)
		must(t, sp.Read(size-4, p))
		must(t, sp.Write(size-4, p))
		must(t, sp.WriteROM(size-4, p))
		if size != 0 {
			must(t, sp.Read(size+4, p))
			if p[0] != 0xff {
				t.Error("something is beyond the space")
			}
		}
		if _, err := sp.NewDMA("d").Borrow(size-4, 8, false); err == nil {
			t.Error("a device got memory beyond the space")
		}
	}
}

func TestWholeSpaceIsOneDevice(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	r := &recorder{}
	must(t, sp.Root().Add(0, s.NewIO("dev", 0, r, Spec{})))
	p := make([]byte, 4)
	sp.ReadIO(^uint64(3), p)
	if got := r.take(); got != "r4@fffffffffffffffc" {
		t.Errorf("device got %q", got)
	}
	if v := sp.FlatView(); len(v) != 1 || v[0].Size != 0 || v[0].Last() != ^uint64(0) {
		t.Errorf("view %+v", v)
	}
}

// A handler may change the map while it is inside, and be unmapped by that.
func TestHandlerChangesMap(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	a, b := &recorder{}, &recorder{}
	ra, rb := s.NewIO("a", 16, a, Spec{}), s.NewIO("b", 16, b, Spec{})
	must(t, sp.Root().Add(0, ra))
	a.on = func(uint64) {
		s.Update(func() {
			sp.Root().Remove(ra)
			must(t, sp.Root().Add(0, rb))
		})
		sp.WriteIO(8, []byte{9}) // and use the new one
	}
	sp.WriteIO(0, []byte{1})
	sp.WriteIO(1, []byte{2})
	ra.Quiesce()
	if got := a.take() + ", " + b.take(); got != "w1@0=1, w1@8=9 w1@1=2" {
		t.Error(got)
	}
}

func TestROMHandler(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	b, err := s.NewBlock(BlockConfig{Name: "flash", Size: PageSize})
	must(t, err)
	must(t, b.Write(0, []byte{0x5a}))
	r := &recorder{}
	rom := s.NewROM("flash", b, 0, 0)
	must(t, sp.Root().Add(0x1000, rom))
	m := &mirror{t: t}
	sp.AddListener(m, 0)
	sp.WriteIO(0x1000, []byte{1})
	rom.SetWriteHandler(r, Spec{})
	sp.WriteIO(0x1001, []byte{2})
	p := make([]byte, 1)
	if sp.ReadIO(0x1000, p); p[0] != 0x5a {
		t.Errorf("read %x", p)
	}
	if m.calls != 1 || !m.sections[0].ReadOnly || m.sections[0].Block != b {
		t.Errorf("told %d times, have %+v", m.calls, m.sections)
	}
	rom.SetDirectRead(false)
	if sp.ReadIO(0x1003, p); p[0] != 3 {
		t.Errorf("read %x", p)
	}
	if m.sections[0].Block != nil {
		t.Error("listeners take the flash for memory while reads call its handler")
	}
	if got := r.take(); got != "w1@1=2 r1@3" {
		t.Error(got)
	}
	rom.SetDirectRead(true)
	rom.SetWriteHandler(nil, Spec{})
	sp.WriteIO(0x1000, []byte{7})
	if sp.ReadIO(0x1000, p); p[0] != 0x5a || r.take() != "" {
		t.Errorf("read %x", p)
	}
}

func newEventFD(t *testing.T) int {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// signals returns how often the eventfd was signalled since it was last asked.
func signals(t *testing.T, fd int) int {
	p := make([]byte, 8)
	if _, err := unix.Read(fd, p); err == unix.EAGAIN {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	return int(p[0])
}

func TestIoEventFDInSoftware(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	r := &recorder{}
	reg := s.NewIO("dev", 0x100, r, Spec{})
	m := &mirror{t: t}
	sp.AddListener(m, 0)
	must(t, sp.Root().Add(0x4000, reg))
	one, two, any := newEventFD(t), newEventFD(t), newEventFD(t)
	v1, v2 := uint64(1), uint64(2)
	s.Update(func() {
		reg.AddIoEventFD(0x10, 2, &v1, one)
		reg.AddIoEventFD(0x10, 2, &v2, two)
		reg.AddIoEventFD(0x20, 0, nil, any)
	})
	if m.calls != 2 || len(m.fds) != 3 || m.fds[0].Addr != 0x4010 {
		t.Errorf("told %d times, have %+v", m.calls, m.fds)
	}
	sp.WriteIO(0x4010, []byte{1, 0})       // one
	sp.WriteIO(0x4010, []byte{2, 0})       // two
	sp.WriteIO(0x4010, []byte{2, 0, 0, 0}) // other size
	sp.WriteIO(0x4010, []byte{3, 0})       // other value
	sp.WriteIO(0x4020, []byte{9, 9, 9, 9}) // any
	sp.WriteIO(0x4020, []byte{9})          // any
	must(t, sp.Write(0x4010, []byte{1, 0}))
	if got := r.take(); got != "w4@10=2 w2@10=3" {
		t.Errorf("the handler got %q", got)
	}
	if a, b, c := signals(t, one), signals(t, two), signals(t, any); a != 2 || b != 1 || c != 2 {
		t.Errorf("signalled %d, %d, %d times", a, b, c)
	}
	reg.SetOffset(0x5000)
	if len(m.fds) != 3 || m.fds[0].Addr != 0x5010 {
		t.Errorf("after a move: %+v", m.fds)
	}
	reg.RemoveIoEventFD(0x10, 2, &v1, one)
	sp.WriteIO(0x5010, []byte{1, 0})
	if got := r.take(); got != "w2@10=1" || signals(t, one) != 0 || len(m.fds) != 2 {
		t.Errorf("the handler got %q", got)
	}
	reg.SetEnabled(false)
	if len(m.fds) != 0 || len(m.sections) != 0 {
		t.Errorf("still there: %+v", m.fds)
	}
}

func TestReadPastGapIsOnes(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0x10000)
	p := make([]byte, 4)
	sp.ReadIO(0x70, p)
	sp.WriteIO(0x70, p)
	if !reflect.DeepEqual(p, []byte{0xff, 0xff, 0xff, 0xff}) {
		t.Errorf("read %x", p)
	}
}
