package block

import (
	"context"
	"fmt"
	"strings"

	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// OpenImage opens an image by name, by options, or both, as -drive, -hda, image
// tools and backing chains do: a format that is not named is guessed, "file" is made
// from the name, and options may name parts of what is below ("file.locking",
// "backing.node-name"). opts, which may be nil, is nested and is changed; mode says
// whether its scalars are text. The caller owns the reference that is returned.
func (g *Graph) OpenImage(ctx context.Context, filename string, opts *qmp.Object, mode qmp.Mode, def Settings) (*Node, error) {
	return g.openImage(ctx, filename, opts, mode, def, nil)
}

func (g *Graph) openImage(ctx context.Context, filename string, opts *qmp.Object, mode qmp.Mode, def Settings, chain []string) (*Node, error) {
	if opts == nil {
		opts = &qmp.Object{}
	}
	if rest, ok := strings.CutPrefix(filename, "json:"); ok {
		if err := mergeJSON(rest, opts, &mode); err != nil {
			return nil, err
		}
		filename = ""
	}
	if v, ok := opts.Get("filename"); ok && filename == "" {
		if s, isText := v.(string); isText && !isProtocol(opts) {
			filename = s
			opts.Delete("filename")
		}
	}
	more := openMore{chain: chain, mode: mode, file: filename}
	if v, ok := opts.Get("backing"); ok {
		if o, isObject := v.(*qmp.Object); isObject {
			if _, named := o.Get("driver"); !named {
				more.override = o
				opts.Delete("backing")
			}
		}
	}
	if isProtocol(opts) {
		if filename != "" {
			if err := addName(opts, filename); err != nil {
				return nil, err
			}
		}
		return g.decodeAndOpen(ctx, opts, mode, def, more)
	}
	if err := liftFile(opts, filename); err != nil {
		return nil, err
	}
	if _, given := opts.Get("driver"); !given {
		proto, err := g.guess(ctx, opts, mode, def, &more)
		if err != nil {
			return nil, err
		}
		defer proto.Unref()
	}
	return g.decodeAndOpen(ctx, opts, mode, def, more)
}

// mergeJSON adds the members of a json: name that opts does not have.
func mergeJSON(text string, opts *qmp.Object, mode *qmp.Mode) error {
	doc, err := qjson.Parse([]byte(text))
	if err != nil || doc.Root().Kind() != qjson.Object {
		return Errorf(KindInvalid, "Could not parse the JSON options: %s", text)
	}
	o := qmp.ToAny(doc.Root()).(*qmp.Object)
	if *mode == qmp.Keyval {
		o = stringify(o).(*qmp.Object)
	}
	for _, m := range o.Members() {
		if _, had := opts.Get(m.Name); had {
			continue
		}
		if strings.Count(m.Name, ".") >= qjson.MaxDepth {
			return Errorf(KindInvalid, "Could not parse the JSON options: JSON nesting depth limit exceeded")
		}
		opts.SetNested(m.Name, m.Value) // images' json: names have dots
	}
	return nil
}

// stringify turns scalars into option text.
func stringify(v any) any {
	switch v := v.(type) {
	case *qmp.Object:
		for _, m := range append([]qmp.Member(nil), v.Members()...) {
			v.Set(m.Name, stringify(m.Value))
		}
		return v
	case []any:
		for i := range v {
			v[i] = stringify(v[i])
		}
		return v
	case bool:
		if v {
			return "on"
		}
		return "off"
	case nil:
		return ""
	case string:
		return v
	}
	return fmt.Sprint(v)
}

func driverOf(o *qmp.Object) string {
	v, _ := o.Get("driver")
	s, _ := v.(string)
	return s
}

func isProtocol(o *qmp.Object) bool {
	t := types[driverOf(o)]
	return t != nil && t.Protocol
}

// liftFile makes "file" an object that names its driver, or leaves it a reference.
func liftFile(opts *qmp.Object, filename string) error {
	v, _ := opts.Get("file")
	var o *qmp.Object
	switch v := v.(type) {
	case string:
		return nil
	case *qmp.Object:
		o = v
	default:
		if filename == "" {
			if d := types[driverOf(opts)]; d != nil && d.Filter {
				return nil // what it filters may have another name
			}
			return Errorf(KindInvalid, "A block device must be specified for \"file\"")
		}
		o = &qmp.Object{}
	}
	if filename == "" {
		if f, ok := o.Get("filename"); ok && driverOf(o) == "" {
			filename, _ = f.(string)
			o.Delete("filename")
		}
	}
	if filename != "" {
		if err := addName(o, filename); err != nil {
			return err
		}
	}
	if driverOf(o) == "" {
		return Errorf(KindInvalid, "Must specify either driver or file name for \"file\"")
	}
	opts.Set("file", o)
	return nil
}

// addName adds what a file name says to the options of a protocol.
func addName(o *qmp.Object, name string) error {
	t := types[driverOf(o)]
	if t == nil {
		if driverOf(o) != "" {
			return UnknownDriver(driverOf(o))
		}
		var err error
		if t, err = protocolOf(name); err != nil {
			return err
		}
		o.Set("driver", t.Name)
	}
	prefix, rest, _ := strings.Cut(name, ":")
	for _, p := range t.Prefixes {
		if p != prefix || len(rest) == len(name) {
			continue
		}
		if t.ParseName != nil {
			parsed, err := t.ParseName(name)
			if err != nil {
				return err
			}
			for _, m := range parsed.Members() {
				if _, had := o.Get(m.Name); !had {
					o.Set(m.Name, m.Value)
				}
			}
			return nil
		}
		if t.StripPrefix {
			name = rest
		}
	}
	o.Set("filename", name)
	return nil
}

// protocolOf returns the protocol that serves a file name.
func protocolOf(name string) (*Type, error) {
	if prefix, ok := protocolPrefix(name); ok {
		for _, n := range names {
			for _, p := range types[n].Prefixes {
				if p == prefix {
					return types[n], nil
				}
			}
		}
		return nil, unknownProtocol(prefix)
	}
	best, score := types["file"], 0
	for _, n := range names {
		if h := types[n].HostDevice; h != nil {
			if s := h(name); s > score {
				best, score = types[n], s
			}
		}
	}
	if best == nil {
		return nil, UnknownDriver("file")
	}
	return best, nil
}

// protocolPrefix returns what is before a name's colon, if no slash comes before it.
func protocolPrefix(name string) (string, bool) {
	i := strings.IndexAny(name, ":/")
	if i < 0 || name[i] == '/' {
		return "", false
	}
	return name[:i], true
}

// DecodeOptions reads BlockdevOptions that OpenImage has completed, or that
// blockdev-add and -blockdev have in full.
func DecodeOptions(o *qmp.Object, mode qmp.Mode) (*Options, error) {
	doc, err := qjson.Parse(qmp.Append(nil, o))
	if err != nil {
		return nil, Errorf(KindInvalid, "Block options cannot be read: %w", err)
	}
	out := new(Options)
	if d := driverOf(o); d != "" && types[d] == nil {
		return nil, UnknownDriver(d)
	}
	if err := qmp.Decode(doc.Root(), mode, out); err != nil {
		return nil, err
	}
	return out, nil
}

func (g *Graph) decodeAndOpen(ctx context.Context, opts *qmp.Object, mode qmp.Mode, def Settings, more openMore) (*Node, error) {
	o, err := DecodeOptions(opts, mode)
	if err != nil {
		return nil, err
	}
	return g.open(ctx, o, def, more)
}

// NameOptions returns the options, with their driver, of the protocol that serves a
// file name: for drivers whose own names hold another's.
func NameOptions(name string) (*qmp.Object, error) {
	o := &qmp.Object{}
	return o, addName(o, name)
}

// NamedOptions returns the options of the node of the protocol that serves a file
// name: for files that an image names beside its own.
func NamedOptions(name string) (*Options, error) {
	o, err := NameOptions(name)
	if err != nil {
		return nil, err
	}
	return DecodeOptions(o, qmp.JSON)
}

// JSONName returns the json: name of a node of that driver with options of its own
// and, if it is not nil, a file: for nodes that no plain name opens as they are.
func JSONName(driver string, own *qmp.Object, file *Node) string {
	o := &qmp.Object{}
	o.Add("driver", driver)
	for _, m := range own.Members() {
		o.Add(m.Name, m.Value)
	}
	if file != nil {
		name := file.fileName()
		inner := &qmp.Object{}
		mode := qmp.JSON
		var err error
		if rest, ok := strings.CutPrefix(name, "json:"); ok {
			err = mergeJSON(rest, inner, &mode)
		} else {
			err = addName(inner, name)
		}
		if err != nil {
			return name // the file has a name that cannot be opened again
		}
		o.Add("file", inner)
	}
	return "json:" + string(qmp.Append(nil, o))
}
