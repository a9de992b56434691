package tap

import (
	"strings"

	"govmd/internal/net"
	"govmd/internal/qmp"
)

// Options are those of the back end "tap".
type Options struct {
	Ifname     *string `qmp:"ifname"` // may hold %d; nil: the kernel chooses
	FD         *string `qmp:"fd"`
	FDs        *string `qmp:"fds"` // between colons
	Script     *string `qmp:"script"`
	Downscript *string `qmp:"downscript"`
	Bridge     *string `qmp:"br"`
	Helper     *string `qmp:"helper"`
	Sndbuf     *size   `qmp:"sndbuf"`
	VnetHdr    *bool   `qmp:"vnet_hdr"`
	Vhost      *bool   `qmp:"vhost"`
	VhostFD    *string `qmp:"vhostfd"`
	VhostFDs   *string `qmp:"vhostfds"`
	VhostForce *bool   `qmp:"vhostforce"`
	Queues     *uint32 `qmp:"queues"`
	PollUS     *uint32 `qmp:"poll-us"`
}

// size is a number of bytes, with a suffix in option text.
type size = uint64

// maxQueues is how many pairs of queues a tap has at most.
const maxQueues = 256

func given[T any](p *T) bool { return p != nil }

// check refuses what does not go together, and what is not there.
func (o *Options) check() error {
	switch {
	case given(o.FD) && given(o.FDs):
		return qmp.Errorf("fd= and fds= are invalid together")
	case given(o.FD) && (given(o.Ifname) || given(o.Script) || given(o.Downscript) || given(o.VnetHdr) || given(o.Helper) ||
		given(o.Queues) || given(o.VhostFDs)):
		return qmp.Errorf("ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, fds=, and vhostfds= are invalid with fd=")
	case given(o.FDs) && (given(o.Ifname) || given(o.Script) || given(o.Downscript) || given(o.VnetHdr) || given(o.Helper) ||
		given(o.Queues) || given(o.VhostFD)):
		return qmp.Errorf("ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, and vhostfd= are invalid with fds=")
	case given(o.Helper):
		return qmp.Errorf("Parameter 'helper' is not supported: use a network back end of type bridge, or pass a descriptor")
	case o.Vhost != nil && *o.Vhost, given(o.VhostFD), given(o.VhostFDs), o.VhostForce != nil && *o.VhostForce:
		return qmp.Errorf("Parameter 'vhost' is not supported yet: leave it out")
	case o.PollUS != nil && *o.PollUS > 0:
		return qmp.Errorf("Parameter 'poll-us' is not supported: it goes with vhost")
	case o.Queues != nil && (*o.Queues == 0 || *o.Queues > maxQueues):
		return qmp.InvalidValue("queues", "a number between 1 and 256")
	}
	return nil
}

// script returns the program that an option names: "" and "no" are none.
func script(s *string) string {
	if s == nil || *s == "no" {
		return ""
	}
	return *s
}

// descriptors returns the names of descriptors that are to be used, if any.
func (o *Options) descriptors() []string {
	switch {
	case o.FD != nil:
		return []string{*o.FD}
	case o.FDs != nil:
		return strings.Split(*o.FDs, ":")
	}
	return nil
}

func init() { net.Register("tap", open) }
