package block

import (
	"context"
	"slices"
	"strings"

	"govmd/internal/option"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// CreateImage makes an image file, and the image in it, as image tools and
// snapshots do. keys are what -o takes for the format ("size", "backing_file"),
// as option text or typed, according to mode; what the format does not know is
// refused. It runs anywhere and may take long.
func (g *Graph) CreateImage(ctx context.Context, format, filename string, keys *qmp.Object, mode qmp.Mode) error {
	t := types[format]
	if t == nil {
		return UnknownDriver(format)
	}
	if t.Create == nil && !t.PlainFile {
		return Errorf(KindUnsupported, "Format driver '%s' does not support image creation", format)
	}
	proto, err := protocolOf(filename)
	if err != nil {
		return err
	}
	if proto.Create == nil {
		return Errorf(KindUnsupported, "Protocol driver '%s' does not support image creation, and opening the image failed", proto.Name)
	}
	if t.PlainFile {
		t = proto
	}
	for _, m := range keys.Members() {
		if !t.TakesKey(m.Name) {
			return Errorf(KindInvalid, "Invalid parameter '%s'", m.Name)
		}
	}
	where := &qmp.Object{}
	if err := addName(where, filename); err != nil {
		return err
	}
	where.Delete("driver")
	if t == proto {
		for _, m := range keys.Members() {
			where.Set(strings.ReplaceAll(m.Name, "_", "-"), m.Value)
		}
		return create(ctx, g, t, where, mode)
	}
	empty := &qmp.Object{}
	for _, m := range where.Members() {
		empty.Add(m.Name, m.Value)
	}
	if mode == qmp.Keyval {
		empty.Set("size", "0")
	} else {
		empty.Set("size", int64(0))
	}
	if err := create(ctx, g, proto, empty, mode); err != nil {
		return err
	}
	opts, err := t.creationOptions(keys)
	if err != nil {
		return err
	}
	where.Set("driver", proto.Name)
	o, err := DecodeOptions(where, mode)
	if err != nil {
		return err
	}
	file, err := g.Open(ctx, o, Settings{})
	if err != nil {
		return err
	}
	defer file.Unref()
	opts.Set("file", file.Name())
	return create(ctx, g, t, opts, mode)
}

// TakesKey reports whether -o takes an option of that name for the format.
func (t *Type) TakesKey(name string) bool {
	if t.PlainFile {
		t = types["file"]
	}
	for _, k := range t.CreateKeys {
		if k.Name == name {
			return true
		}
	}
	return false
}

// creationOptions turns what -o takes into the members of the creation's options.
func (t *Type) creationOptions(keys *qmp.Object) (*qmp.Object, error) {
	opts := &qmp.Object{}
	for _, m := range keys.Members() {
		opts.Add(strings.ReplaceAll(m.Name, "_", "-"), m.Value)
	}
	if t.CreateFixup != nil {
		if err := t.CreateFixup(opts); err != nil {
			return nil, err
		}
	}
	return opts, nil
}

// decodeKeys decodes what -o takes, where no image is made: the file is none, and a
// size that is not given is 0.
func (t *Type) decodeKeys(keys *qmp.Object, mode qmp.Mode) (branch any, err error) {
	opts, err := t.creationOptions(keys)
	if err != nil {
		return nil, err
	}
	opts.Set("file", "")
	if _, given := opts.Get("size"); !given {
		if opts.Set("size", int64(0)); mode == qmp.Keyval {
			opts.Set("size", "0")
		}
	}
	return decodeCreation(t, opts, mode)
}

// DecodeAmend returns what an Amender of the format takes, from keys as -o has them.
func DecodeAmend(format string, keys *qmp.Object, mode qmp.Mode) (any, error) {
	t := types[format]
	if len(t.AmendKeys) == 0 {
		return nil, Errorf(KindUnsupported, "Format driver '%s' does not support option amendment", format)
	}
	for _, m := range keys.Members() {
		switch {
		case slices.Contains(t.AmendKeys, m.Name):
		case t.TakesKey(m.Name):
			return nil, Errorf(KindInvalid, "Invalid parameter '%s'\nThis option is only supported for image creation", m.Name)
		default:
			return nil, Errorf(KindInvalid, "Invalid parameter '%s'", m.Name)
		}
	}
	if t.DecodeAmend != nil {
		if opts, err := t.DecodeAmend(keys, mode); opts != nil || err != nil {
			return opts, err
		}
	}
	return t.decodeKeys(keys, mode)
}

// create decodes options of blockdev-create, without the driver, and makes the image.
func create(ctx context.Context, g *Graph, t *Type, opts *qmp.Object, mode qmp.Mode) error {
	branch, err := decodeCreation(t, opts, mode)
	if err != nil {
		return err
	}
	return t.Create(ctx, g, branch)
}

// decodeCreation decodes options of blockdev-create, without the driver.
func decodeCreation(t *Type, opts *qmp.Object, mode qmp.Mode) (branch any, err error) {
	opts.Set("driver", t.Name)
	doc, err := qjson.Parse(qmp.Append(nil, opts))
	if err != nil {
		return nil, Errorf(KindInvalid, "Options of the image cannot be read: %w", err)
	}
	var o CreateOptions
	if err := qmp.Decode(doc.Root(), mode, &o); err != nil {
		return nil, err
	}
	return o.Branch, nil
}

// TakeBool removes an option from those of an image to be created, for CreateFixup,
// and returns its value: option text or typed.
func TakeBool(o *qmp.Object, name string) (on bool, err error) {
	v, ok := o.Get(name)
	if !ok {
		return false, nil
	}
	o.Delete(name)
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		if on, err := option.ParseBool(v); err == nil {
			return on, nil
		}
	}
	return false, Errorf(KindInvalid, "Parameter '%s' expects 'on' or 'off'", strings.ReplaceAll(name, "-", "_"))
}
