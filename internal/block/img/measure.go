package img

import (
	"errors"
	"fmt"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

func init() {
	commands = append(commands, command{
		name: "measure", options: "f:O:o:U", long: []string{"output=", "size=", "image-opts", "force-share"}, run: measure,
		usage: "[--output=human|json] [-O FORMAT] [-o OPTIONS] --size SIZE | [-f FORMAT] [-U] FILE",
		help:  "say how large a file an image that is made from another, or for a disk of SIZE bytes, will need",
	})
}

// measured is what measure says as JSON.
type measured struct {
	Bitmaps        *int64 `qmp:"bitmaps"`
	Required       int64  `qmp:"required"`
	FullyAllocated int64  `qmp:"fully-allocated"`
}

func measure(t *tool) (int, error) {
	asJSON, err := t.opts.json()
	if err != nil {
		return 1, err
	}
	size, err := t.opts.size("size", -1)
	switch {
	case err != nil:
		return 1, err
	case len(t.opts.args) > 1:
		return 1, errors.New("At most one filename argument is allowed.")
	case len(t.opts.args) == 1 && t.opts.has("size"):
		return 1, errors.New("--size N cannot be used together with a filename.")
	case len(t.opts.args) == 0 && !t.opts.has("size"):
		return 1, errors.New("Either --size N or one filename must be specified.")
	}
	format := t.opts.format("O")
	var src *block.Node
	if len(t.opts.args) == 1 {
		i, err := t.open(t.opts.args[0], t.opts.get("f"), block.Settings{}, block.PermRead)
		if err != nil {
			return 1, err
		}
		defer i.Close()
		src = i.node
	}
	m, err := block.MeasureImage(format, t.opts.creation(), qmp.Keyval, size, src)
	if err != nil {
		return 1, err
	}
	out := measured{Required: m.Required, FullyAllocated: m.FullyAllocated}
	if m.Bitmaps >= 0 {
		out.Bitmaps = &m.Bitmaps
	}
	if asJSON {
		return 0, t.printJSON(out)
	}
	fmt.Fprintf(t.out, "required size: %d\nfully allocated size: %d\n", m.Required, m.FullyAllocated)
	if out.Bitmaps != nil {
		fmt.Fprintf(t.out, "bitmaps size: %d\n", m.Bitmaps)
	}
	return 0, nil
}
