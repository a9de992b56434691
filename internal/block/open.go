package block

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"govmd/internal/qmp"
)

// OpenArgs is what a driver is opened with.
type OpenArgs struct {
	Ctx   context.Context
	Graph *Graph
	Node  *Node // it has its name and settings, no driver yet
	Opts  any   // a pointer to the branch of the options

	chain    []string    // images above in the backing chain
	override *qmp.Object // what the user said of "backing" without naming the driver
	mode     qmp.Mode    // of override
	proto    *Node       // the protocol node that was opened to guess the format
}

// Settings returns the generic options that are in effect.
func (a *OpenArgs) Settings() Settings { return a.Node.set }

// SetReadOnly makes the node read-only although it was to be written: what
// auto-read-only allows. Without that it returns err.
func (a *OpenArgs) SetReadOnly(err error) error {
	if !a.Node.set.AutoReadOnly {
		return err
	}
	a.Node.set.ReadOnly = true
	return nil
}

// FollowReadOnly makes the node read-only, as SetReadOnly does, if its child is.
func (a *OpenArgs) FollowReadOnly(c *Child) error {
	if n := c.Node(); !a.Node.set.ReadOnly && n.ReadOnly() {
		return a.SetReadOnly(Errorf(KindInvalid, "Node '%s' is read-only", n.Name()))
	}
	return nil
}

// OpenChild opens or finds the node that ref means and makes it a child.
func (a *OpenArgs) OpenChild(name string, ref Ref, role Role) (*Child, error) {
	return a.child(name, ref.Definition, ref.Reference, role)
}

func (a *OpenArgs) child(name string, def *Options, reference *string, role Role) (*Child, error) {
	g := a.Graph
	var n *Node
	switch {
	case reference != nil:
		if n = g.Node(*reference); n == nil {
			return nil, Errorf(KindNotFound, "Cannot find device='%s' nor node-name='%s'", *reference, *reference)
		}
		n.Ref()
	case def != nil:
		var err error
		if n, err = g.open(a.Ctx, def, a.Node.set.inherit(role), openMore{chain: a.chainFor(role)}); err != nil {
			return nil, err
		}
	default:
		return nil, Errorf(KindInvalid, "Parameter '%s' is missing", name)
	}
	defer n.Unref() // the edge has its own
	return g.attachChild(a.Node, name, role, n)
}

func (a *OpenArgs) chainFor(role Role) []string {
	if role&RoleCOW != 0 {
		return a.chain
	}
	return nil
}

// OpenNamed opens the image that another image (relative) refers to by name and
// makes it a child: an external data file, an extent. Its format is raw, not guessed.
func (a *OpenArgs) OpenNamed(name, file string, relative *Node, role Role) (*Child, error) {
	full, err := ResolveName(relative.fileName(), file)
	if err != nil {
		return nil, err
	}
	t, err := protocolOf(full)
	if err != nil {
		return nil, err
	}
	opts := &qmp.Object{}
	opts.Set("driver", t.Name)
	n, err := a.Graph.openImage(a.Ctx, full, opts, qmp.JSON, a.Node.set.inherit(role), nil)
	if err != nil {
		return nil, err
	}
	defer n.Unref()
	return a.Graph.attachChild(a.Node, name, role, n)
}

// maxChain bounds how long a backing chain can be.
const maxChain = 500

// OpenBacking opens the backing file: the one that the options say or else, with
// file not "", the one that the image names. It returns nil when there is none.
func (a *OpenArgs) OpenBacking(ref *RefOrNull, file, format string) (*Child, error) {
	if ref != nil {
		if ref.Null != nil || ref.Reference != nil && *ref.Reference == "" {
			return nil, nil
		}
		return a.child("backing", ref.Definition, ref.Reference, RoleCOW)
	}
	if file == "" && a.override == nil || a.Node.set.NoIO || a.Node.set.NoBacking {
		return nil, nil
	}
	own := a.Node.fileName()
	full, err := a.Node.ResolveBacking(file)
	if err != nil {
		return nil, err
	}
	chain := append(slices.Clone(a.chain), own)
	if slices.Contains(chain, full) {
		return nil, Errorf(KindCorrupt, "Backing file '%s' of '%s' creates an infinite loop", file, own)
	}
	if len(chain) > maxChain {
		return nil, Errorf(KindCorrupt, "The backing chain of '%s' has more than %d images", chain[0], maxChain)
	}
	opts := &qmp.Object{}
	if a.override != nil {
		for _, m := range a.override.Members() {
			opts.Add(m.Name, m.Value)
		}
	}
	if _, given := opts.Get("driver"); !given && format != "" {
		opts.Set("driver", format)
	}
	set := a.Node.set.inherit(RoleCOW)
	n, err := a.Graph.openImage(a.Ctx, full, opts, a.mode, set, chain)
	if err != nil {
		return nil, &Error{Kind: KindOf(err), Text: "Could not open backing file: " + err.Error(), Err: err}
	}
	defer n.Unref()
	return a.Graph.attachChild(a.Node, "backing", RoleCOW, n)
}

// openMore is what only some openings have.
type openMore struct {
	chain    []string
	override *qmp.Object
	mode     qmp.Mode
	file     string // the name that it was opened by
	guessed  bool   // the format is a guess
	proto    *Node
	typ      *Type // nil: the one that is registered by the driver's name
}

// Open opens a node as options say; what they leave out is as in def. The caller
// owns the reference that is returned. It may run anywhere, and its end depends on
// storage and peers; ctx ends it early.
func (g *Graph) Open(ctx context.Context, o *Options, def Settings) (*Node, error) {
	return g.open(ctx, o, def, openMore{})
}

func (g *Graph) open(ctx context.Context, o *Options, def Settings, more openMore) (*Node, error) {
	n, err := g.openNode(ctx, o, def, more)
	if traceOpen.On() {
		name := ""
		switch {
		case n != nil:
			name = n.Name()
		case o.NodeName != nil:
			name = *o.NodeName
		}
		traceOpen.Emit(name, o.Driver, err)
	}
	return n, err
}

func (g *Graph) openNode(ctx context.Context, o *Options, def Settings, more openMore) (*Node, error) {
	t := more.typ
	if t == nil {
		t = types[o.Driver]
	}
	if t == nil {
		return nil, UnknownDriver(o.Driver)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Cache != nil && o.Cache.Writeback != nil {
		return nil, Errorf(KindInvalid, "Parameter 'cache.writeback' is unexpected")
	}
	n := &Node{graph: g, typ: t, opts: o, set: o.settings(def), shared: PermAll, file: more.file, refs: 1}
	n.trk.init()
	if err := n.set.check(); err != nil {
		return nil, err
	}
	if err := g.reserve(n, o.NodeName); err != nil {
		return nil, err
	}
	a := &OpenArgs{Ctx: ctx, Graph: g, Node: n, Opts: o.Branch, chain: more.chain, override: more.override, mode: more.mode, proto: more.proto}
	drv, err := t.Open(a)
	if err == nil {
		n.drv = drv
		err = n.opened(more)
	}
	if err != nil {
		n.discard()
		return nil, err
	}
	return n, nil
}

// opened completes a node whose driver is there.
func (n *Node) opened(more openMore) error {
	if err := n.refreshLimits(); err != nil {
		return err
	}
	size, err := n.drv.Length()
	if err != nil {
		return &Error{Kind: KindIO, Text: fmt.Sprintf("Could not get the size of '%s': %s", n.fileName(), text(err)), Err: err}
	}
	n.length.Store(size)
	n.debug, _ = n.drv.(Debugger)
	n.guardRaw = more.guessed && n.typ.Name == "raw"
	if _, ok := n.drv.(ChildPermitter); ok { // it could not be asked when it opened its children
		if err := n.graph.refreshPerms(n); err != nil {
			return err
		}
	}
	if l, ok := n.drv.(interface{ Opened() error }); ok {
		return l.Opened()
	}
	return nil
}

func (n *Node) refreshLimits() error {
	n.lim = n.drv.Limits()
	if n.lim.Align == 0 {
		n.lim.Align = 1
	}
	if a := n.lim.Align; a&(a-1) != 0 || a > 1<<22 {
		return Errorf(KindInvalid, "Node '%s' has a request alignment of %d", n.name, a)
	}
	return nil
}

// text is an error's text as C programs have it.
func text(err error) string {
	var path *os.PathError
	if errors.As(err, &path) && error(path) == err {
		err = path.Err // the message names the file
	}
	if e, ok := err.(unix.Errno); ok {
		return qmp.Strerror(e)
	}
	return err.Error()
}

// ErrorText is the text of an error for messages, with the words of C for error numbers.
func ErrorText(err error) string { return text(err) }
