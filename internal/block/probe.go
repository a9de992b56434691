package block

import (
	"context"
	"strings"

	"govmd/internal/qmp"
)

// probeSize is how much of an image is looked at.
const probeSize = 2048

// Probe returns the format that an image's head is likely of, "raw" when no other
// says so.
func Probe(head []byte, filename string) *Type {
	best, score := types["raw"], 0
	for _, n := range names {
		if t := types[n]; t.Probe != nil {
			if s := t.Probe(head, filename); s > score {
				best, score = t, s
			}
		}
	}
	return best
}

// guess opens the file, looks at its head, and completes opts accordingly. The
// caller releases the node, which by then has become a child.
func (g *Graph) guess(ctx context.Context, opts *qmp.Object, mode qmp.Mode, def Settings, more *openMore) (*Node, error) {
	var proto *Node
	v, _ := opts.Get("file")
	if name, ok := v.(string); ok {
		if proto = g.Node(name); proto == nil {
			return nil, Errorf(KindNotFound, "Cannot find device='%s' nor node-name='%s'", name, name)
		}
		proto.Ref()
	} else {
		// What the file inherits is what a format's would: settings on the image count.
		set := def
		if o, err := DecodeOptions(withoutFile(opts), mode); err == nil {
			set = o.settings(def)
		}
		o, err := DecodeOptions(v.(*qmp.Object), mode)
		if err != nil {
			return nil, err
		}
		if proto, err = g.open(ctx, o, set.inherit(RoleImage), openMore{file: more.file}); err != nil {
			return nil, err
		}
		opts.Set("file", proto.name)
	}
	head := make([]byte, probeSize)
	head = head[:min(probeSize, int(min(proto.Length(), probeSize)))]
	if err := proto.preadv(0, VecOf(head), 0); err != nil {
		proto.Unref()
		return nil, Errorf(KindIO, "Could not read image for determining its format: %s", text(err))
	}
	t := Probe(head, proto.fileName())
	if t == nil {
		proto.Unref()
		return nil, UnknownDriver("raw")
	}
	if f := foreign(head); t.Name == "raw" && f != "" {
		name := proto.fileName()
		proto.Unref()
		return nil, Errorf(KindUnsupported, "Image '%s' is in the format '%s', which govmd does not support (if it is not, say that it is raw)", name, f)
	}
	opts.Set("driver", t.Name)
	more.guessed = true
	more.proto = proto
	return proto, nil
}

// withoutFile returns the generic options alone, in a form that can be decoded.
func withoutFile(o *qmp.Object) *qmp.Object {
	g := &qmp.Object{}
	g.Add("driver", "null-co")
	for _, m := range o.Members() {
		switch m.Name {
		case "discard", "cache", "read-only", "auto-read-only", "force-share", "detect-zeroes":
			g.Add(m.Name, m.Value)
		}
	}
	if types["null-co"] == nil {
		g.Set("driver", "raw")
	}
	return g
}

// checkRawHeader refuses a write that would have a raw image, whose format was
// guessed, be taken for another format the next time: a guest could have the host
// open any file as its backing file that way.
func (n *Node) checkRawHeader(off int64, v Vec) error {
	head := make([]byte, 512)
	if err := n.drv.Preadv(0, VecOf(head), 0); err != nil {
		return err
	}
	m := min(v.Len(), int(512-off))
	if err := v.To(m).Read(head[off : off+int64(m)]); err != nil {
		return err
	}
	if t := Probe(head, ""); t.Name != "raw" || foreign(head) != "" {
		return ErrReadOnly
	}
	return nil
}

// Guessed reports whether the format was guessed to be raw; -drive warns of it.
func (n *Node) Guessed() bool { return n.guardRaw }

// ResolveName returns the full name of what an image calls file: a backing file,
// which is relative to it.
func ResolveName(image, file string) (string, error) {
	if file == "" || strings.HasPrefix(file, "/") {
		return file, nil
	}
	if _, isURL := protocolPrefix(file); isURL {
		return file, nil
	}
	if strings.HasPrefix(image, "json:") {
		return "", Errorf(KindInvalid, "Cannot use relative backing file names for '%s'", image)
	}
	if i := strings.LastIndexByte(image, '/'); i >= 0 {
		return image[:i+1] + file, nil
	}
	return file, nil
}

// ResolveBacking returns the full name of a backing file that an image of this
// node's name calls file.
func (n *Node) ResolveBacking(file string) (string, error) { return ResolveName(n.place(), file) }

// place returns the name of the file that the image is in, in whatever way.
func (n *Node) place() string {
	for p := n.Primary(); p != nil && !n.typ.Protocol; p = n.Primary() {
		n = p
	}
	return n.fileName()
}

// fileName returns what FileName does.
func (n *Node) fileName() string {
	if f, ok := n.drv.(FileNamer); ok {
		return f.ExactFileName()
	}
	if n.typ.Protocol {
		return n.file
	}
	if p := n.Primary(); p != nil {
		return p.fileName()
	}
	return n.file
}
