package block_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// TestForeign has formats and protocols that are not there refused by name, and an
// image of such a format not taken for raw.
func TestForeign(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	open := func(name, format string) error {
		o := &qmp.Object{}
		if format != "" {
			o.Add("driver", format)
		}
		n, err := block.NewGraph(block.Env{}).OpenImage(ctx, name, o, qmp.JSON, block.Settings{ReadOnly: true})
		if err == nil {
			n.Unref()
		}
		return err
	}
	for format, head := range map[string]string{
		"qcow": "QFI\xfb\x00\x00\x00\x01", "qed": "QED\x00", "parallels": "WithoutFreeSpace", "bochs": "Bochs Virtual HD Image\x00",
		"cloop": "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n",
	} {
		name := filepath.Join(dir, format)
		if err := os.WriteFile(name, []byte(head+strings.Repeat("\x00", 4096)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := open(name, ""); err == nil || !strings.Contains(err.Error(), "is in the format '"+format+"'") {
			t.Errorf("%s is guessed: %v", format, err)
		}
		if err := open(name, "raw"); err != nil {
			t.Errorf("%s as raw: %v", format, err)
		}
		if err := open(name, format); err == nil || !strings.Contains(err.Error(), "Driver '"+format+"' is not supported by govmd") {
			t.Errorf("%s: %v", format, err)
		}
		err := block.NewGraph(block.Env{}).CreateImage(ctx, format, name+".new", &qmp.Object{}, qmp.JSON)
		if err == nil || !strings.Contains(err.Error(), "'"+format+"' is not supported") {
			t.Errorf("making %s: %v", format, err)
		}
	}
	for _, name := range []string{"http://x/y", "ssh://x/y", "iscsi://x/y", "nfs://x/y", "rbd:a/b", "gluster://x/y", "fat:/tmp", "sheepdog:x"} {
		prefix, _, _ := strings.Cut(name, ":")
		if err := open(name, ""); err == nil || !strings.Contains(err.Error(), "Protocol '"+prefix+"' is not supported by govmd") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, driver := range []string{"qed", "quorum"} {
		o := &qmp.Object{}
		o.Add("driver", driver)
		if _, err := block.DecodeOptions(o, qmp.JSON); err == nil || !strings.Contains(err.Error(), "not supported by govmd") {
			t.Errorf("%s: %v", driver, err)
		}
	}
}
