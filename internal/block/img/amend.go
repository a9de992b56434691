package img

import (
	"errors"
	"fmt"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

func init() {
	commands = append(commands, command{
		name: "amend", options: "f:o:pqt:", long: []string{"force", "image-opts"}, run: amend,
		usage: "[-q] [-p] [-f FORMAT] [-t CACHE] [--force] -o OPTIONS FILE",
		help:  "change options that an image was made with",
	})
}

func amend(t *tool) (int, error) {
	if !t.opts.has("o") {
		return 1, errors.New("Must specify options (-o)")
	}
	if format := t.opts.get("f"); format != "" && t.opts.wantsOptions() {
		return 0, t.showOptions(format, true)
	}
	if err := t.opts.expect(1, 1); err != nil {
		return 1, errors.New("Expecting one image file name")
	}
	set, _, err := cache(t.opts.get("t"), block.Settings{Unmap: true})
	if err != nil {
		return 1, err
	}
	i, err := t.open(t.opts.args[0], t.opts.get("f"), set, readWrite)
	if err != nil {
		return 1, err
	}
	defer i.Close()
	if t.opts.wantsOptions() {
		return 0, t.showOptions(i.node.DriverName(), true)
	}
	opts, err := block.DecodeAmend(i.node.DriverName(), t.opts.creation(), qmp.Keyval)
	if err != nil {
		return 1, err
	}
	err = i.node.Driver().(block.Amender).Amend(t.context(), opts, t.opts.has("force"), t.progress.set)
	if err != nil {
		return 1, fmt.Errorf("Could not amend '%s': %s", t.opts.args[0], block.ErrorText(err))
	}
	if err := i.node.Flush(); err != nil {
		return 1, errors.New(block.ErrorText(err))
	}
	return 0, nil
}
