package net

// RxState is which frames of a kind a card takes.
type RxState string

// The states.
const (
	RxNormal RxState = "normal" // those for addresses in its table
	RxNone   RxState = "none"
	RxAll    RxState = "all"
)

// EnumValues implements qmp.Enum.
func (RxState) EnumValues() []string {
	return []string{string(RxNormal), string(RxNone), string(RxAll)}
}

// Filter is what frames a card takes: RxFilterInfo of the protocol.
type Filter struct {
	Name              string   `qmp:"name"`
	Promiscuous       bool     `qmp:"promiscuous"`
	Multicast         RxState  `qmp:"multicast"`
	Unicast           RxState  `qmp:"unicast"`
	VLAN              RxState  `qmp:"vlan"`
	BroadcastAllowed  bool     `qmp:"broadcast-allowed"`
	MulticastOverflow bool     `qmp:"multicast-overflow"`
	UnicastOverflow   bool     `qmp:"unicast-overflow"`
	MainMAC           string   `qmp:"main-mac"`
	VLANTable         []int64  `qmp:"vlan-table"`
	UnicastTable      []string `qmp:"unicast-table"`
	MulticastTable    []string `qmp:"multicast-table"`
}
