package img

import (
	"errors"
	"fmt"
	"strings"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

func init() {
	commands = append(commands,
		command{
			name: "create", options: "f:b:F:uo:q", run: create,
			usage: "[-q] [-f FORMAT] [-b BACKING_FILE [-F BACKING_FORMAT]] [-u] [-o OPTIONS] FILE [SIZE]",
			help:  "make an image of SIZE bytes, or as large as its backing file",
		},
		command{
			name: "resize", options: "f:q", long: []string{"preallocation=", "shrink", "image-opts"}, run: resize,
			usage: "[-q] [-f FORMAT] [--preallocation=MODE] [--shrink] FILE [+|-]SIZE",
			help:  "give an image another size",
		},
		command{
			name: "rebase", options: "f:b:F:B:upqt:T:U", long: []string{"image-opts", "force-share"}, run: rebase,
			usage: "[-q] [-f FORMAT] [-t CACHE] [-T SRC_CACHE] [-u] [-p] -b BACKING_FILE [-F BACKING_FORMAT] FILE",
			help:  "give an image another backing file without changing what it shows; with -u only its name",
		},
	)
}

// errSize is for sizes that are none.
var errSize = errors.New("Invalid image size specified. You may use k, M, G, T, P or E suffixes for kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.")

func create(t *tool) (int, error) {
	format := t.opts.format("f")
	if t.opts.wantsOptions() {
		return 0, t.showOptions(format, false)
	}
	if err := t.opts.expect(1, 2); err != nil {
		return 1, err
	}
	name := t.opts.args[0]
	say := func(err error) error { return fmt.Errorf("%s: %w", name, err) }
	typ := block.TypeOf(format)
	if typ == nil {
		return 1, say(block.UnknownFormat(format))
	}
	keys := t.opts.creation()
	if t.opts.has("b") {
		keys.Set("backing_file", t.opts.get("b"))
	}
	if t.opts.has("F") {
		keys.Set("backing_fmt", t.opts.get("F"))
	}
	if len(t.opts.args) == 2 {
		size, err := parseSize(t.opts.args[1])
		if err != nil {
			return 1, errSize
		}
		keys.Set("size", fmt.Sprint(size))
	}
	if err := t.completeBacking(name, typ, keys); err != nil {
		return 1, say(err)
	}
	if _, ok := keys.Get("size"); !ok {
		return 1, say(errors.New("Image creation needs a size parameter"))
	}
	for _, m := range keys.Members() {
		if !typ.TakesKey(m.Name) {
			return 1, say(fmt.Errorf("Invalid parameter '%s'", m.Name))
		}
	}
	describe(t, name, format, typ, keys)
	if err := t.graph.CreateImage(t.context(), format, name, keys, qmp.Keyval); err != nil {
		return 1, say(err)
	}
	return 0, nil
}

// completeBacking checks the backing file and takes the size from it.
func (t *tool) completeBacking(name string, typ *block.Type, keys *qmp.Object) error {
	v, ok := keys.Get("backing_file")
	if !ok {
		return nil
	}
	if !typ.Backing {
		return fmt.Errorf("Backing file not supported for file format '%s'", typ.Name)
	}
	f, ok := keys.Get("backing_fmt")
	if !ok {
		return errors.New("backing_file requires a format: give it with -F")
	}
	if t.opts.has("u") {
		return nil
	}
	back := v.(string)
	if back == name {
		return errors.New("Error: Trying to create an image with the same filename as the backing file")
	}
	full, err := block.ResolveName(name, back)
	if err != nil {
		return err
	}
	opts := &qmp.Object{}
	opts.Add("driver", f)
	n, err := t.graph.OpenImage(t.context(), full, opts, qmp.Keyval, block.Settings{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("Could not open backing image: %w", err)
	}
	defer n.Unref()
	if _, ok := keys.Get("size"); !ok {
		keys.Set("size", fmt.Sprint(n.Length()))
	}
	return nil
}

// describe says what is going to be made.
func describe(t *tool, name, format string, typ *block.Type, keys *qmp.Object) {
	var b strings.Builder
	fmt.Fprintf(&b, "Formatting '%s', fmt=%s", name, format)
	for _, k := range typ.CreateKeys {
		if v, ok := keys.Get(k.Name); ok {
			fmt.Fprintf(&b, " %s=%v", k.Name, v)
		} else if k.Default != "" && !typ.PlainFile {
			fmt.Fprintf(&b, " %s=%s", k.Name, k.Default)
		}
	}
	if typ.PlainFile {
		v, _ := keys.Get("size")
		fmt.Fprintf(&b, " size=%v", v)
	}
	fmt.Fprintln(t.out, b.String())
}

func resize(t *tool) (int, error) {
	if len(t.opts.args) < 2 {
		return 1, errors.New("Expecting image file name and size")
	}
	if err := t.opts.expect(2, 2); err != nil {
		return 1, err
	}
	text, relative := t.opts.args[1], int64(0)
	switch text[:min(1, len(text))] {
	case "+":
		relative, text = 1, text[1:]
	case "-":
		relative, text = -1, text[1:]
	}
	n, err := parseSize(text)
	if err != nil {
		return 1, errSize
	}
	pre := block.PreallocOff
	if p := t.opts.get("preallocation"); p != "" {
		if pre, err = block.ParsePrealloc(p); err != nil {
			return 1, err
		}
	}
	i, err := t.open(t.opts.args[0], t.opts.get("f"), block.Settings{Unmap: true}, readWrite)
	if err != nil {
		return 1, err
	}
	defer i.Close()
	old := i.node.Length()
	if relative != 0 {
		n = old + relative*n
	}
	switch {
	case n <= 0:
		return 1, errors.New("New image size must be positive")
	case n < old && pre != block.PreallocOff:
		return 1, errors.New("Preallocation can only be used for growing images")
	case n < old && !t.opts.has("shrink"):
		return 1, errors.New("Use the --shrink option to perform a shrink operation: it deletes all data beyond the image's new end")
	}
	if err := i.node.Truncate(t.context(), n, true, pre, 0); err != nil {
		return 1, err
	}
	if err := i.node.Flush(); err != nil {
		return 1, errors.New(block.ErrorText(err))
	}
	fmt.Fprintln(t.out, "Image resized.")
	return 0, nil
}
