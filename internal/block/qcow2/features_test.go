package qcow2_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	"govmd/internal/block/file"
	"govmd/internal/block/qcow2"
	"govmd/internal/qmp"
)

// TestBitmaps stores bitmaps that QEMU reads, and reads those that QEMU stores.
func TestBitmaps(t *testing.T) {
	needQemu(t)
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	newImage(t, name, &qcow2.CreateOptions{Size: 64 << 20})
	d := openDisk(t, name)
	if err := d.n.Driver().(block.BitmapStore).CanStoreBitmap("ours", 65536); err != nil {
		t.Fatal(err)
	}
	bm, err := d.n.CreateBitmap("ours", 65536)
	if err != nil {
		t.Fatal(err)
	}
	bm.SetPersistent(true)
	if err := d.b.Root().Pwrite(5<<20, []byte{1}); err != nil {
		t.Fatal(err)
	}
	d.close(t)
	qemuImg(t, "check", "-q", name)
	qemuImg(t, "bitmap", "--add", "--enable", "-g", "4096", name, "theirs")
	qemuImg(t, "bitmap", "--merge", "ours", name, "theirs")
	var info struct {
		Specific struct {
			Data struct {
				Bitmaps []struct {
					Name        string
					Granularity int
					Flags       []string
				}
			}
		} `json:"format-specific"`
	}
	if err := json.Unmarshal([]byte(qemuImg(t, "info", "--output=json", name)), &info); err != nil {
		t.Fatal(err)
	}
	if b := info.Specific.Data.Bitmaps; len(b) != 2 || b[0].Name != "ours" || b[0].Granularity != 65536 || strings.Join(b[0].Flags, " ") != "auto" {
		t.Errorf("QEMU sees %+v", b)
	}
	d = openDisk(t, name)
	theirs := d.n.Bitmap("theirs")
	if theirs == nil {
		t.Fatal("QEMU's bitmap is not there")
	}
	if theirs.Count() != 65536 || !theirs.Get(5<<20) || !theirs.Enabled() || theirs.Busy() || theirs.Inconsistent() {
		t.Errorf("QEMU's bitmap has %d bytes", theirs.Count())
	}
	// As long as it is open nobody else trusts them.
	out := qemuImg(t, "info", "-U", name)
	if strings.Count(out, "in-use") != 2 {
		t.Errorf("not marked as in use:\n%s", out)
	}
	if err := d.n.Driver().(block.BitmapStore).RemoveBitmap(context.Background(), "ours"); err != nil {
		t.Fatal(err)
	}
	d.n.Bitmap("ours").Remove()
	d.close(t)
	qemuImg(t, "check", "-q", name)
	if out := qemuImg(t, "info", name); strings.Contains(out, "ours") || !strings.Contains(out, "theirs") {
		t.Errorf("removed, but:\n%s", out)
	}
}

// TestDataFile keeps data in another file, raw or not.
func TestDataFile(t *testing.T) {
	needQemu(t)
	for _, raw := range []bool{false, true} {
		dir := t.TempDir()
		name, data := filepath.Join(dir, "disk.qcow2"), filepath.Join(dir, "data.raw")
		if err := os.WriteFile(data, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		ref := block.DefRef(&block.Options{Driver: "file", Branch: &file.Options{Filename: data}})
		const size = 4 << 20
		newImage(t, name, &qcow2.CreateOptions{Size: size, DataFile: &ref, DataFileRaw: &raw})
		m := newModel(size, 21)
		for range 2 {
			d := openDisk(t, name)
			for range 100 {
				m.step(t, d, 65536)
			}
			m.verify(t, d)
			d.close(t)
			m.compare(t, name)
			if raw {
				got, err := os.ReadFile(data)
				if err != nil || string(got) != string(m.data) {
					t.Errorf("the data file is not the disk (%v)", err)
				}
			}
		}
	}
}

// TestRefused opens what must not be opened.
func TestRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	newImage(t, name, &qcow2.CreateOptions{Size: 1 << 20})
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   int
		v    byte
		want string
	}{
		{7, 9, "Unsupported qcow2 version 9"},
		{23, 40, "Unsupported cluster size: 2^40"},
		{72, 0x80, "Unsupported qcow2 feature(s): Unknown incompatible feature: 8000000000000000"},
		{79, 2, "Image is corrupt; cannot be opened read/write"},
		{35, 7, "Unsupported encryption method 7"},
		{35, 1, "Use of AES-CBC encrypted qcow2 images is not supported"},
		{35, 2, "Encryption header offset 0x0 or length 0 invalid"},
		{99, 9, "Reference count entry width too large"},
		{47, 1, "Active L1 table offset invalid"},
		{41, 1, "beyond the end of the file"},
		{24, 0xff, "Image size too big"},
		{19, 1, ""},
	} {
		bad := append([]byte(nil), good...)
		bad[c.at] = c.v
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		g := block.NewGraph(block.Env{})
		o := &qmp.Object{}
		o.Add("driver", "qcow2")
		n, err := g.OpenImage(context.Background(), name, o, qmp.JSON, block.Settings{})
		if err == nil {
			n.Unref()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("byte %d is %#x: %v", c.at, c.v, err)
		}
		if left := g.CloseAll(); len(left) > 0 {
			t.Errorf("left open: %v", left)
		}
	}
}

// TestBackingLoop refuses an image that is its own backing file.
func TestBackingLoop(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	newImage(t, name, &qcow2.CreateOptions{Size: 1 << 20, BackingFile: ptr("disk.qcow2"), BackingFmt: ptr("qcow2")})
	g := block.NewGraph(block.Env{})
	n, err := g.OpenImage(context.Background(), name, nil, qmp.JSON, block.Settings{})
	if err == nil {
		n.Unref()
		t.Fatal("it was opened")
	}
	if !strings.Contains(err.Error(), "infinite loop") && !strings.Contains(err.Error(), "lock") {
		t.Error(err)
	}
}

// TestRepair has a check find and repair what is wrong.
func TestRepair(t *testing.T) {
	needQemu(t)
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	newImage(t, name, &qcow2.CreateOptions{Size: 1 << 20})
	d := openDisk(t, name)
	m := newModel(1<<20, 1)
	for range 50 {
		m.step(t, d, 65536)
	}
	d.close(t)
	for what, spoil := range map[string]func(p []byte){
		"a leak":                 func(p []byte) { p[2<<16+2*200+1] = 1 },
		"a refcount of 0":        func(p []byte) { p[2<<16+2*4+1] = 0 },
		"no refcount block":      func(p []byte) { clear(p[1<<16 : 1<<16+8]) },
		"an unaligned block":     func(p []byte) { p[1<<16+7] = 8 },
		"a flag that is missing": func(p []byte) { p[3<<16] &^= 0x80 },
	} {
		image, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		spoil(image)
		bad := filepath.Join(t.TempDir(), "bad.qcow2")
		if err := os.WriteFile(bad, image, 0o600); err != nil {
			t.Fatal(err)
		}
		g := block.NewGraph(block.Env{})
		o := &qmp.Object{}
		o.Add("driver", "qcow2")
		n, err := g.OpenImage(context.Background(), bad, o, qmp.JSON, block.Settings{CheckOnly: true})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		c := n.Driver().(block.Checker)
		res, err := c.Check(context.Background(), 0)
		if err != nil || res.Corruptions+res.Leaks == 0 {
			t.Errorf("%s was not found: %+v (%v)", what, res, err)
		}
		if res, err = c.Check(context.Background(), block.FixErrors|block.FixLeaks); err != nil {
			t.Errorf("%s was not repaired: %+v (%v)", what, res, err)
		}
		n.Unref()
		m.compare(t, bad)
	}
}

// TestLocks shares an image with QEMU as far as both of them allow.
func TestLocks(t *testing.T) {
	needQemu(t)
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	newImage(t, name, &qcow2.CreateOptions{Size: 1 << 20})
	open := func(readOnly bool) (*block.Node, error) {
		o := &qmp.Object{}
		o.Add("driver", "qcow2")
		return block.NewGraph(block.Env{}).OpenImage(context.Background(), name, o, qmp.JSON, block.Settings{ReadOnly: readOnly})
	}
	qemu := func(args ...string) error {
		return exec.Command("qemu-io", append([]string{"-f", "qcow2", "-c", "read 0 512"}, append(args, name)...)...).Run()
	}
	// Readers do not mind each other.
	n, err := open(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := qemu("-r"); err != nil {
		t.Errorf("QEMU cannot read what we read: %v", err)
	}
	if err := qemu(); err == nil {
		t.Error("QEMU writes what we read")
	}
	n.Unref()
	// A writer is alone.
	if n, err = open(false); err != nil {
		t.Fatal(err)
	}
	if err := qemu("-r"); err == nil {
		t.Error("QEMU reads what we write")
	}
	if err := qemu("-r", "-U"); err != nil {
		t.Errorf("QEMU cannot read by force what we write: %v", err)
	}
	n.Unref()
	// The same the other way round.
	for _, c := range []struct {
		arg            string
		reader, writer bool // that we can be
	}{{"-r", true, false}, {"-n", false, false}} {
		args := []string{"-f", "qcow2", c.arg, name}
		if c.arg == "-n" {
			args = []string{"-f", "qcow2", name}
		}
		end := blocktest.QemuIO(t, args...)
		for _, readOnly := range []bool{true, false} {
			n, err := open(readOnly)
			want := c.writer
			if readOnly {
				want = c.reader
			}
			if (err == nil) != want {
				t.Errorf("beside qemu-io %s, read-only %v: %v", c.arg, readOnly, err)
			}
			if err == nil {
				n.Unref()
			}
		}
		end()
	}
}

// TestHandOver gives the image to another process and takes it back, as the two
// ends of a migration do.
func TestHandOver(t *testing.T) {
	needQemu(t)
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	newImage(t, name, &qcow2.CreateOptions{Size: 1 << 20})
	d := openDisk(t, name)
	bm, err := d.n.CreateBitmap("bits", 65536)
	if err != nil {
		t.Fatal(err)
	}
	bm.SetPersistent(true)
	c := d.b.Root()
	if err := c.Pwrite(0, []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if err := d.g.InactivateAll(); err != nil {
		t.Fatal(err)
	}
	if err := c.Pwrite(0, []byte{9}); err != block.ErrReadOnly {
		t.Errorf("a write to an image that is another's: %v", err)
	}
	if out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", "read -P 2 1 1", "-c", "write -P 7 65536 512", name).CombinedOutput(); err != nil || strings.Contains(string(out), "failed") {
		t.Fatalf("QEMU could not have it: %v %s", err, out)
	}
	qemuImg(t, "check", "-q", name)
	if err := d.g.ActivateAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1)
	if err := c.Pread(65536, p); err != nil || p[0] != 7 {
		t.Errorf("what QEMU wrote is %d (%v)", p[0], err)
	}
	if bm = d.n.Bitmap("bits"); !bm.Get(0) || !bm.Get(65536) || bm.Count() != 2*65536 {
		t.Errorf("the bitmap does not have what QEMU wrote: %d bytes", bm.Count())
	}
	if err := c.Pwrite(4096, []byte{5}); err != nil {
		t.Error(err)
	}
	if err := exec.Command("qemu-io", "-f", "qcow2", "-r", "-c", "read 0 1", name).Run(); err == nil {
		t.Error("QEMU reads what is ours again")
	}
	d.close(t)
	qemuImg(t, "check", "-q", name)
}
