package block_test

import (
	"context"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	"govmd/internal/qmp"
)

// A name is no deeper than a document may be: its depth is the stack's.
func TestDeepJSONName(t *testing.T) {
	g := block.NewGraph(block.Env{})
	name := `json:{"driver":"raw","file` + strings.Repeat(".file", 1<<20) + `":"x"}`
	n, err := g.OpenImage(context.Background(), name, nil, qmp.JSON, block.Settings{})
	if err == nil {
		n.Unref()
		t.Fatal("it was opened")
	}
	if want := "Could not parse the JSON options: JSON nesting depth limit exceeded"; err.Error() != want {
		t.Errorf("the error is %.200q", err)
	}
}

// TestJSONNames opens images by names that say everything, as images have them of
// their backing files: what such a name opens has a name that opens it again.
func TestJSONNames(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	blocktest.Create(t, "qcow2", "a.qcow2", "size=1M")
	blocktest.Create(t, "qcow2", "b.qcow2", "size=1M,backing_file=a.qcow2,backing_fmt=qcow2")
	const file = `"file": {"driver": "file", "filename": "b.qcow2"}`
	for _, c := range []struct {
		name, want string
		backing    bool
		text       bool // it has sizes as option text
	}{
		{name: `{"driver": "qcow2", ` + file + `}`, want: "b.qcow2", backing: true},
		{name: `{"driver":"qcow2","file.driver":"file","file.filename":"b.qcow2"}`, want: "b.qcow2", backing: true},
		{name: `{"file.filename":"b.qcow2"}`, want: "b.qcow2", backing: true},
		{name: `{"driver": "qcow2", "backing": null, ` + file + `}`, want: "b.qcow2"},
		{name: `{"driver": "qcow2", "l2-cache-size": "64k", "cache-size": 131072, ` + file + `}`, want: "b.qcow2", backing: true, text: true},
		{name: `{"driver": "qcow2", "lazy-refcounts": true, "overlap-check": {"template": "all"}, ` + file + `}`, want: "b.qcow2", backing: true},
		{name: `{"driver": "raw", "offset": 512, "size": 1024, ` + file + `}`, want: `json:{"driver": "raw", "offset": 512, "size": 1024, ` + file + `}`},
		{name: `{"driver": "raw", ` + file + `}`, want: "b.qcow2"},
		{name: `{"driver": "null-co", "size": "64k", "read-zeroes": true}`, want: `json:{"driver": "null-co", "size": 65536, "read-zeroes": true}`, text: true},
		{name: `{"driver": "null-co"}`, want: "null-co://"},
	} {
		for _, mode := range []qmp.Mode{qmp.JSON, qmp.Keyval} {
			if c.text && mode == qmp.JSON {
				continue
			}
			g := block.NewGraph(block.Env{})
			n, err := g.OpenImage(context.Background(), "json:"+c.name, nil, mode, block.Settings{})
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if got := n.FileName(); got != c.want {
				t.Errorf("%s is called %s, not %s", c.name, got, c.want)
			}
			if got := n.Backing() != nil; got != c.backing {
				t.Errorf("%s has a backing file: %v", c.name, got)
			}
			n.Unref()
		}
	}
}
