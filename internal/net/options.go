package net

import (
	"govmd/internal/option"
	"govmd/internal/qmp"
)

// Options say what back end to open: Netdev of the protocol.
type Options struct {
	ID     string `qmp:"id"`
	Type   string `qmp:"type"`
	Branch any    `qmp:",branch"`
}

var types = qmp.NewUnion("Netdev", "type")

// QMPUnion implements qmp.Unioner.
func (Options) QMPUnion() *qmp.Union { return types }

var openers = map[string]func(o *Opened, branch any) (Backend, error){}

// Register makes a kind of back ends known, with the options T. open runs anywhere,
// and may wait as long as o.Ctx lasts. It is called from init.
func Register[T any](name string, open func(o *Opened, options *T) (Backend, error)) {
	openers[name] = func(o *Opened, branch any) (Backend, error) { return open(o, branch.(*T)) }
	qmp.AddBranch[T](types, name)
}

func init() {
	for _, name := range []string{"l2tpv3", "netmap", "vde", "vhost-vdpa"} {
		types.Refuse(name, "network back ends of this type are not supported")
	}
}

// Types returns the names of the kinds of back ends, sorted.
func Types() []string { return types.Values() }

func (o *Options) open(by *Opened) (Backend, error) { return openers[o.Type](by, o.Branch) }

// Parse reads option text: "tap,id=t0,ifname=tap0", or JSON.
func Parse(text string) (*Options, error) {
	kv, err := option.ParseValue(text, "type")
	if err != nil {
		return nil, err
	}
	mode := qmp.Keyval
	if kv.JSON {
		mode = qmp.JSON
	}
	o := new(Options)
	if err := qmp.Decode(kv.Doc.Root(), mode, o); err != nil {
		return nil, err
	}
	return o, nil
}
