package vpc_test

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"govmd/internal/block/blocktest"
	_ "govmd/internal/block/drivers"
)

func TestMain(m *testing.M) { os.Exit(blocktest.InMemory(m)) }

var be = binary.BigEndian

var kinds = map[string]*blocktest.Oracle{
	"dynamic": {Format: "vpc", Size: 8251392}, // what a geometry has
	"exact":   {Format: "vpc", Options: "force_size=on", Size: 9<<20 + 512},
	"fixed":   {Format: "vpc", Options: "subformat=fixed,force_size=on", Size: 5 << 20},
}

func TestQemu(t *testing.T) {
	for name, o := range kinds {
		t.Run(name, o.Run)
	}
}

func TestAllocations(t *testing.T) {
	for name, o := range kinds {
		t.Run(name, o.Allocations)
	}
}

func TestPowerFailure(t *testing.T) {
	o := &blocktest.Oracle{Format: "vpc", Options: "force_size=on", Size: 5 << 20}
	// QEMU has no check for this format: that it reads all of it has to do.
	o.PowerFailure(t, func(*testing.T, string) {})
}

// TestSizes makes images of many sizes, which come out as QEMU's do.
func TestSizes(t *testing.T) {
	dir := t.TempDir()
	for i, size := range []string{"1", "512", "1M", "2056320", "100000000", "1G", "4G", "31G", "32G", "33000000000", "127G", "136899993088", "136899993600",
		"136899994112", "130G", "2040G"} {
		for _, opts := range []string{"", "force_size=on", "subformat=fixed"} {
			ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
			blocktest.Create(t, "vpc", ours, strings.Trim(opts+",size="+size, ","))
			args := []string{"create", "-q", "-f", "vpc"}
			if opts != "" {
				args = append(args, "-o", opts)
			}
			blocktest.QemuImg(t, append(args, theirs, size)...)
			if a, b := virtualSize(t, ours), virtualSize(t, theirs); a != b {
				t.Errorf("%s,%s: %d bytes, not %d", size, opts, a, b)
			}
			a, b := footer(t, ours), footer(t, theirs)
			// Geometry and type.
			if string(a[40:64]) != string(b[40:64]) {
				t.Errorf("%d %s,%s: %x, not %x", i, size, opts, a[40:64], b[40:64])
			}
		}
	}
}

func virtualSize(t *testing.T, name string) int64 {
	t.Helper()
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal([]byte(blocktest.QemuImg(t, "info", "-f", "vpc", "--output=json", name)), &info); err != nil {
		t.Fatal(err)
	}
	d := blocktest.OpenDisk(t, "vpc", name)
	if n := d.Node.Length(); n != info.Size {
		t.Errorf("%s has %d bytes here, %d there", name, n, info.Size)
	}
	d.Close(t)
	return info.Size
}

func footer(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 512)
	if _, err := f.ReadAt(p, st.Size()-512); err != nil {
		t.Fatal(err)
	}
	return p
}

// sum sets the checksum of a structure of n bytes at off, which is at place.
func sum(p []byte, off, n, place int) {
	be.PutUint32(p[off+place:], 0)
	s := uint32(0)
	for _, b := range p[off : off+n] {
		s += uint32(b)
	}
	be.PutUint32(p[off+place:], ^s)
}

// fixSums makes checksums right: what is fuzzed is what comes behind them.
func fixSums(p []byte) {
	if len(p) >= 512 {
		sum(p, 0, 512, 64)
	}
	if len(p) >= 1536 {
		sum(p, 512, 1024, 36)
	}
	if len(p) >= 1024 {
		sum(p, len(p)-512, 512, 64)
	}
}

func FuzzImage(f *testing.F) {
	for _, o := range kinds {
		p := o.Seed(f)
		f.Add(p[:min(len(p), 64<<10)], uint16(0), uint64(0))
		for _, at := range []uint16{8, 12, 16, 40, 48, 56, 60, 528, 536, 540, 544, 1536, 1540} {
			for _, v := range []uint64{0, 1, 0x200, 1 << 20, 0x7fffffff, 0xffffffff, 0x0002000000000000, 1<<63 - 1} {
				f.Add(p[:min(len(p), 8192)], at, v)
			}
		}
	}
	f.Fuzz(func(t *testing.T, image []byte, at uint16, v uint64) {
		if len(image) > 1<<20 {
			return
		}
		p := blocktest.Patched(image, int(at), v)
		fixSums(p)
		blocktest.Hostile(t, "vpc", p)
	})
}

// TestMalformed names the field that is wrong, and where it is.
func TestMalformed(t *testing.T) {
	image := kinds["exact"].Seed(t)
	for _, c := range []struct {
		at   int
		v    uint32
		want string
	}{
		{16, 1, "data_offset (at offset 16)"},
		{48, 1 << 16, "current_size (at offset 48)"},
		{60, 4, "differencing VHD images are not supported"},
		{60, 9, "disk_type (at offset 60)"},
		{512, 0, "cookie (at offset 512)"},
		{532, 16, "table_offset (at offset 528)"},
		{532, 600, "overlaps the dynamic header"},
		{540, 1, "max_table_entries (at offset 540)"},
		{540, 1 << 30, "max_table_entries (at offset 540)"},
		{544, 12345, "block_size (at offset 544)"},
		{1536, 1 << 20, "table entry (at offset 1536)"},
		{1536, 1, "block 0 at 0x200 overlaps metadata"},
	} {
		p := blocktest.Patched(image, 0, 0)
		be.PutUint32(p[c.at:], c.v)
		fixSums(p)
		if err := blocktest.OpenError(t, "vpc", p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%#x at %d: %v", c.v, c.at, err)
		}
	}
	p := blocktest.Patched(image, 30, 1)
	if err := blocktest.OpenError(t, "vpc", p); err == nil || !strings.Contains(err.Error(), "checksum (at offset 64)") {
		t.Errorf("wrong checksum: %v", err)
	}
}

// TestNoFooter opens an image whose footer at the end a crash has cost.
func TestNoFooter(t *testing.T) {
	image := kinds["exact"].Seed(t)
	if err := blocktest.OpenError(t, "vpc", image[:len(image)-512]); err != nil {
		t.Error(err)
	}
	if err := blocktest.OpenError(t, "vpc", []byte("nothing")); err == nil {
		t.Error("no footer at all, and no error")
	}
}
