package img

import (
	"bytes"
	"errors"
	"fmt"

	"govmd/internal/block"
)

// rebaseChunk is how much is compared at once.
const rebaseChunk = 1 << 20

// rebase gives an image another backing file. What the two backing files have
// different, and the image does not have itself, is copied into it first.
func rebase(t *tool) (int, error) {
	if err := t.opts.expect(1, 1); err != nil {
		return 1, errors.New("Expecting one image file name")
	}
	if !t.opts.has("b") {
		return 1, errors.New("Must specify backing file (-b) or use simple rebase mode (-u)")
	}
	set, stable, err := cache(t.opts.get("t"), block.Settings{Unmap: true, NoIO: t.opts.has("u")})
	if err != nil {
		return 1, err
	}
	source, _, err := cache(t.opts.get("T"), block.Settings{})
	if err != nil {
		return 1, err
	}
	i, err := t.open(t.opts.args[0], t.opts.get("f"), set, readWrite)
	if err != nil {
		return 1, err
	}
	defer i.Close()
	ch, ok := i.node.Driver().(block.BackingChanger)
	if !ok {
		return 1, fmt.Errorf("Could not change the backing file to '%s': the format has none", t.opts.get("b"))
	}
	back, format := t.opts.get("b"), t.opts.get("F")
	if back != "" && format == "" {
		return 1, fmt.Errorf("Could not change the backing file to '%s': backing format must be specified (-F)", back)
	}
	if !t.opts.has("u") {
		if err := t.pull(i, back, format, source, stable); err != nil {
			return 1, err
		}
	}
	if err := ch.ChangeBacking(t.context(), back, format); err != nil {
		return 1, fmt.Errorf("Could not change the backing file to '%s': %s", back, block.ErrorText(err))
	}
	if err := i.node.Flush(); err != nil {
		return 1, errors.New(block.ErrorText(err))
	}
	return 0, nil
}

// pull copies into the image, by writes with flags, what the new backing file, which
// is opened with source, does not have.
func (t *tool) pull(i *image, back, format string, source block.Settings, flags block.Flags) error {
	old := i.node.Backing()
	if old == nil && back == "" {
		return nil
	}
	var fresh *image
	if back != "" {
		full, err := i.node.ResolveBacking(back)
		if err != nil {
			return err
		}
		if fresh, err = t.openFile(full, format, source, block.PermRead); err != nil {
			return fmt.Errorf("Could not open new backing file '%s': %w", back, err)
		}
		defer fresh.Close()
	}
	size := i.node.Length()
	t.progress.begin(size)
	p, q := block.GetBuffer(rebaseChunk), block.GetBuffer(rebaseChunk)
	defer p.Release()
	defer q.Release()
	for off := int64(0); off < size; {
		n := min(rebaseChunk, size-off)
		have, m, err := i.node.IsAllocatedAbove(i.node.BackingChainNext(), off, n)
		if err != nil {
			return errors.New(block.ErrorText(err))
		}
		if m > 0 {
			n = min(n, m)
		}
		if !have {
			if err := t.pullRange(i, fresh, off, p.B[:n], q.B[:n], flags); err != nil {
				return errors.New(block.ErrorText(err))
			}
		}
		t.progress.add(n)
		off += n
	}
	return nil
}

func (t *tool) pullRange(i, fresh *image, off int64, p, q []byte, flags block.Flags) error {
	if err := i.Root().Preadv(off, block.VecOf(p), 0); err != nil {
		return err
	}
	clear(q)
	if fresh != nil {
		if err := fresh.Root().Preadv(off, block.VecOf(q), 0); err != nil {
			return err
		}
	}
	switch {
	case bytes.Equal(p, q):
		return nil
	case block.IsZeroBytes(p):
		return i.Root().PwriteZeroes(off, int64(len(p)), flags)
	}
	return i.Root().Pwritev(off, block.VecOf(p), flags)
}
