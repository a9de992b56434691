package net

import (
	"context"
	"errors"
	"slices"
	"sync"

	"govmd/internal/event"
	"govmd/internal/fd"
	"govmd/internal/lane"
	"govmd/internal/option"
	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// Env is what back ends use of the machine.
type Env struct {
	Lane *lane.Lane
	Bus  *event.Bus
	// FDs has the descriptors that clients passed.
	FDs *fd.Table
	// Names looks up the descriptor that an address may name; see chardev.Registry.Names.
	Names func(ctx *qmp.Context, a sock.Address) (names *sock.Names, unused func(), err error)
	// Warn tells the user of something that is not in order.
	Warn func(text string)
}

// Opened says for whom a back end is opened.
type Opened struct {
	Ctx context.Context // ends with the user's patience
	Net *Net
	ID  string
	// Command is that of a monitor's client, nil for the command line.
	Command *qmp.Context
}

// FD takes the descriptor that an option names: one that the client has passed or, on
// the command line, a number.
func (o *Opened) FD(name string) (int, error) {
	if o.Command == nil {
		return sock.CommandLineFD(name)
	}
	n, err := o.Net.Env.FDs.TakeFor(o.Command, name)
	if errors.As(err, new(*fd.NotFoundError)) {
		err = qmp.Errorf("File descriptor named '%s' has not been found", name)
	}
	return n, err
}

// Names looks up the descriptor that an address may name; unused closes it if it was not
// used.
func (o *Opened) Names(a sock.Address) (names *sock.Names, unused func(), err error) {
	if o.Net.Env.Names == nil {
		return &sock.Names{FD: sock.CommandLineFD}, func() {}, nil
	}
	return o.Net.Env.Names(o.Command, a)
}

// Netdev is a back end with its name.
type Netdev struct {
	ID      string
	Backend Backend
	link    *Link
	arrival int
}

// NIC is a card with its name, as commands and `info network` see it.
type NIC struct {
	Name  string // the device's ID, or made of its model
	Model string
	MAC   MAC
	Card  Card
	Link  *Link

	peer    string // the ID of the back end that it is to have, "" for none
	arrival int
}

// Net holds the back ends and cards of a machine. Its methods run on the lane, but
// for Open.
type Net struct {
	Env     Env
	netdevs []*Netdev
	nics    []*NIC
	macs    map[MAC]bool

	arrivals      int // of back ends and cards
	announcements announcements

	opening  map[string]bool // IDs of back ends that are being opened
	openings sync.WaitGroup
	life     context.Context // ends with the Net
	end      context.CancelFunc
}

// New returns a machine's Net.
func New(env Env) *Net {
	n := &Net{Env: env, opening: map[string]bool{}, macs: map[MAC]bool{}}
	n.life, n.end = context.WithCancel(context.Background())
	if n.Env.Warn == nil {
		n.Env.Warn = func(string) {}
	}
	return n
}

// Netdev returns the back end of that ID, or nil.
func (n *Net) Netdev(id string) *Netdev {
	for _, d := range n.netdevs {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// Netdevs and NICs return all, in order of arrival. The lists must not be changed.
func (n *Net) Netdevs() []*Netdev { return n.netdevs }

// NICs is described at Netdevs.
func (n *Net) NICs() []*NIC { return n.nics }

// reserve keeps an ID for a back end that is being opened.
func (n *Net) reserve(id string) error {
	switch {
	case !option.ValidID(id):
		return qmp.InvalidValue("id", "an identifier")
	case n.opening[id] || n.Netdev(id) != nil:
		return qmp.Errorf("Duplicate ID '%s'", id)
	}
	n.opening[id] = true
	return nil
}

// Add opens a back end and waits for that: for the command line.
func (n *Net) Add(o *Options) (*Netdev, error) {
	if err := n.reserve(o.ID); err != nil {
		return nil, err
	}
	b, err := o.open(&Opened{Ctx: n.life, Net: n, ID: o.ID})
	delete(n.opening, o.ID)
	if err != nil {
		return nil, err
	}
	return n.insert(o.ID, b), nil
}

// insert adds a back end; a card that waits for one of that name gets it.
func (n *Net) insert(id string, b Backend) *Netdev {
	d := &Netdev{ID: id, Backend: b, arrival: n.arrives()}
	n.netdevs = append(n.netdevs, d)
	for _, c := range n.nics {
		if c.peer == id {
			d.link = c.Link
		}
	}
	if d.link == nil {
		d.link = newLink()
	}
	b.Start(d.link)
	d.link.setBackend(b)
	return d
}

func (n *Net) arrives() int {
	n.arrivals++
	return n.arrivals - 1
}

// Remove takes a back end away. Its card, if it has one, is left without.
func (n *Net) Remove(d *Netdev) {
	n.netdevs = slices.DeleteFunc(n.netdevs, func(x *Netdev) bool { return x == d })
	d.link.setBackend(nil)
	d.Backend.Close()
}

// Connect adds a card whose back end has the given ID; "" is none. A back end that
// is there is its own from now on; BackendChanged has not been called for it.
func (n *Net) Connect(c *NIC, id string) error {
	c.peer, c.Link = id, newLink()
	if id != "" {
		d := n.Netdev(id)
		if d == nil {
			return qmp.Errorf("Property '%s.netdev' can't find value '%s'", c.Model, id)
		}
		if slices.ContainsFunc(n.nics, func(x *NIC) bool { return x.peer == id }) {
			return qmp.Errorf("Property '%s.netdev' can't take value '%s', it's in use", c.Model, id)
		}
		c.Link = d.link
	}
	if c.Name == "" {
		c.Name = n.cardName(c.Model)
	}
	c.arrival = n.arrives()
	c.Link.setCard(c.Card)
	n.nics = append(n.nics, c)
	return nil
}

// Disconnect takes a card away. When it returns no frame is on its way to it.
func (n *Net) Disconnect(c *NIC) {
	n.nics = slices.DeleteFunc(n.nics, func(x *NIC) bool { return x == c })
	c.Link.setCard(nil)
	n.FreeMAC(c.MAC)
}

// Stop gives up opening back ends. It must not be called on the lane, and comes
// before Close.
func (n *Net) Stop() {
	n.end()
	n.openings.Wait()
}

// Close ends all back ends. There are no cards any more.
func (n *Net) Close() {
	n.announcements.close()
	for _, d := range slices.Clone(n.netdevs) {
		n.Remove(d)
	}
}
