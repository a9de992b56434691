package vhdx_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	_ "govmd/internal/block/drivers"
)

func TestMain(m *testing.M) { os.Exit(blocktest.InMemory(m)) }

var le = binary.LittleEndian

// newImage has QEMU make an image and write to it.
func newImage(t testing.TB, opts, size string, commands ...string) (name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "disk.vhdx")
	blocktest.QemuImg(t, "create", "-q", "-f", "vhdx", "-o", opts, name, size)
	args := []string{"-f", "vhdx"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	if len(commands) > 0 {
		if out, err := exec.Command("qemu-io", append(args, name)...).CombinedOutput(); err != nil || bytes.Contains(out, []byte("fail")) {
			t.Fatalf("qemu-io: %v %s", err, out)
		}
	}
	return name
}

// TestTheirs reads what QEMU has written.
func TestTheirs(t *testing.T) {
	for _, opts := range []string{"block_size=1M", "block_size=8M,log_size=2M", "subformat=fixed", "block_state_zero=off,block_size=1M"} {
		t.Run(opts, func(t *testing.T) {
			t.Parallel()
			const size = 11 << 20
			m := blocktest.NewModel(size, 3)
			var cmds []string
			for range 30 {
				v, off := byte(1+m.Rnd.IntN(255)), m.Rnd.IntN(size/512)*512
				n := min(size-off, (1+m.Rnd.IntN(500))*512)
				copy(m.Data[off:], bytes.Repeat([]byte{v}, n))
				cmds = append(cmds, fmt.Sprintf("write -P %d %d %d", v, off, n))
			}
			name := newImage(t, opts, fmt.Sprint(size), cmds...)
			d := blocktest.OpenReadOnly(t, "vhdx", name)
			m.Verify(t, d)
			d.Close(t)
		})
	}
}

// TestLarge reads behind the entries of sector bitmaps.
func TestLarge(t *testing.T) {
	// With blocks of 256 MiB every 16th entry is a bitmap's.
	name := newImage(t, "block_size=256M", "20G", "write -P 7 4294963200 8k", "write -P 9 21474832384 4k")
	d := blocktest.OpenReadOnly(t, "vhdx", name)
	defer d.Close(t)
	for _, w := range []struct {
		off int64
		v   byte
		n   int
	}{{4294963200, 7, 8192}, {21474832384, 9, 4096}, {4294963200 + 8192, 0, 4096}, {17 << 30, 0, 4096}} {
		p := make([]byte, w.n)
		if err := d.Backend.Root().Pread(w.off, p); err != nil || !bytes.Equal(p, bytes.Repeat([]byte{w.v}, w.n)) {
			t.Errorf("at %d: %v, %d", w.off, err, p[0])
		}
	}
	st, err := d.Node.BlockStatus(16<<30, 1<<30, block.StatusZero)
	if err != nil || st.Flags&block.StatusZero == 0 || st.N != 1<<30 {
		t.Errorf("%+v (%v)", st, err)
	}
}

func TestAllocations(t *testing.T) {
	d := blocktest.OpenReadOnly(t, "vhdx", newImage(t, "block_size=1M", "4M", "write -P 7 0 2M"))
	defer d.Close(t)
	v := block.VecOf(block.AlignedBuffer(64<<10, 4096))
	if n := testing.AllocsPerRun(100, func() {
		if err := d.Backend.Root().Preadv(1<<20-4096, v, 0); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations by a read", n)
	}
}

// TestRefused has writing, making and repairing refused by name.
func TestRefused(t *testing.T) {
	name := newImage(t, "block_size=1M", "4M")
	if err := blocktest.TryOpen("vhdx", name); err == nil || !strings.Contains(err.Error(), "writing to VHDX images is not supported") {
		t.Errorf("writing: %v", err)
	}
	if err := blocktest.TryCreate(block.NewGraph(block.Env{}), "vhdx", name+"2", "size=1M"); err == nil || !strings.Contains(err.Error(), "'vhdx' does not support image creation") {
		t.Errorf("making: %v", err)
	}
}

// sums makes the checksums of headers and region tables right.
func sums(p []byte) {
	for _, s := range []struct{ off, n int }{{64 << 10, 4096}, {128 << 10, 4096}, {192 << 10, 64 << 10}, {256 << 10, 64 << 10}} {
		if s.off+s.n <= len(p) {
			sum(p[s.off : s.off+s.n])
		}
	}
}

func sum(p []byte) {
	le.PutUint32(p[4:], 0)
	le.PutUint32(p[4:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
}

// image returns a small image with a block of data.
func image(t testing.TB) []byte {
	p, err := os.ReadFile(newImage(t, "block_size=1M", "4M", "write -P 7 0 64k"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestMalformed names the field that is wrong, and where it is.
func TestMalformed(t *testing.T) {
	p := image(t)
	const k = 1 << 10
	for _, c := range []struct {
		at   int
		v    uint64
		want string
	}{
		{64*k + 66, 9, "unsupported VHDX version 9"},
		{64*k + 72, 5, "LogOffset"},
		{192*k + 8, 1 << 20, "EntryCount (at offset 196616)"},
		{192*k + 32, 1 << 50, "region 0"},
		{192*k + 32, 3 << 20, "region 1 (1048576 bytes at 0x300000) overlaps another"},
		{192*k + 16, 1, "there is no block allocation table"},
		{3072 * k, 1, "Signature (at offset 3145728)"},
		{3072*k + 10, 99999, "EntryCount"},
		{3072*k + 32, 5, "requires metadata that are not known"},
		{3072*k + 48, 1 << 30, "File Parameters"},
		{3136 * k, 3 << 20, "BlockSize (at offset 3211264)"},
		{3136 * k, 1<<20 | 2<<32, "differencing VHDX images are not supported"},
		{3136*k + 8, 1 << 60, "VirtualDiskSize (at offset 3211272)"},
		{3136*k + 32, 100, "LogicalSectorSize (at offset 3211296)"},
		{2048 * k, 1<<40 | 6, "BAT entry (at offset 2097152): entry 0 points to 0x10000000000, outside of the file"},
		{2048 * k, 2<<20 | 6, "overlaps metadata"},
	} {
		q := blocktest.Patched(p, c.at, c.v)
		if c.at < 320*k {
			q = blocktest.Patched(q, c.at+64*k, c.v) // the other copy
		}
		sums(q)
		if err := blocktest.OpenErrorReadOnly(t, "vhdx", q); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%#x at %#x: %v", c.v, c.at, err)
		}
	}
	q := blocktest.Patched(blocktest.Patched(p, 192*k+40, 1<<32|1<<20), 192*k+16, 1)
	sums(q)
	if err := blocktest.OpenErrorReadOnly(t, "vhdx", q); err == nil || !strings.Contains(err.Error(), "requires a region that is not known") {
		t.Errorf("an unknown region: %v", err)
	}
	q = bytes.Clone(p)
	q[64*k+9], q[128*k+9] = 77, 78 // both headers' checksums are wrong now
	if err := blocktest.OpenErrorReadOnly(t, "vhdx", q); err == nil || !strings.Contains(err.Error(), "neither of the two headers is valid") {
		t.Errorf("headers: %v", err)
	}
}

// TestLog refuses an image whose log has something for the file, and only that.
func TestLog(t *testing.T) {
	p := image(t)
	const k = 1 << 10
	log := int(le.Uint64(p[64*k+72:]))
	for _, h := range []int{64 * k, 128 * k} {
		copy(p[h+48:], "0123456789abcdef")
	}
	sums(p)
	if err := blocktest.OpenErrorReadOnly(t, "vhdx", p); err != nil {
		t.Errorf("an empty log: %v", err)
	}
	entry := p[log+8192 : log+12288]
	clear(entry)
	copy(entry, "loge")
	le.PutUint32(entry[8:], 4096)
	le.PutUint64(entry[16:], 1)
	copy(entry[32:], "0123456789abcdef")
	if err := blocktest.OpenErrorReadOnly(t, "vhdx", p); err != nil {
		t.Errorf("a torn entry: %v", err)
	}
	sum(entry)
	if err := blocktest.OpenErrorReadOnly(t, "vhdx", p); err == nil || !strings.Contains(err.Error(), "contains a log that needs to be replayed") {
		t.Errorf("a log to replay: %v", err)
	}
}

// FuzzImage changes two places of an image, which is too large to be changed as a whole.
func FuzzImage(f *testing.F) {
	p := image(f)
	for _, at := range []uint32{64<<10 + 48, 64<<10 + 68, 192<<10 + 8, 192<<10 + 32, 192<<10 + 40, 3 << 20, 3<<20 + 10, 3<<20 + 48, 3136 << 10, 3136<<10 + 8, 3136<<10 + 32, 2 << 20} {
		for _, v := range []uint64{0, 6, 1 << 20, 1 << 40, 1<<63 - 1, 1<<64 - 1} {
			f.Add(at, v, uint32(0), uint64(0))
		}
	}
	f.Fuzz(func(t *testing.T, at uint32, v uint64, at2 uint32, v2 uint64) {
		q := blocktest.Patched(blocktest.Patched(p, int(at), v), int(at2), v2)
		sums(q)
		blocktest.Hostile(t, "vhdx", q)
	})
}
