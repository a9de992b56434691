package control

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"govmd/internal/block"
	_ "govmd/internal/block/drivers"
	"govmd/internal/event"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// rig is a graph with the commands; what is published is written down.
type rig struct {
	*testing.T
	*Control
	reg    *qmp.Registry
	events []string
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, reg: qmp.NewRegistry()}
	var bus event.Bus
	bus.Subscribe(func(s event.Stamped) { r.events = append(r.events, fmt.Sprintf("%s%+v", s.Event.EventName(), s.Event)) })
	r.Control = New(Config{Graph: block.NewGraph(block.Env{Bus: &bus})})
	r.reg.Add(r.Commands()...)
	t.Chdir(t.TempDir())
	return r
}

// call carries a command out and returns its answer, or "! " and the error.
func (r *rig) call(name, args string) (answer string) {
	r.Helper()
	doc, err := qjson.Parse([]byte(args))
	if err != nil {
		r.Fatal(err)
	}
	c := r.reg.Lookup(name)
	if c == nil {
		r.Fatalf("there is no command %s", name)
	}
	ctx := &qmp.Context{Context: context.Background(), Registry: r.reg}
	done := func(out []byte, err error) {
		if answer = string(out); err != nil {
			answer = "! " + err.Error()
		}
	}
	if c.Async() {
		c.Start(ctx, doc.Root(), qmp.JSON, done)
	} else {
		done(c.Call(ctx, doc.Root(), qmp.JSON, nil))
	}
	return answer
}

func (r *rig) ok(name, args string) {
	r.Helper()
	if got := r.call(name, args); got != "{}" {
		r.Errorf("%s %s: %s", name, args, got)
	}
}

func (r *rig) fails(name, args, want string) {
	r.Helper()
	if got := r.call(name, args); got != "! "+want {
		r.Errorf("%s %s:\n got %s\nwant ! %s", name, args, got, want)
	}
}

func (r *rig) sh(args ...string) string {
	r.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		r.Fatalf("%v: %s", args, out)
	}
	return string(out)
}

// player is a drive's device with a tray.
type player struct {
	backend      *block.Backend
	open, locked bool
	log          []string
}

func (p *player) BlockDeviceName() string { return "cd0" }
func (p *player) MediumChanged(in bool)   { p.log = append(p.log, fmt.Sprintf("medium %v", in)) }
func (p *player) MediumResized()          {}
func (p *player) TrayOpen() bool          { return p.open }
func (p *player) MediumLocked() bool      { return p.locked }
func (p *player) EjectRequest(force bool) {
	p.log = append(p.log, fmt.Sprintf("asked, force %v", force))
}
func (p *player) MoveTray(open bool) {
	p.log = append(p.log, fmt.Sprintf("open %v", open))
	if p.open != open {
		p.open = open
		p.backend.PublishTray(open)
	}
}

// attached makes a drive with a device.
func (r *rig) attached(name string, dev block.Device) *block.Backend {
	r.Helper()
	b, err := r.graph.NewBackend(name)
	if err == nil {
		err = b.Attach(dev)
	}
	if err != nil {
		r.Fatal(err)
	}
	return b
}

func (r *rig) player(name string) *player {
	r.Helper()
	p := &player{}
	p.backend = r.attached(name, p)
	return p
}

func (r *rig) image(name string, size int64) {
	r.Helper()
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		r.Fatal(err)
	}
}

func TestMediaChange(t *testing.T) {
	r := newRig(t)
	p := r.player("ide1-cd0")
	r.image("one.iso", 2048)
	r.image("two.iso", 4096)
	expect := func(what string, log ...string) {
		t.Helper()
		if !slices.Equal(p.log, log) {
			t.Errorf("%s: %q, want %q", what, p.log, log)
		}
		p.log = nil
	}
	r.ok("blockdev-change-medium", `{"device": "ide1-cd0", "filename": "one.iso", "format": "raw", "read-only-mode": "read-only"}`)
	expect("the first medium", "open true", "medium true", "open false")
	if n := p.backend.Node(); n == nil || !n.ReadOnly() {
		t.Error("it can be written, or is not there")
	}
	r.ok("change", `{"device": "ide1-cd0", "target": "two.iso", "arg": "raw"}`)
	expect("the next", "open true", "medium false", "medium true", "open false")
	if n := p.backend.Node(); n == nil || n.Length() != 4096 || !n.ReadOnly() {
		t.Error("what the drive was like is not retained")
	}
	r.fails("blockdev-remove-medium", `{"id": "cd0"}`, "Tray of device 'cd0' is not open")
	p.locked = true
	r.fails("eject", `{"device": "ide1-cd0"}`, "Device 'ide1-cd0' is locked and force was not specified, wait for tray to open and try again")
	expect("a lock", "asked, force false")
	r.ok("blockdev-open-tray", `{"id": "cd0"}`)
	expect("a lock", "asked, force false")
	r.ok("blockdev-open-tray", `{"id": "cd0", "force": true}`)
	expect("force", "asked, force true", "open true")
	r.ok("blockdev-remove-medium", `{"id": "cd0"}`)
	expect("removal", "medium false")
	r.ok("blockdev-add", `{"driver": "null-co", "node-name": "new"}`)
	r.fails("blockdev-insert-medium", `{"id": "cd0", "node-name": "none"}`, "Node 'none' not found")
	r.ok("blockdev-insert-medium", `{"id": "cd0", "node-name": "new"}`)
	r.fails("blockdev-insert-medium", `{"id": "cd0", "node-name": "new"}`, "Node 'new' is already in use")
	r.ok("blockdev-close-tray", `{"id": "cd0"}`)
	expect("insertion", "medium true", "open false")
	r.fails("change", `{"device": "vnc", "target": "password", "arg": "x"}`, "No vnc device has been activated")
	if got := strings.Join(r.events, "\n"); strings.Count(got, "DEVICE_TRAY_MOVED{Device:ide1-cd0 ID:cd0 TrayOpen:true}") != 3 {
		t.Errorf("events:\n%s", got)
	}
	r.fails("blockdev-change-medium", `{"device": "ide1-cd0", "filename": "none.iso"}`, "Could not open 'none.iso': No such file or directory")
	if p.backend.Node() == nil {
		t.Error("a medium that cannot be opened has taken the old one's place")
	}
}

func TestFixedDisksDoNotEject(t *testing.T) {
	r := newRig(t)
	r.attached("virtio0", fixed{})
	for _, c := range []string{"eject", "blockdev-open-tray", "blockdev-close-tray"} {
		r.fails(c, `{"device": "virtio0"}`, "Device 'virtio0' is not removable")
	}
}

// fixed is a device whose medium stays.
type fixed struct{}

func (fixed) BlockDeviceName() string { return "disk" }
func (fixed) MediumChanged(bool)      {}
func (fixed) MediumResized()          {}

func TestHistograms(t *testing.T) {
	r := newRig(t)
	b := r.attached("virtio0", fixed{})
	r.ok("block-latency-histogram-set", `{"id": "disk", "boundaries": [10, 50, 100], "boundaries-write": [20]}`)
	b.Stats().Account(block.AcctRead, 512, 0, 10, nil)
	b.Stats().Account(block.AcctRead, 512, 0, 99, nil)
	b.Stats().Account(block.AcctWrite, 512, 0, 19, nil)
	out := r.call("query-blockstats", `{}`)
	for _, want := range []string{
		`"rd_latency_histogram": {"boundaries": [10, 50, 100], "bins": [0, 1, 1, 0]}`,
		`"wr_latency_histogram": {"boundaries": [20], "bins": [1, 0]}`,
		`"flush_latency_histogram": {"boundaries": [10, 50, 100], "bins": [0, 0, 0, 0]}`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
	r.fails("block-latency-histogram-set", `{"id": "disk", "boundaries": [10, 5]}`, "Device 'disk' set read boundaries fail")
	r.ok("block-latency-histogram-set", `{"id": "disk"}`)
	if out := r.call("query-blockstats", `{}`); strings.Contains(out, "histogram") {
		t.Errorf("histograms are still there: %s", out)
	}
}

// The old form of blockdev-add had its options within one member, and made a drive
// if there was an ID.
func TestOldBlockdevAdd(t *testing.T) {
	r := newRig(t)
	r.sh("qemu-img", "create", "-q", "-f", "qcow2", "test.qcow2", "1M")
	r.image("base.raw", 1<<20)
	r.ok("blockdev-add", `{"options": {"driver": "qcow2", "file": {"driver": "file", "filename": "test.qcow2"}}}`)
	if len(r.graph.Nodes()) != 2 {
		t.Fatalf("%d nodes", len(r.graph.Nodes()))
	}
	for _, n := range r.graph.Nodes() {
		if n.MonitorOwned() {
			n.Unref()
		}
	}
	r.ok("blockdev-add", `{"options": {"driver": "qcow2", "id": "my_disk", "discard": "unmap",
		"cache": {"direct": false, "writeback": false}, "file": {"driver": "file", "filename": "test.qcow2"},
		"backing": {"driver": "raw", "file": {"driver": "file", "filename": "base.raw"}}}}`)
	b := r.graph.Backend("my_disk")
	if b == nil || b.WriteCache() || b.Node() == nil || b.Node().Backing() == nil {
		t.Fatalf("the drive is not as it was to be: %+v", b)
	}
	r.fails("blockdev-add", `{"driver": "null-co", "node-name": "x", "id": "y"}`, "Parameter 'id' is unexpected")
	r.fails("blockdev-add", `{"driver": "null-co", "node-name": "x", "cache": {"writeback": true}}`, "Parameter 'cache.writeback' is unexpected")
	if s := string(r.reg.Schema()); strings.Contains(s, `"name": "options"`) && !strings.Contains(s, "blockdev-reopen") || strings.Contains(s, `"name": "writeback", "type": "bool", "default"`) {
		t.Error("the schema tells of what only old clients send")
	}
}

// A transaction that fails leaves nothing.
func TestTransactionsAreUndone(t *testing.T) {
	r := newRig(t)
	r.sh("qemu-img", "create", "-q", "-f", "qcow2", "a.qcow2", "1M")
	r.sh("qemu-img", "create", "-q", "-f", "qcow2", "over.qcow2", "1M")
	r.ok("blockdev-add", `{"driver": "qcow2", "node-name": "a", "file": {"driver": "file", "filename": "a.qcow2"}}`)
	r.ok("blockdev-add", `{"driver": "qcow2", "node-name": "over", "file": {"driver": "file", "filename": "over.qcow2"}, "backing": null}`)
	b, err := r.graph.NewBackend("d")
	if err == nil {
		err = b.SetPerms(block.PermRead|block.PermWrite, block.PermAll)
	}
	if err == nil {
		err = b.InsertMedium(r.graph.Node("a"))
	}
	if err != nil {
		t.Fatal(err)
	}
	r.ok("block-dirty-bitmap-add", `{"node": "a", "name": "kept"}`)
	if err := b.Root().Pwrite(0, make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	r.fails("transaction", `{"actions": [
		{"type": "block-dirty-bitmap-add", "data": {"node": "a", "name": "fresh"}},
		{"type": "block-dirty-bitmap-merge", "data": {"node": "a", "target": "fresh", "bitmaps": ["kept"]}},
		{"type": "block-dirty-bitmap-clear", "data": {"node": "a", "name": "kept"}},
		{"type": "block-dirty-bitmap-disable", "data": {"node": "a", "name": "kept"}},
		{"type": "blockdev-snapshot-internal-sync", "data": {"device": "d", "name": "s"}},
		{"type": "blockdev-snapshot", "data": {"node": "a", "overlay": "over"}},
		{"type": "blockdev-snapshot-sync", "data": {"device": "d", "snapshot-file": "top.qcow2"}},
		{"type": "abort", "data": {}}]}`, "Transaction aborted using Abort action")
	a := r.graph.Node("a")
	switch {
	case b.Node() != a:
		t.Errorf("the drive is on %s", b.Node().Name())
	case a.Bitmap("fresh") != nil || a.Bitmap("kept").Count() != 65536 || !a.Bitmap("kept").Enabled():
		t.Error("the bitmaps are not as they were")
	case len(a.Driver().(block.Snapshotter).Snapshots()) > 0:
		t.Error("the snapshot is still there")
	case r.graph.Node("over").Backing() != nil:
		t.Error("the overlay still has a backing file")
	case a.Quiesced() || len(r.graph.Nodes()) != 4:
		t.Error("something is left of it")
	}
	r.ok("transaction", `{"actions": [
		{"type": "block-dirty-bitmap-remove", "data": {"node": "a", "name": "kept"}},
		{"type": "blockdev-snapshot", "data": {"node": "a", "overlay": "over"}},
		{"type": "blockdev-snapshot-sync", "data": {"device": "d", "snapshot-file": "top.qcow2", "snapshot-node-name": "top"}}]}`)
	if n := b.Node(); n.Name() != "top" || n.Backing().Name() != "over" || n.Backing().Backing() != a || a.Quiesced() {
		var chain []string
		for ; n != nil; n = n.Backing() {
			chain = append(chain, n.Name())
		}
		t.Errorf("the chain is %q; drained: %v", chain, a.Quiesced())
	}
	if !a.ReadOnly() {
		t.Error("what is behind an overlay can still be written")
	}
	p := []byte(strings.Repeat("x", 512))
	if err := b.Root().Pwrite(4096, p); err != nil {
		t.Fatal(err)
	}
	b.Close()
	r.graph.CloseAll()
	for _, f := range []string{"a.qcow2", "over.qcow2", "top.qcow2"} {
		r.sh("qemu-img", "check", "-q", f)
	}
	if out := r.sh("qemu-io", "-r", "-c", "read -P 0x78 4096 512", "top.qcow2"); !strings.Contains(out, "read 512/512") || strings.Contains(out, "failed") {
		t.Error(out)
	}
	if got := r.sh("qemu-img", "info", filepath.Join(".", "top.qcow2")); !strings.Contains(got, "backing file: over.qcow2") {
		t.Error(got)
	}
}
