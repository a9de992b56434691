package blkdebug_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	_ "govmd/internal/block/drivers"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// open opens a raw image in a file of 1 MiB through a blkdebug with rules.
func open(t *testing.T, rules string) (*block.Node, *block.Backend) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	text := `{"driver": "raw", "file": {"driver": "blkdebug", "image": {"driver": "file", "filename": "` + name + `"}` + rules + `}}`
	doc, err := qjson.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	g := block.NewGraph(block.Env{})
	o, err := block.DecodeOptions(qmp.ToAny(doc.Root()).(*qmp.Object), qmp.JSON)
	if err != nil {
		t.Fatal(err)
	}
	n, err := g.Open(context.Background(), o, block.Settings{Unmap: true})
	if err != nil {
		t.Fatal(err)
	}
	b := blocktest.Backend(t, g, n, block.PermRead|block.PermWrite)
	t.Cleanup(func() {
		b.Close()
		n.Unref()
	})
	return n, b
}

func TestInject(t *testing.T) {
	_, b := open(t, `, "set-state": [{"event": "write_aio", "state": 1, "new_state": 2}],
		"inject-error": [{"event": "read_aio", "state": 2, "errno": 28, "sector": 3, "once": true},
			{"event": "none", "iotype": "discard", "errno": 95}]`)
	p := make([]byte, 512)
	c := b.Root()
	read := func(sector int64) error { return c.Pread(sector*512, p) }
	if err := read(3); err != nil {
		t.Errorf("before the state: %v", err)
	}
	if err := c.Pwrite(0, p); err != nil {
		t.Errorf("write: %v", err)
	}
	if err := read(2); err != nil {
		t.Errorf("another sector: %v", err)
	}
	if err := read(3); err != unix.ENOSPC {
		t.Errorf("the sector: %v", err)
	}
	if err := read(3); err != nil {
		t.Errorf("once is once: %v", err)
	}
}

func TestBreak(t *testing.T) {
	n, b := open(t, "")
	bp := block.BreakpointsOf(n)
	if bp == nil {
		t.Fatal("no breakpoints")
	}
	if err := bp.SetBreak("write_aio", "A"); err != nil {
		t.Fatal(err)
	}
	if err := bp.SetBreak("nonsense", "B"); err == nil {
		t.Error("a breakpoint at an unknown event")
	}
	q := b.NewQueue("test", 2)
	done := make(chan error, 1)
	r := &block.Request{Op: block.OpWrite, Vec: block.VecOf(make([]byte, 512)), Done: func(_ *block.Request, err error) { done <- err }}
	q.Submit(r)
	if err := bp.WaitBreak("A", nil); err != nil {
		t.Fatal(err)
	}
	// Others go on beside it.
	if err := q.Do(block.OpRead, 4096, 0, block.VecOf(make([]byte, 512)), 0); err != nil {
		t.Error(err)
	}
	select {
	case <-done:
		t.Error("the write was not held")
	default:
	}
	if err := bp.ResumeBreak("A"); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := bp.ResumeBreak("A"); err != unix.ENOENT {
		t.Errorf("resumed twice: %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, []byte("[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\n[set-state]\nwrong=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(dir, "img")
	if err := os.WriteFile(img, make([]byte, 512), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"blkdebug:" + conf + ":" + img, "blkdebug:nocolon", "blkdebug:/none:" + img} {
		g := block.NewGraph(block.Env{})
		if n, err := g.OpenImage(context.Background(), name, nil, qmp.JSON, block.Settings{}); err == nil {
			n.Unref()
			t.Errorf("%s was opened", name)
		}
		if left := g.CloseAll(); len(left) > 0 {
			t.Errorf("%s left %v open", name, left)
		}
	}
	g := block.NewGraph(block.Env{})
	n, err := g.OpenImage(context.Background(), "blkdebug::"+img, nil, qmp.JSON, block.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	n.Unref()
}
