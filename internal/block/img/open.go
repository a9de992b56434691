package img

import (
	"errors"
	"fmt"
	"strings"

	"govmd/internal/block"
	"govmd/internal/option"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// cache returns the settings of a cache mode (-t, -T), which begin as set, and the
// flags with which is written: each write is stable in some of them.
func cache(mode string, set block.Settings) (block.Settings, block.Flags, error) {
	if mode == "" {
		return set, 0, nil
	}
	writethrough, ok := set.SetCacheMode(mode)
	switch {
	case !ok:
		return set, 0, fmt.Errorf("Invalid cache option: %s", mode)
	case writethrough:
		return set, block.FUA, nil
	}
	return set, 0, nil
}

// image is an image in use.
type image struct {
	*block.Backend
	node *block.Node
}

// open opens the image that an argument names, or describes (--image-opts), to be
// used with perm. format is "" to guess.
func (t *tool) open(arg, format string, set block.Settings, perm block.Perm) (*image, error) {
	if !t.opts.has("image-opts") {
		return t.openFile(arg, format, set, perm)
	}
	return t.openOptions(arg, format, set, perm)
}

// openOptions is open for what is options.
func (t *tool) openOptions(arg, format string, set block.Settings, perm block.Perm) (*image, error) {
	kv, err := option.ParseValue(arg, "")
	if err != nil {
		return nil, err
	}
	opts, ok := qmp.ToAny(kv.Doc.Root()).(*qmp.Object)
	if !ok {
		return nil, fmt.Errorf("--image-opts wants options, not '%s'", arg)
	}
	mode := qmp.Keyval
	if kv.JSON {
		mode = qmp.JSON
	}
	return t.openAs(arg, "", format, opts, mode, set, perm)
}

// openFile is open for what is a name whatever the arguments are.
func (t *tool) openFile(name, format string, set block.Settings, perm block.Perm) (*image, error) {
	return t.openAs(name, name, format, &qmp.Object{}, qmp.Keyval, set, perm)
}

// openAs opens the image of a name and options, which the user calls called.
func (t *tool) openAs(called, name, format string, opts *qmp.Object, mode qmp.Mode, set block.Settings, perm block.Perm) (*image, error) {
	if format != "" {
		opts.Set("driver", format)
	}
	if perm&(block.PermWrite|block.PermResize) == 0 {
		set.ReadOnly = true
	}
	if t.opts.has("U") || t.opts.has("force-share") {
		set.ForceShare = true
	}
	n, err := t.graph.OpenImage(t.context(), name, opts, mode, set)
	if err != nil {
		return nil, fmt.Errorf("Could not open '%s': %w", called, plain(name, err))
	}
	defer n.Unref() // the drive has its own
	if l := n.Locked(); l != nil && perm&(block.PermRead|block.PermWrite) != 0 && !set.NoIO && !set.CheckOnly {
		return nil, fmt.Errorf("Could not open '%s': '%s' is encrypted: its options must have the ID of the secret that is its passphrase "+
			"(--object secret,id=ID,... with key-secret=ID for luks, encrypt.key-secret=ID for qcow2)", called, l.FileName())
	}
	return t.use(n, perm)
}

// plain takes what the message would say twice from an error.
func plain(name string, err error) error {
	if text, ok := strings.CutPrefix(err.Error(), "Could not open '"+name+"': "); ok {
		return errors.New(text)
	}
	return err
}

// use attaches a node with permissions.
func (t *tool) use(n *block.Node, perm block.Perm) (*image, error) {
	b, err := t.graph.NewBackend("")
	if err != nil {
		return nil, err
	}
	if err := b.SetPerms(perm, block.PermAll); err != nil {
		return nil, err
	}
	if err := b.InsertMedium(n); err != nil {
		b.Close()
		return nil, err
	}
	return &image{b, n}, nil
}

// readWrite is what most commands that change an image do to it.
const readWrite = block.PermRead | block.PermWrite | block.PermResize

// printJSON writes a value as JSON, indented.
func (t *tool) printJSON(v any) error {
	_, err := fmt.Fprintf(t.out, "%s\n", qjson.AppendPretty(nil, qmp.Append(nil, v)))
	return err
}
