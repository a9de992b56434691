package vmdk_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	_ "govmd/internal/block/drivers"
	"govmd/internal/qmp"
)

func TestMain(m *testing.M) { os.Exit(blocktest.InMemory(m)) }

var kinds = map[string]*blocktest.Oracle{
	"sparse": {Format: "vmdk", Size: 40<<20 + 512, Check: true},
	"zeroed": {Format: "vmdk", Options: "zeroed_grain=on", Size: 3 << 20, Check: true},
	"flat":   {Format: "vmdk", Options: "subformat=monolithicFlat", Size: 3 << 20, Check: true},
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
	o := &blocktest.Oracle{Format: "vmdk", Size: 3 << 20}
	o.PowerFailure(t, func(t *testing.T, name string) { blocktest.QemuImg(t, "check", "-q", "-f", "vmdk", name) })
}

// TestExtents reads and writes what QEMU makes of several files.
func TestExtents(t *testing.T) {
	for _, sub := range []string{"twoGbMaxExtentSparse", "twoGbMaxExtentFlat"} {
		name := filepath.Join(t.TempDir(), "disk.vmdk")
		blocktest.QemuImg(t, "create", "-q", "-f", "vmdk", "-o", "subformat="+sub, name, "5G")
		const edge = 2 << 30 // about where the second extent begins
		d := blocktest.OpenDisk(t, "vmdk", name)
		c := d.Backend.Root()
		p := bytes.Repeat([]byte("extents!"), 1<<17)
		for _, off := range []int64{0, edge - 1<<19, 2*edge - 1<<19, d.Node.Length() - 1<<20} {
			if err := c.Pwrite(off, p); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(p))
			if err := c.Pread(off, got); err != nil || !bytes.Equal(got, p) {
				t.Errorf("%s: what was written at %d is not read (%v)", sub, off, err)
			}
		}
		d.Close(t)
		out, err := exec.Command("qemu-io", "-f", "vmdk", "-c", "read -v 2147483640 16", "-c", "read -v 1047552 8", "-c", "read -P 0 1M 64k", name).CombinedOutput()
		if err != nil || bytes.Count(out, []byte("extents.")) != 3 || bytes.Contains(out, []byte("failed")) {
			t.Errorf("%s: QEMU reads %v\n%s", sub, err, out)
		}
	}
}

// TestBacking writes above a backing file, and QEMU sees the same.
func TestBacking(t *testing.T) {
	for _, opts := range []string{"", "zeroed_grain=on"} {
		t.Run(opts, func(t *testing.T) {
			dir := t.TempDir()
			base, top := filepath.Join(dir, "base.vmdk"), filepath.Join(dir, "top.vmdk")
			const size = 3 << 20
			m := blocktest.NewModel(size, 5)
			blocktest.Create(t, "vmdk", base, "size=3M")
			d := blocktest.OpenDisk(t, "vmdk", base)
			for range 40 {
				m.Step(t, d)
			}
			d.Close(t)
			blocktest.Create(t, "vmdk", top, strings.Trim(opts+",size=3M,backing_fmt=vmdk,backing_file=base.vmdk", ","))
			for range 3 {
				d := blocktest.OpenDisk(t, "vmdk", top)
				if d.Node.Backing() == nil {
					t.Fatal("no backing file")
				}
				for range 30 {
					m.Step(t, d)
				}
				m.Verify(t, d)
				d.Close(t)
				m.Compare(t, "vmdk", top)
			}
			// Writing to the base cuts the top off, for QEMU as for us.
			d = blocktest.OpenDisk(t, "vmdk", base)
			if err := d.Backend.Root().Pwrite(0, []byte{1}); err != nil {
				t.Fatal(err)
			}
			d.Close(t)
			if err := blocktest.TryOpen("vmdk", top); err == nil || !strings.Contains(err.Error(), "parentCID") {
				t.Errorf("the base has changed: %v", err)
			}
			if out, err := exec.Command("qemu-io", "-r", "-f", "vmdk", "-c", "read 0 3M", top).CombinedOutput(); err == nil {
				t.Errorf("QEMU reads it: %s", out)
			}
		})
	}
}

// TestParallelCopy has many writes at once find that their grains are to be copied
// from the backing file first: none of them undoes another.
func TestParallelCopy(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base.vmdk")
	blocktest.Create(t, "vmdk", base, "size=3M")
	d := blocktest.OpenDisk(t, "vmdk", base)
	if err := d.Backend.Root().Pwrite(0, bytes.Repeat([]byte{0x55}, 3<<20)); err != nil {
		t.Fatal(err)
	}
	d.Close(t)
	(&blocktest.Oracle{Format: "vmdk", Options: "backing_fmt=vmdk,backing_file=" + base, Size: 3 << 20, Check: true}).Parallel(t)
}

// TestSnapshot puts an image on top of one that is in use, as a snapshot does: it is
// opened without its backing file, and given it then.
func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	base, top := filepath.Join(dir, "base.vmdk"), filepath.Join(dir, "top.vmdk")
	blocktest.Create(t, "vmdk", base, "size=1M")
	d := blocktest.OpenDisk(t, "vmdk", base)
	defer d.Close(t)
	if err := d.Backend.Root().Pwrite(4096, []byte("below")); err != nil {
		t.Fatal(err)
	}
	blocktest.Create(t, "vmdk", top, "size=1M,backing_fmt=vmdk,backing_file=base.vmdk")
	o := &qmp.Object{}
	o.Add("driver", "vmdk")
	o.Add("backing", nil)
	ctx := context.Background()
	n, err := d.Graph.OpenImage(ctx, top, o, qmp.JSON, block.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Unref()
	if err := d.Graph.SetBacking(n, d.Node); err != nil {
		t.Fatal(err)
	}
	b := blocktest.Backend(t, d.Graph, n, block.PermRead|block.PermWrite)
	defer b.Close()
	p := make([]byte, 10)
	if err := b.Root().Pwrite(4101, []byte("above")); err != nil {
		t.Fatal(err)
	}
	if err := b.Root().Pread(4096, p); err != nil || string(p) != "belowabove" {
		t.Errorf("%q (%v)", p, err)
	}
}

// TestStreamOptimized reads what QEMU has compressed, and refuses to write it.
func TestStreamOptimized(t *testing.T) {
	dir := t.TempDir()
	raw, name := filepath.Join(dir, "raw"), filepath.Join(dir, "disk.vmdk")
	m := blocktest.NewModel(5<<20, 6)
	for i := range m.Data[:3<<20] {
		m.Data[i] = byte(i>>7) ^ byte(i>>16)
	}
	if err := os.WriteFile(raw, m.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	blocktest.QemuImg(t, "convert", "-q", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, name)
	if err := blocktest.TryOpen("vmdk", name); err == nil || !strings.Contains(err.Error(), "can only be read") {
		t.Errorf("writing it: %v", err)
	}
	d := blocktest.OpenReadOnly(t, "vmdk", name)
	m.Verify(t, d)
	d.Close(t)
}

// TestNames has the types of image that are not there refused by name.
func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"# x\nversion=1\nCID=1\ncreateType=\"vmfsSparse\"\nRW 1 VMFSSPARSE \"x\"\n": "Unsupported image type 'vmfsSparse'",
		"version=1\nCID=1\ncreateType=\"monolithicFlat\"\nRW 1 SESPARSE \"x\"\n":    "Unsupported extent type 'SESPARSE'",
		"version=1\nCID=xyz\ncreateType=\"monolithicFlat\"\n":                       "CID (at offset 14): \"xyz\"",
		"version=1\nCID=1\ncreateType=\"monolithicFlat\"\n":                         "the description names none",
		"version=1\nCID=1\ncreateType=\"monolithicFlat\"\nRW 99x FLAT \"x\" 0\n":    "extent (at offset 44): invalid extent line",
		"COWD": "sparse extents of ESX servers (COWD)",
	} {
		if err := blocktest.OpenError(t, "vmdk", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	g := block.NewGraph(block.Env{})
	for _, sub := range []string{"streamOptimized", "twoGbMaxExtentFlat"} {
		err := blocktest.TryCreate(g, "vmdk", filepath.Join(t.TempDir(), "x"), "size=1M,subformat="+sub)
		if err == nil || !strings.Contains(err.Error(), "'"+sub+"'") {
			t.Errorf("%s: %v", sub, err)
		}
	}
}

func FuzzImage(f *testing.F) {
	p := kinds["sparse"].Seed(f)
	f.Add(p, uint16(0), uint64(0))
	f.Add([]byte("version=1\nCID=1\ncreateType=\"monolithicFlat\"\nRW 99 FLAT \"x\" 0\n"), uint16(0), uint64(0))
	for _, at := range []uint16{4, 8, 12, 20, 28, 36, 44, 48, 56, 64, 0x200, 21 * 512, 22 * 512, 22*512 + 4} {
		for _, v := range []uint64{0, 1, 2, 0x200, 1 << 20, 0x7fffffff, 0xffffffff, 1<<63 - 1, 1<<64 - 1} {
			f.Add(p[:min(len(p), 16384)], at, v)
		}
	}
	f.Fuzz(func(t *testing.T, image []byte, at uint16, v uint64) {
		if len(image) > 1<<20 {
			return
		}
		blocktest.Hostile(t, "vmdk", blocktest.Patched(image, int(at), v))
	})
}

// TestMalformed names the field that is wrong, and where it is.
func TestMalformed(t *testing.T) {
	image := kinds["sparse"].Seed(t)
	for _, c := range []struct {
		at   int
		v    uint64
		want string
	}{
		{4, 9 | 3<<32, "Unsupported VMDK version 9"},
		{12, 1 << 60, "capacity (at offset 12)"},
		{12, 1 << 50, "grain directory of"},
		{20, 3, "grainSize (at offset 20)"},
		{28, 0, "descriptorOffset (at offset 28)"},
		{44, 1000, "numGTEsPerGT (at offset 44)"},
		{48, 1 << 40, "rgdOffset (at offset 48)"},
		{56, 1 << 20, "gdOffset (at offset 56)"},
		{56, 1<<64 - 1, "magicNumber"},
		{64, 1 << 30, "File truncated, expecting at least"},
		{21 * 512, 0x7fffffff, "grain directory (at offset 10752)"},
	} {
		if err := blocktest.OpenError(t, "vmdk", blocktest.Patched(image, c.at, c.v)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%#x at %d: %v", c.v, c.at, err)
		}
	}
}
