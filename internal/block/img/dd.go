package img

import (
	"errors"
	"fmt"
	"strings"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

func init() {
	commands = append(commands, command{
		name: "dd", options: "f:O:U", long: []string{"image-opts", "force-share"}, run: dd,
		usage: "[-f FORMAT] [-O FORMAT] [-U] [bs=SIZE] [count=N] [skip=N] if=FILE of=OUTPUT",
		help:  "copy a part of what an image shows, in blocks of 512 bytes unless bs says otherwise, into a new image",
	})
}

// ddArgs is what the operands of dd say.
type ddArgs struct {
	in, out   string
	bs        int64
	count     int64 // blocks, from the beginning; -1 for all
	skip      int64 // blocks that are left out
	hasIn, of bool
}

func parseDD(args []string) (*ddArgs, error) {
	d := &ddArgs{bs: 512, count: -1}
	number := func(name, value string) (int64, error) {
		n, err := parseSize(value)
		if err != nil {
			return 0, fmt.Errorf("invalid number: '%s'", value)
		}
		return n, nil
	}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		var err error
		switch name {
		case "if":
			d.in, d.hasIn = value, true
		case "of":
			d.out, d.of = value, true
		case "bs":
			if d.bs, err = number(name, value); err == nil && (d.bs < 1 || d.bs > 1<<31-1) {
				err = errors.New("Invalid bs specified. Must be between 1 and 2147483647.")
			}
		case "count":
			d.count, err = number(name, value)
		case "skip":
			d.skip, err = number(name, value)
		default:
			err = fmt.Errorf("unrecognized operand %s", name)
		}
		if err != nil {
			return nil, err
		}
	}
	if !d.hasIn || !d.of {
		return nil, errors.New("Must specify both input and output files")
	}
	return d, nil
}

// ddChunk is how much is copied at once.
const ddChunk = 1 << 20

func dd(t *tool) (int, error) {
	d, err := parseDD(t.opts.args)
	if err != nil {
		return 1, err
	}
	format := t.opts.format("O")
	from, err := t.open(d.in, t.opts.get("f"), block.Settings{}, block.PermRead)
	if err != nil {
		return 1, err
	}
	defer from.Close()
	end, begin := from.Length(), int64(0)
	if d.count >= 0 && d.count <= end/d.bs {
		end = min(end, d.count*d.bs)
	}
	skipped := d.skip <= end/d.bs && d.skip*d.bs <= end
	if skipped {
		begin = d.skip * d.bs
	} else {
		fmt.Fprintf(t.errs, "%s: cannot skip to specified offset\n", d.in)
		begin = end
	}
	keys := &qmp.Object{}
	keys.Set("size", fmt.Sprint(end-begin))
	if err := t.graph.CreateImage(t.context(), format, d.out, keys, qmp.Keyval); err != nil {
		return 1, fmt.Errorf("%s: error while creating output image: %w", d.out, err)
	}
	to, err := t.openFile(d.out, format, block.Settings{}, readWrite)
	if err != nil {
		return 1, err
	}
	defer to.Close()
	b := block.GetBuffer(ddChunk)
	defer b.Release()
	for off := begin; off < end; {
		p := b.B[:min(ddChunk, end-off)]
		if err := from.Root().Pread(off, p); err != nil {
			return 1, fmt.Errorf("error while reading from input image file: %s", block.ErrorText(err))
		}
		if err := to.Root().Pwrite(off-begin, p); err != nil {
			return 1, fmt.Errorf("error while writing to output image file: %s", block.ErrorText(err))
		}
		off += int64(len(p))
	}
	if err := to.node.Flush(); err != nil {
		return 1, errors.New(block.ErrorText(err))
	}
	return 0, nil
}
