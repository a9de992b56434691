package img

import (
	"bytes"
	"errors"
	"fmt"

	"govmd/internal/block"
)

func init() {
	commands = append(commands,
		command{
			name: "map", options: "f:s:l:U", long: []string{"output=", "start-offset=", "max-length=", "image-opts", "force-share"}, run: mapImage,
			usage: "[-f FORMAT] [--output=human|json] [-s OFFSET] [-l LENGTH] [-U] FILE",
			help:  "say where the data of an image are",
		},
		command{
			name: "compare", options: "f:F:pqsT:U", long: []string{"image-opts", "force-share"}, run: compare,
			usage: "[-q] [-p] [-s] [-f FORMAT] [-F FORMAT] [-T SRC_CACHE] [-U] FILE1 FILE2",
			help:  "say whether two images show the same; exit status 1: they do not, 2 and above: it cannot be told",
		},
	)
}

// extent is a part of an image that is alike.
type extent struct {
	start, n   int64
	depth      int
	data, zero bool
	present    bool
	compressed bool
	file       *block.Node // nil: not mapped to a place
	offset     int64
}

// follows reports whether e goes on where x ends, and alike.
func (x *extent) follows(e *extent) bool {
	same := x.depth == e.depth && x.data == e.data && x.zero == e.zero && x.present == e.present && x.compressed == e.compressed && x.file == e.file
	return same && (x.file == nil || x.offset+x.n == e.offset)
}

func extentAt(n *block.Node, off, size int64) (extent, error) {
	st, depth, err := n.BlockStatusAbove(nil, off, size, block.StatusZero)
	if err != nil {
		return extent{}, err
	}
	e := extent{
		start: off, n: max(min(st.N, size), 1), depth: max(depth-1, 0), data: st.Flags&block.StatusData != 0, zero: st.Flags&block.StatusZero != 0,
		present: st.Flags&block.StatusAllocated != 0, compressed: st.Flags&block.StatusCompressed != 0,
	}
	if !e.present { // the end of the chain is where it would be
		e.zero, e.depth = true, -1
		for b := n; b != nil; b = b.BackingChainNext() {
			e.depth++
		}
	}
	if st.Flags&block.StatusOffset != 0 && !e.compressed {
		e.file, e.offset = st.File, st.Offset
	}
	return e, nil
}

func mapImage(t *tool) (int, error) {
	asJSON, err := t.opts.json()
	if err == nil {
		err = t.opts.expect(1, 1)
	}
	if err != nil {
		return 1, err
	}
	for short, long := range map[string]string{"s": "start-offset", "l": "max-length"} {
		if t.opts.has(long) {
			t.opts.values[short] = t.opts.values[long]
		}
	}
	off, err := t.opts.size("s", 0)
	if err != nil {
		return 1, err
	}
	i, err := t.open(t.opts.args[0], t.opts.get("f"), block.Settings{}, block.PermRead)
	if err != nil {
		return 1, err
	}
	defer i.Close()
	length := i.Length()
	most, err := t.opts.size("l", length)
	if err != nil {
		return 1, err
	}
	end := min(length, off+min(most, length))
	w := mapWriter{tool: t, json: asJSON}
	w.begin()
	var last *extent
	for off < end {
		e, err := extentAt(i.node, off, end-off)
		if err != nil {
			return 1, fmt.Errorf("Failed to read image metadata: %s", block.ErrorText(err))
		}
		off += e.n
		if last != nil && last.follows(&e) {
			last.n += e.n
			continue
		}
		if last != nil {
			if err := w.write(last); err != nil {
				return 1, err
			}
		}
		last = &e
	}
	if last != nil {
		if err := w.write(last); err != nil {
			return 1, err
		}
	}
	w.end()
	return 0, nil
}

// mapWriter shows extents.
type mapWriter struct {
	*tool
	json, some bool
}

func (w *mapWriter) begin() {
	if w.json {
		fmt.Fprint(w.out, "[")
	} else {
		fmt.Fprintf(w.out, "%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File")
	}
}

func (w *mapWriter) end() {
	if w.json {
		fmt.Fprintln(w.out, "]")
	}
}

func (w *mapWriter) write(e *extent) error {
	if !w.json {
		if e.data && e.file == nil {
			return errors.New("File contains external, encrypted or compressed clusters.")
		}
		if e.data && !e.zero {
			fmt.Fprintf(w.out, "%-16s%-16s%-16s%s\n", hex(e.start), hex(e.n), hex(e.offset), e.file.FileName())
		}
		return nil
	}
	if w.some {
		fmt.Fprint(w.out, ",\n")
	}
	w.some = true
	fmt.Fprintf(w.out, `{ "start": %d, "length": %d, "depth": %d, "present": %v, "zero": %v, "data": %v`, e.start, e.n, e.depth, e.present, e.zero, e.data)
	if e.file != nil {
		fmt.Fprintf(w.out, `, "offset": %d`, e.offset)
	}
	fmt.Fprint(w.out, "}")
	return nil
}

// hex is a number as C's %#x has it.
func hex(n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", n)
}

// compareChunk is how much of each image is looked at at once.
const compareChunk = 2 << 20

func compare(t *tool) (int, error) {
	if err := t.opts.expect(2, 2); err != nil {
		return 2, errors.New("Expecting two image file names")
	}
	set, _, err := cache(t.opts.get("T"), block.Settings{})
	if err != nil {
		return 2, err
	}
	var images [2]*image
	for k, format := range []string{t.opts.get("f"), t.opts.get("F")} {
		i, err := t.open(t.opts.args[k], format, set, block.PermRead)
		if err != nil {
			return 2, err
		}
		defer i.Close()
		images[k] = i
	}
	a, b := images[0], images[1]
	strict := t.opts.has("s")
	shorter, longer := a, b
	if a.Length() > b.Length() {
		shorter, longer = b, a
	}
	if strict && a.Length() != b.Length() {
		fmt.Fprintln(t.out, "Strict mode: Image size mismatch!")
		return 1, nil
	}
	t.progress.begin(longer.Length())
	p, q := block.GetBuffer(compareChunk), block.GetBuffer(compareChunk)
	defer p.Release()
	defer q.Release()
	for off := int64(0); off < longer.Length(); {
		n := min(compareChunk, longer.Length()-off)
		var x, y extent
		var err error
		if y, err = extentAt(longer.node, off, longer.Length()-off); err != nil {
			return 3, fmt.Errorf("Sector allocation test failed: %s", block.ErrorText(err))
		}
		x = extent{zero: true, n: y.n}
		if off < shorter.Length() {
			if x, err = extentAt(shorter.node, off, shorter.Length()-off); err != nil {
				return 3, fmt.Errorf("Sector allocation test failed: %s", block.ErrorText(err))
			}
		}
		alike := min(x.n, y.n)
		if strict && x.present != y.present {
			fmt.Fprintf(t.out, "Strict mode: Offset %d block status mismatch!\n", off)
			return 1, nil
		}
		if x.zero && y.zero {
			t.progress.add(alike)
			off += alike
			continue
		}
		n = min(n, alike)
		if err := shorter.Root().Preadv(off, block.VecOf(p.B[:n]), 0); err != nil {
			return 4, fmt.Errorf("Error while reading offset %d: %s", off, block.ErrorText(err))
		}
		if err := longer.Root().Preadv(off, block.VecOf(q.B[:n]), 0); err != nil {
			return 4, fmt.Errorf("Error while reading offset %d: %s", off, block.ErrorText(err))
		}
		if !bytes.Equal(p.B[:n], q.B[:n]) {
			at := int64(0)
			for at < n && p.B[at] == q.B[at] {
				at++
			}
			if off+at >= shorter.Length() {
				fmt.Fprintln(t.out, "Warning: Image size mismatch!")
			}
			fmt.Fprintf(t.out, "Content mismatch at offset %d!\n", (off+at)&^511)
			return 1, nil
		}
		t.progress.add(n)
		off += n
	}
	if a.Length() != b.Length() {
		fmt.Fprintln(t.out, "Warning: Image size mismatch!")
	}
	fmt.Fprintln(t.out, "Images are identical.")
	return 0, nil
}
