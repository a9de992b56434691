package vdi_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"strings"
	"testing"

	"govmd/internal/block/blocktest"
	_ "govmd/internal/block/drivers"
)

func TestMain(m *testing.M) { os.Exit(blocktest.InMemory(m)) }

var le = binary.LittleEndian

var kinds = map[string]*blocktest.Oracle{
	"dynamic": {Format: "vdi", Size: 5<<20 + 512, Check: true},
	"static":  {Format: "vdi", Options: "static=on", Size: 3 << 20, Check: true},
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
	kinds["dynamic"].PowerFailure(t, func(t *testing.T, name string) {
		// The header may count more blocks than the map has come to name.
		out, _ := exec.Command("qemu-img", "check", "-f", "vdi", name).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "ERROR:") && !strings.Contains(line, "allocated blocks mismatch") {
				t.Error(line)
			}
		}
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// Where the next block goes must be behind all that the map names.
		next, blocks := le.Uint32(p[0x184:]), int(le.Uint32(p[0x180:]))
		for i := range blocks {
			if e := le.Uint32(p[512+4*i:]); e < 0xfffffffe && e >= next {
				t.Errorf("block %d is in place %d, and the next is to go to %d", i, e, next)
			}
		}
	})
}

func FuzzImage(f *testing.F) {
	for _, o := range kinds {
		p := o.Seed(f)
		f.Add(p[:min(len(p), 64<<10)], uint16(0), uint64(0))
		for _, at := range []uint16{0x44, 0x4c, 0x154, 0x158, 0x168, 0x170, 0x178, 0x17c, 0x180, 0x184, 0x1a8, 0x1b8, 0x200, 0x204} {
			for _, v := range []uint64{0, 1, 0x200, 1 << 20, 0x7fffffff, 0xfffffffd, 1 << 40, 1<<63 - 1} {
				f.Add(p[:min(len(p), 4096)], at, v)
			}
		}
	}
	f.Fuzz(func(t *testing.T, image []byte, at uint16, v uint64) {
		if len(image) > 1<<20 {
			return
		}
		blocktest.Hostile(t, "vdi", blocktest.Patched(image, int(at), v))
	})
}

// TestMalformed names the field that is wrong, and where it is.
func TestMalformed(t *testing.T) {
	p := kinds["dynamic"].Seed(t)[:1024]
	for _, c := range []struct {
		at   int
		v    uint32
		want string
	}{
		{0x44, 0x20000, "unsupported VDI image (version 2.0)"},
		{0x4c, 4, "differencing images are not supported"},
		{0x154, 100, "offset_bmap (at offset 340)"},
		{0x154, 1 << 30, "offset_data (at offset 344)"},
		{0x168, 4096, "sector_size (at offset 360)"},
		{0x174, 1, "disk_size (at offset 368)"},
		{0x180, 1 << 30, "blocks_in_image (at offset 384)"},
		{0x184, 1 << 20, "blocks_allocated (at offset 388)"},
		{0x1b8, 1, "uuid_parent (at offset 440)"},
		{0x204, 77, "entry of the block map (at offset 516)"},
	} {
		image := bytes.Clone(p)
		le.PutUint32(image[c.at:], c.v)
		if err := blocktest.OpenError(t, "vdi", image); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%#x at %#x: %v", c.v, c.at, err)
		}
	}
}
