package net

import (
	"govmd/internal/qmp"
)

// netdevAdd opens a back end off the lane: it may have to wait for a peer or a name.
func (n *Net) netdevAdd(ctx *qmp.Context, o *Options, reply *qmp.Reply[qmp.None]) {
	if err := n.reserve(o.ID); err != nil {
		reply.Fail(err)
		return
	}
	n.openings.Go(func() {
		b, err := o.open(&Opened{Ctx: n.life, Net: n, ID: o.ID, Command: ctx})
		posted := n.Env.Lane.Post(func() {
			delete(n.opening, o.ID)
			if err == nil {
				n.insert(o.ID, b)
			}
			reply.Finish(qmp.None{}, err)
		})
		if !posted && err == nil {
			b.Close()
		}
	})
}

type idArgs struct {
	ID string `qmp:"id"`
}

func (n *Net) netdevDel(_ *qmp.Context, a *idArgs) (none qmp.None, err error) {
	d := n.Netdev(a.ID)
	if d == nil {
		return none, qmp.DeviceNotFound(a.ID)
	}
	n.Remove(d)
	return none, nil
}

type linkArgs struct {
	Name string `qmp:"name"`
	Up   bool   `qmp:"up"`
}

// setLink is set_link, of a card or a back end.
func (n *Net) setLink(_ *qmp.Context, a *linkArgs) (none qmp.None, err error) {
	if c := n.nic(a.Name); c != nil {
		c.Link.setDown(&c.Link.cardDown, !a.Up)
		return none, nil
	}
	if d := n.Netdev(a.Name); d != nil {
		d.link.setDown(&d.link.backendDown, !a.Up)
		return none, nil
	}
	return none, qmp.DeviceNotFound(a.Name)
}

type filterArgs struct {
	Name *string `qmp:"name"`
}

func (n *Net) queryFilter(_ *qmp.Context, a *filterArgs) ([]Filter, error) {
	list := []Filter{}
	if a.Name == nil {
		for _, c := range n.nics {
			if f := c.Card.Filter(); f != nil {
				list = append(list, *f)
			}
		}
		return list, nil
	}
	c := n.nic(*a.Name)
	switch {
	case c == nil && n.Netdev(*a.Name) != nil:
		return nil, qmp.Errorf("net client(%s) isn't a NIC", *a.Name)
	case c == nil:
		return nil, qmp.Errorf("invalid net client name: %s", *a.Name)
	}
	f := c.Card.Filter()
	if f == nil {
		return nil, qmp.Errorf("net client(%s) doesn't support rx-filter querying", *a.Name)
	}
	return append(list, *f), nil
}

func (n *Net) announceSelf(_ *qmp.Context, p *AnnounceParameters) (none qmp.None, err error) {
	return none, n.Announce(*p)
}

// Commands returns the commands about networks.
func (n *Net) Commands() []qmp.Command {
	return []qmp.Command{
		qmp.NewAsync("netdev_add", n.netdevAdd),
		qmp.New("netdev_del", n.netdevDel),
		qmp.New("set_link", n.setLink),
		qmp.New("query-rx-filter", n.queryFilter),
		qmp.New("announce-self", n.announceSelf),
	}
}
