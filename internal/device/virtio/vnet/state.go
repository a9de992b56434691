package vnet

import (
	"fmt"

	"govmd/internal/net"
	"govmd/internal/state"
)

// savedNet is the saved state beyond that of all virtio devices.
type savedNet struct {
	MAC      []byte `cbor:"mac"`
	Status   uint16 `cbor:"status"`
	Pairs    uint16 `cbor:"pairs"`
	Switched bool   `cbor:"switched"`
	Offloads uint8  `cbor:"offloads"`

	Promiscuous       bool     `cbor:"promiscuous"`
	AllMulti          bool     `cbor:"all_multi"`
	AllUni            bool     `cbor:"all_uni"`
	NoMulti           bool     `cbor:"no_multi"`
	NoUni             bool     `cbor:"no_uni"`
	NoBroadcast       bool     `cbor:"no_broadcast"`
	Unicast           []byte   `cbor:"unicast"` // addresses, one after the other
	Multicast         []byte   `cbor:"multicast"`
	UnicastOverflow   bool     `cbor:"unicast_overflow"`
	MulticastOverflow bool     `cbor:"multicast_overflow"`
	VLANs             []uint64 `cbor:"vlans"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	return append(d.Core.States(), state.Of("", 1, d.save, d.load))
}

func (d *Device) save() (s savedNet) {
	mac := d.address()
	s.MAC = mac[:]
	d.mu.Lock()
	s.Status = d.status
	d.mu.Unlock()
	d.Worker().Exclude(func() {
		f := &d.now.filter
		s.Pairs, s.Switched, s.Offloads = uint16(d.now.pairs), d.now.switched, uint8(d.now.offloads)
		s.Promiscuous, s.AllMulti, s.AllUni = f.promiscuous, f.allMulti, f.allUni
		s.NoMulti, s.NoUni, s.NoBroadcast = f.noMulti, f.noUni, f.noBroadcast
		s.UnicastOverflow, s.MulticastOverflow = f.unicastOverflow, f.multicastOverflow
		for _, m := range f.unicast {
			s.Unicast = append(s.Unicast, m[:]...)
		}
		for _, m := range f.multicast {
			s.Multicast = append(s.Multicast, m[:]...)
		}
		s.VLANs = append(s.VLANs, f.vlans[:]...)
	})
	return s
}

func (d *Device) load(s *savedNet) error {
	const most = maxAddresses * addressLength
	switch {
	case len(s.MAC) != addressLength, len(s.Unicast)%addressLength != 0, len(s.Multicast)%addressLength != 0:
		return fmt.Errorf("an address is no address")
	case len(s.Unicast) > most, len(s.Multicast) > most:
		return fmt.Errorf("there are more addresses than the filter holds")
	case len(s.VLANs) != len(d.now.filter.vlans):
		return fmt.Errorf("the table of VLANs has %d words", len(s.VLANs))
	case s.Pairs == 0 || int(s.Pairs) > len(d.pairs):
		return fmt.Errorf("%d pairs of queues are in use, of %d", s.Pairs, len(d.pairs))
	case s.Status&^(statusUp|statusAnnounce) != 0:
		return fmt.Errorf("the status is %#x", s.Status)
	}
	d.mu.Lock()
	d.mac, d.status = net.MAC(s.MAC), s.Status
	d.mu.Unlock()
	d.Worker().Exclude(func() {
		f := &d.now.filter
		d.now.pairs, d.now.switched, d.now.offloads = int(s.Pairs), s.Switched, net.Offloads(s.Offloads)
		f.promiscuous, f.allMulti, f.allUni = s.Promiscuous, s.AllMulti, s.AllUni
		f.noMulti, f.noUni, f.noBroadcast = s.NoMulti, s.NoUni, s.NoBroadcast
		f.unicast, _ = keep(f.unicast, s.Unicast)
		f.multicast, _ = keep(f.multicast, s.Multicast)
		f.unicastOverflow, f.multicastOverflow = s.UnicastOverflow, s.MulticastOverflow
		copy(f.vlans[:], s.VLANs)
	})
	return nil // FeaturesChanged follows
}
