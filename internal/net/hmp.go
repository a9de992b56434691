package net

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"govmd/internal/qmp"
)

// HumanCommands returns the human monitor's commands about networks.
func (n *Net) HumanCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "netdev_add", Args: "netdev:O", NoLane: true,
			Params: "[user|tap|socket|stream|dgram|hubport|vhost-user|bridge],id=str[,prop=value][,...]", Help: "add host network device",
			Complete: func(*qmp.Context, []string) []string { return Types() },
			Run:      n.humanAdd,
		},
		{
			Name: "netdev_del", Args: "id:s", Params: "id", Help: "remove host network device", Complete: n.completeNetdev,
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				_, err := n.netdevDel(ctx, &idArgs{a.Str("id")})
				return err
			},
		},
		{
			Name: "set_link", Args: "name:s,up:b", Params: "name on|off", Help: "change the link status of a network adapter", Complete: n.completeAny,
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				_, err := n.setLink(ctx, &linkArgs{a.Str("name"), a.Bool("up")})
				return err
			},
		},
		{
			Name: "announce_self", Args: "interfaces:s?,id:s?", Params: "[interfaces] [id]",
			Help: "trigger GARP/RARP announcements", Complete: n.completeNIC,
			Run: func(_ *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				p := AnnounceParameters{Initial: 50, Max: 550, Rounds: 5, Step: 100}
				if s := a.Str("interfaces"); s != "" {
					p.Interfaces = strings.Split(s, ",")
				}
				if s := a.Str("id"); s != "" {
					p.ID = &s
				}
				return n.Announce(p)
			},
		},
	}
}

// humanAdd is netdev_add. It runs where it may wait.
func (n *Net) humanAdd(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
	o, err := Parse(a.Str("netdev"))
	if err != nil {
		return err
	}
	if e := n.Env.Lane.Do(ctx, func() { err = n.reserve(o.ID) }); e != nil || err != nil {
		return firstOf(e, err)
	}
	b, err := o.open(&Opened{Ctx: n.life, Net: n, ID: o.ID, Command: ctx})
	e := n.Env.Lane.Do(ctx, func() {
		delete(n.opening, o.ID)
		if err == nil {
			n.insert(o.ID, b)
		}
	})
	return firstOf(err, e)
}

func firstOf(list ...error) error {
	i := slices.IndexFunc(list, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return list[i]
}

// InfoCommands returns the second words of `info` about networks.
func (n *Net) InfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "network", Help: "show the network state",
		Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			n.infoNetwork(out)
			return nil
		},
	}}
}

// infoNetwork shows cards with their back ends, and back ends without cards, in
// order of arrival.
func (n *Net) infoNetwork(out io.Writer) {
	free := slices.DeleteFunc(slices.Clone(n.netdevs), func(d *Netdev) bool { return n.cardOf(d) != nil })
	showFree := func(before int) {
		for len(free) > 0 && free[0].arrival < before {
			free[0].show(out)
			free = free[1:]
		}
	}
	for _, c := range n.nics {
		showFree(c.arrival)
		fmt.Fprintf(out, "%s: index=0,type=nic,model=%s,macaddr=%s%s\n", c.Name, c.Model, c.MAC, downText(c.Link.cardDown))
		if d := n.Netdev(c.peer); d != nil {
			fmt.Fprint(out, " \\ ")
			d.show(out)
		}
	}
	showFree(n.arrivals)
}

func (d *Netdev) show(out io.Writer) {
	fmt.Fprintf(out, "%s: index=0,type=%s,%s%s\n", d.ID, d.Backend.Type(), d.Backend.Info(), downText(d.link.backendDown))
}

func downText(down bool) string {
	if down {
		return ",link=down"
	}
	return ""
}

// cardOf returns the card of a back end, or nil.
func (n *Net) cardOf(d *Netdev) *NIC {
	for _, c := range n.nics {
		if c.peer == d.ID {
			return c
		}
	}
	return nil
}

func (n *Net) completeNetdev(*qmp.Context, []string) (list []string) {
	for _, d := range n.netdevs {
		list = append(list, d.ID)
	}
	return list
}

func (n *Net) completeNIC(*qmp.Context, []string) (list []string) {
	for _, c := range n.nics {
		list = append(list, c.Name)
	}
	return list
}

func (n *Net) completeAny(ctx *qmp.Context, words []string) []string {
	return append(n.completeNIC(ctx, words), n.completeNetdev(ctx, words)...)
}
