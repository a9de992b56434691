package vnet

import (
	"slices"

	"govmd/internal/net"
)

// maxAddresses is how many addresses the filter holds; with more it takes all.
const maxAddresses = 64

// filter is which frames the driver wants (5.1.6.5.1 to 5.1.6.5.3).
type filter struct {
	promiscuous, allMulti, allUni, noMulti, noUni, noBroadcast bool

	unicast, multicast                 []net.MAC
	unicastOverflow, multicastOverflow bool
	vlans                              [4096 / 64]uint64
}

// reset makes it what it is before the driver says anything: all are wanted.
func (f *filter) reset() {
	*f = filter{promiscuous: true, unicast: f.unicast[:0], multicast: f.multicast[:0]}
}

func (f *filter) setVLAN(id uint16, on bool) {
	if on {
		f.vlans[id/64] |= 1 << (id % 64)
	} else {
		f.vlans[id/64] &^= 1 << (id % 64)
	}
}

// wants reports whether the driver, whose card has the address own, wants a frame
// although it is not promiscuous; vlans says that it has a table of those. What it asks for is in the first
// segment, as all back ends have it.
func (f *filter) wants(frame [][]byte, header int, own net.MAC, vlans bool) bool {
	p := frame[0][header:]
	if len(p) < 14 {
		return false
	}
	if vlans && p[12] == 0x81 && p[13] == 0 && len(p) >= 16 {
		id := (uint16(p[14])<<8 | uint16(p[15])) & 0xfff
		if f.vlans[id/64]>>(id%64)&1 == 0 {
			return false
		}
	}
	to := net.MAC(p[:6])
	switch {
	case to == net.Broadcast:
		return !f.noBroadcast
	case to[0]&1 != 0:
		return !f.noMulti && (f.allMulti || f.multicastOverflow || slices.Contains(f.multicast, to))
	case f.noUni:
		return false
	}
	return f.allUni || f.unicastOverflow || to == own || slices.Contains(f.unicast, to)
}

// describe is the filter as query-rx-filter shows it; vlans is as of wants.
func (f *filter) describe(name string, mac net.MAC, vlans bool) *net.Filter {
	state := func(none, all bool) net.RxState {
		switch {
		case none:
			return net.RxNone
		case all:
			return net.RxAll
		}
		return net.RxNormal
	}
	texts := func(list []net.MAC) []string {
		out := []string{}
		for _, m := range list {
			out = append(out, m.String())
		}
		return out
	}
	i := &net.Filter{
		Name: name, Promiscuous: f.promiscuous, Multicast: state(f.noMulti, f.allMulti), Unicast: state(f.noUni, f.allUni),
		BroadcastAllowed: !f.noBroadcast, MulticastOverflow: f.multicastOverflow, UnicastOverflow: f.unicastOverflow,
		MainMAC: mac.String(), VLANTable: []int64{}, UnicastTable: texts(f.unicast), MulticastTable: texts(f.multicast), VLAN: net.RxAll,
	}
	for id := 4095; id >= 0; id-- {
		if !vlans || f.vlans[id/64]>>(id%64)&1 != 0 {
			i.VLANTable = append(i.VLANTable, int64(id))
		} else {
			i.VLAN = net.RxNormal
		}
	}
	return i
}
