package img

import (
	"errors"
	"fmt"
	"time"

	"govmd/internal/block"
	"govmd/internal/block/control"
)

func init() {
	commands = append(commands,
		command{
			name: "info", options: "f:U", long: []string{"output=", "backing-chain", "image-opts", "force-share"}, run: info,
			usage: "[-f FORMAT] [--output=human|json] [--backing-chain] [-U] FILE",
			help:  "say what an image is",
		},
		command{
			name: "check", options: "f:r:qU", long: []string{"output=", "repair=", "image-opts", "force-share"}, run: check,
			usage: "[-q] [-f FORMAT] [--output=human|json] [-r leaks|all] [-U] FILE",
			help:  "examine an image, and repair it; exit status 2: it is corrupt, 3: space is lost, 63: the format has nothing to check",
		},
		command{
			name: "snapshot", options: "la:c:d:qUf:", long: []string{"image-opts", "force-share"}, run: snapshot,
			usage: "[-q] [-f FORMAT] [-U] -l | -a NAME | -c NAME | -d NAME FILE",
			help:  "list, apply, create or delete internal snapshots",
		},
	)
}

func info(t *tool) (int, error) {
	asJSON, err := t.opts.json()
	if err == nil {
		err = t.opts.expect(1, 1)
	}
	if err != nil {
		return 1, err
	}
	chain := t.opts.has("backing-chain")
	i, err := t.open(t.opts.args[0], t.opts.get("f"), block.Settings{NoIO: !chain}, 0)
	if err != nil {
		return 1, err
	}
	defer i.Close()
	var list []*control.ImageInfo
	for n := i.node; n != nil; n = n.BackingChainNext() {
		list = append(list, control.ImageOf(n))
		if !chain {
			break
		}
	}
	switch {
	case asJSON && chain:
		return 0, t.printJSON(list)
	case asJSON:
		return 0, t.printJSON(list[0])
	}
	for k, image := range list {
		if k > 0 {
			fmt.Fprintln(t.out)
		}
		control.WriteImage(t.out, image)
	}
	return 0, nil
}

// checked is what check says as JSON.
type checked struct {
	EndOffset        *int64 `qmp:"image-end-offset"`
	Total            *int64 `qmp:"total-clusters"`
	CheckErrors      int64  `qmp:"check-errors"`
	Corruptions      *int64 `qmp:"corruptions"`
	Leaks            *int64 `qmp:"leaks"`
	CorruptionsFixed *int64 `qmp:"corruptions-fixed"`
	LeaksFixed       *int64 `qmp:"leaks-fixed"`
	Allocated        *int64 `qmp:"allocated-clusters"`
	Fragmented       *int64 `qmp:"fragmented-clusters"`
	Compressed       *int64 `qmp:"compressed-clusters"`
	Filename         string `qmp:"filename"`
	Format           string `qmp:"format"`
}

// some returns n, nil when it is 0.
func some(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

func check(t *tool) (int, error) {
	asJSON, err := t.opts.json()
	if err == nil {
		err = t.opts.expect(1, 1)
	}
	if err != nil {
		return 1, err
	}
	fix := block.Fix(0)
	repair := t.opts.get("r") + t.opts.get("repair")
	switch repair {
	case "":
	case "leaks":
		fix = block.FixLeaks
	case "all":
		fix = block.FixLeaks | block.FixErrors
	default:
		return 1, errors.New("--repair/-r expects 'leaks' or 'all', not '" + repair + "'")
	}
	perm := block.PermRead
	if fix != 0 {
		perm = readWrite
	}
	name := t.opts.args[0]
	i, err := t.open(name, t.opts.get("f"), block.Settings{CheckOnly: true}, perm)
	if err != nil {
		return 1, err
	}
	defer i.Close()
	c, ok := i.node.Driver().(block.Checker)
	if !ok {
		return 63, errors.New("This image format does not support checks")
	}
	r, err := c.Check(t.context(), fix)
	if err == block.ErrUnsupp {
		return 63, errors.New("This image format does not support checks that repair")
	}
	if err != nil {
		return 1, fmt.Errorf("Check failed: %w", err)
	}
	fixed := r.CorruptionsFixed + r.LeaksFixed
	if fixed > 0 {
		// What is left is found out anew.
		before := r
		if r, err = c.Check(t.context(), 0); err != nil {
			return 1, fmt.Errorf("Check failed: %w", err)
		}
		r.CorruptionsFixed, r.LeaksFixed = before.CorruptionsFixed, before.LeaksFixed
	}
	if asJSON {
		err = t.printJSON(checked{
			EndOffset: some(r.ImageEndOffset), Total: some(r.TotalClusters), CheckErrors: r.CheckErrors,
			Corruptions: some(r.Corruptions), Leaks: some(r.Leaks), CorruptionsFixed: some(r.CorruptionsFixed), LeaksFixed: some(r.LeaksFixed),
			Allocated: some(r.Allocated), Fragmented: some(r.Fragmented), Compressed: some(r.CompressedClusters), Filename: name, Format: i.node.DriverName(),
		})
	} else {
		report(t, &r)
	}
	switch {
	case err != nil:
		return 1, err
	case r.CheckErrors > 0:
		return 1, nil
	case r.Corruptions > 0:
		return 2, nil
	case r.Leaks > 0:
		return 3, nil
	}
	return 0, nil
}

func report(t *tool, r *block.CheckResult) {
	if r.CorruptionsFixed+r.LeaksFixed > 0 {
		fmt.Fprintf(t.out, "The following inconsistencies were found and repaired:\n\n    %d leaked clusters\n    %d corruptions\n\nDouble checking the fixed image now...\n",
			r.LeaksFixed, r.CorruptionsFixed)
	}
	switch {
	case r.CheckErrors == 0 && r.Corruptions == 0 && r.Leaks == 0:
		fmt.Fprintln(t.out, "No errors were found on the image.")
	default:
		if r.Corruptions > 0 {
			fmt.Fprintf(t.out, "\n%d errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n", r.Corruptions)
		}
		if r.Leaks > 0 {
			fmt.Fprintf(t.out, "\n%d leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n", r.Leaks)
		}
		if r.CheckErrors > 0 {
			fmt.Fprintf(t.out, "\n%d internal errors have occurred during the check.\n", r.CheckErrors)
		}
	}
	if r.TotalClusters > 0 && r.Allocated > 0 {
		percent := func(n, of int64) float64 { return float64(n) * 100 / float64(of) }
		fmt.Fprintf(t.out, "%d/%d = %.2f%% allocated, %.2f%% fragmented, %.2f%% compressed clusters\n",
			r.Allocated, r.TotalClusters, percent(r.Allocated, r.TotalClusters), percent(r.Fragmented, r.Allocated), percent(r.CompressedClusters, r.Allocated))
	}
	if r.ImageEndOffset > 0 {
		fmt.Fprintf(t.out, "Image end offset: %d\n", r.ImageEndOffset)
	}
}

func snapshot(t *tool) (int, error) {
	var what string
	for _, o := range []string{"l", "a", "c", "d"} {
		if t.opts.has(o) {
			if what != "" {
				return 1, errors.New("Cannot mix '-l', '-a', '-c', '-d'")
			}
			what = o
		}
	}
	if err := t.opts.expect(1, 1); err != nil {
		return 1, errors.New("Expecting one image file name")
	}
	perm := readWrite
	if what == "l" || what == "" {
		what, perm = "l", block.PermRead
	}
	i, err := t.open(t.opts.args[0], t.opts.get("f"), block.Settings{}, perm)
	if err != nil {
		return 1, err
	}
	defer i.Close()
	s, ok := i.node.Driver().(block.Snapshotter)
	if !ok {
		if what == "l" {
			return 0, nil
		}
		return 1, fmt.Errorf("Image format '%s' does not have internal snapshots", i.node.DriverName())
	}
	name := t.opts.get(what)
	find := func() (string, error) {
		for _, x := range s.Snapshots() {
			if x.ID == name {
				return x.ID, nil
			}
		}
		for _, x := range s.Snapshots() {
			if x.Name == name {
				return x.ID, nil
			}
		}
		return "", errors.New("snapshot not found")
	}
	switch what {
	case "l":
		var list []control.SnapshotInfo
		for _, x := range s.Snapshots() {
			list = append(list, control.SnapshotOf(&x))
		}
		if len(list) > 0 {
			fmt.Fprintln(t.out, "Snapshot list:")
			control.WriteSnapshots(t.out, list)
		}
		return 0, nil
	case "c":
		now := time.Now()
		err = s.CreateSnapshot(t.context(), &block.Snapshot{Name: name, DateSec: now.Unix(), DateNsec: int32(now.Nanosecond())})
		what = "create"
	case "a":
		var id string
		if id, err = find(); err == nil {
			err = s.ApplySnapshot(t.context(), id)
		}
		what = "apply"
	case "d":
		var id string
		if id, err = find(); err == nil {
			err = s.DeleteSnapshot(t.context(), id)
		}
		what = "delete"
	}
	if err != nil {
		return 1, fmt.Errorf("Could not %s snapshot '%s': %w", what, name, err)
	}
	if err := i.node.Flush(); err != nil {
		return 1, errors.New(block.ErrorText(err))
	}
	return 0, nil
}
