package control

import (
	"context"
	"slices"
	"strings"
	"testing"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// human runs a human command and returns what it says.
func (r *rig) human(name string, args qmp.HumanArgs) string {
	r.Helper()
	for _, list := range [][]qmp.HumanCommand{r.InfoCommands(), r.HumanCommands()} {
		for _, c := range list {
			if c.Name == name {
				var out strings.Builder
				if err := c.Run(&qmp.Context{Context: context.Background()}, args, &out); err != nil {
					return "Error: " + err.Error() + "\n"
				}
				return out.String()
			}
		}
	}
	r.Fatalf("there is no command %s", name)
	return ""
}

// disk makes a drive with an image in it.
func (r *rig) disk(name, file, node string) *block.Backend {
	r.Helper()
	b, err := r.graph.NewBackend(name)
	if err != nil {
		r.Fatal(err)
	}
	opts := &qmp.Object{}
	opts.Add("node-name", node)
	n, err := r.graph.OpenImage(context.Background(), file, opts, qmp.JSON, block.Settings{})
	if err == nil {
		err = b.InsertMedium(n)
	}
	if err != nil {
		r.Fatal(err)
	}
	n.Unref()
	return b
}

// What "info block" and its like say is what QEMU 7.2 says of the same images.
func TestInfo(t *testing.T) {
	r := newRig(t)
	r.sh("qemu-img", "create", "-q", "-f", "qcow2", "base.qcow2", "16M")
	r.sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "a.qcow2")
	p := r.player("ide1-cd0")
	p.open = true
	b := r.disk("d0", "a.qcow2", "disk")
	b.SetLegacy(&block.LegacyDrive{ID: "d0"})
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s says\n%s\nwant\n%s", what, got, want)
		}
	}
	check("info block", r.human("block", nil), `ide1-cd0: [not inserted]
    Attached to:      cd0
    Removable device: not locked, tray open

d0 (disk): a.qcow2 (qcow2)
    Removable device: not locked, tray closed
    Cache mode:       writeback
    Backing file:     base.qcow2 (chain depth: 1)
`)
	verbose := r.human("block", qmp.HumanArgs{"verbose": true, "device": "d0"})
	for _, want := range []string{
		"Images:\nimage: a.qcow2\nfile format: qcow2\nvirtual size: 16 MiB (16777216 bytes)\ndisk size: ",
		"cluster_size: 65536\nbacking file: base.qcow2\nbacking file format: qcow2\nFormat specific information:\n    compat: 1.1\n" +
			"    compression type: zlib\n    lazy refcounts: false\n    refcount bits: 16\n    corrupt: false\n    extended l2: false\n\nimage: base.qcow2\n",
	} {
		if !strings.Contains(verbose, want) {
			t.Errorf("info block -v says\n%s\nwithout\n%s", verbose, want)
		}
	}
	if got := r.human("block", qmp.HumanArgs{"nodes": true, "device": "disk"}); got != "disk: a.qcow2 (qcow2)\n    Cache mode:       writeback\n    Backing file:     base.qcow2 (chain depth: 1)\n" {
		t.Errorf("info block -n disk says %s", got)
	}
	if got := r.human("blockstats", nil); !strings.Contains(got, "d0: rd_bytes=0 wr_bytes=0 rd_operations=0 wr_operations=0 flush_operations=0 wr_total_time_ns=0") {
		t.Errorf("info blockstats says %s", got)
	}
	check("info snapshots", r.human("snapshots", nil), "There is no snapshot available.\n")
	check("snapshot_blkdev_internal", r.human("snapshot_blkdev_internal", qmp.HumanArgs{"device": "d0", "name": "s1"}), "")
	if got := r.human("snapshots", nil); !strings.HasPrefix(got, "List of snapshots present on all disks:\n"+
		"ID        TAG               VM SIZE                DATE     VM CLOCK     ICOUNT\n--        s1                    0 B ") {
		t.Errorf("info snapshots says %s", got)
	}
	check("snapshot_delete_blkdev_internal", r.human("snapshot_delete_blkdev_internal", qmp.HumanArgs{"device": "d0", "name": "s1"}), "")
	check("block_resize", r.human("block_resize", qmp.HumanArgs{"device": "d0", "size": uint64(32 << 20)}), "")
	check("snapshot_blkdev", r.human("snapshot_blkdev", qmp.HumanArgs{"device": "d0", "snapshot-file": "top.qcow2"}), "")
	if got := b.Node().Length(); got != 32<<20 || b.Node().Name() == "disk" {
		t.Errorf("the disk has %d bytes, and is on %s", got, b.Node().Name())
	}
	check("drive_del", r.human("drive_del", qmp.HumanArgs{"id": "d0"}), "")
	if r.graph.Backend("d0") != nil || len(r.graph.Nodes()) > 0 {
		t.Error("the drive or its images are still there")
	}
	check("drive_del", r.human("drive_del", qmp.HumanArgs{"id": "d0"}), "Error: Device 'd0' not found\n")
}

// A machine can go back to what all its disks have.
func TestInfoSnapshotsOfTwoDisks(t *testing.T) {
	r := newRig(t)
	for name, snapshots := range map[string][]string{"d0": {"both", "first"}, "d1": {"second", "both"}} {
		r.sh("qemu-img", "create", "-q", "-f", "qcow2", name, "16M")
		for _, s := range snapshots {
			r.sh("qemu-img", "snapshot", "-c", s, name)
		}
	}
	for _, name := range []string{"d0", "d1"} {
		r.disk(name, name, "node-"+name)
	}
	var got []string
	for line := range strings.Lines(r.human("snapshots", nil)) {
		switch f := strings.Fields(line); {
		case len(f) > 1 && (f[0] == "--" || f[0] == "1" || f[0] == "2"):
			got = append(got, f[0]+" "+f[1])
		case len(f) > 0 && f[0] == "List":
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		"List of snapshots present on all disks:", "-- both",
		"List of partial (non-loadable) snapshots on 'node-d0':", "2 first",
		"List of partial (non-loadable) snapshots on 'node-d1':", "1 second",
	}
	if !slices.Equal(got, want) {
		t.Errorf("info snapshots shows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
