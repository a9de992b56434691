package qcow2_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/qcow2"
	"govmd/internal/qmp"
)

// amend changes options of an image as -o has them.
func amend(d *disk, text string) error {
	keys := &qmp.Object{}
	for _, kv := range strings.Split(text, ",") {
		k, v, _ := strings.Cut(kv, "=")
		keys.Set(k, v)
	}
	o, err := block.DecodeAmend("qcow2", keys, qmp.Keyval)
	if err != nil {
		return err
	}
	return d.n.Driver().(block.Amender).Amend(context.Background(), o, false, func(int64, int64) {})
}

// TestAmend changes all that can be changed between writes at random, with and
// without a backing file.
func TestAmend(t *testing.T) {
	needQemu(t)
	for _, backing := range []bool{false, true} {
		dir := t.TempDir()
		name := filepath.Join(dir, "disk.qcow2")
		const size = 4 << 20
		o := qcow2.CreateOptions{Size: size, ClusterSize: ptr(qmp.Size(4096))}
		m := newModel(size, 8)
		if backing {
			base := filepath.Join(dir, "base.qcow2")
			newImage(t, base, &qcow2.CreateOptions{Size: size})
			b := openDisk(t, base)
			for range 50 {
				m.step(t, b, 65536)
			}
			b.close(t)
			o.BackingFile, o.BackingFmt = ptr("base.qcow2"), ptr("qcow2")
		}
		newImage(t, name, &o)
		for _, change := range []string{"refcount_bits=64", "lazy_refcounts=on", "refcount_bits=8", "refcount_bits=16", "compat=0.10", "compat=1.1", "compat=v2", "compat=1.1,refcount_bits=32,lazy_refcounts=on", "lazy_refcounts=off"} {
			d := openDisk(t, name)
			for range 40 {
				m.step(t, d, 4096)
			}
			if err := amend(d, change); err != nil {
				t.Fatalf("%s: %v", change, err)
			}
			m.verify(t, d)
			for range 20 {
				m.step(t, d, 4096)
			}
			m.verify(t, d)
			d.close(t)
			m.compare(t, name)
		}
	}
}

// TestAmendRefused leaves the image as it is.
func TestAmendRefused(t *testing.T) {
	needQemu(t)
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	newImage(t, name, &qcow2.CreateOptions{Size: 1 << 20})
	d := openDisk(t, name)
	c := d.b.Root()
	if err := c.Pwrite(0, make([]byte, 131072)); err != nil {
		t.Fatal(err)
	}
	if err := c.PwriteZeroes(0, 65536, 0); err != nil {
		t.Fatal(err)
	}
	s := d.n.Driver().(block.Snapshotter)
	for _, id := range []string{"a", "b"} {
		if err := s.CreateSnapshot(context.Background(), &block.Snapshot{Name: id}); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"refcount_bits=1":             "has a refcount of 3",
		"refcount_bits=5":             "must be a power of two",
		"compat=0.10":                 "has clusters of zeroes",
		"compat=0.10,refcount_bits=8": "compat=0.10 requires refcount_bits=16",
		"cluster_size=512":            "only supported for image creation",
	} {
		if err := amend(d, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	d.close(t)
	qemuImg(t, "check", "-q", name)
}
