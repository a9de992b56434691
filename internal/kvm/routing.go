package kvm

import "golang.org/x/sys/unix"

const (
	routeIRQChip = 1
	routeMSI     = 2

	routeEntryWords = 12 // of 32 bits
	routeHeadWords  = 2
)

// Route says where a GSI leads: to a pin of an in-kernel interrupt controller,
// or (MSI true) to a message.
type Route struct {
	GSI uint32

	Chip, Pin uint32 // IRQChipPICMaster, IRQChipPICSlave or IRQChipIOAPIC

	MSI  bool
	Addr uint64
	Data uint32
}

// MaxRoutes returns how many entries the routing table can have; GSIs are
// below that number too.
func (m *VM) MaxRoutes() int { return m.Check(CapIRQRouting) }

// SetGSIRouting replaces the whole routing table. A GSI may have one route to
// each controller, or one message.
func (m *VM) SetGSIRouting(routes []Route) error {
	if len(routes) > 1<<16 {
		return opError(reqSetGSIRouting, unix.EINVAL)
	}
	buf := make([]uint32, routeHeadWords+routeEntryWords*len(routes))
	buf[0] = uint32(len(routes))
	for i, r := range routes {
		w := buf[routeHeadWords+i*routeEntryWords:]
		w[0] = r.GSI
		if r.MSI {
			w[1] = routeMSI
			w[4], w[5], w[6] = uint32(r.Addr), uint32(r.Addr>>32), r.Data
		} else {
			w[1] = routeIRQChip
			w[4], w[5] = r.Chip, r.Pin
		}
	}
	if _, err := ioctlPtr(m.fd, reqSetGSIRouting, &buf[0]); err != nil {
		return opError(reqSetGSIRouting, err)
	}
	return nil
}

// DefaultRoutes is the table that CreateIRQChip installs: GSI n to pin n of the
// I/O APIC (but PC firmware expects GSI 0 on pin 2: see ACPI's interrupt source
// overrides) and, below 16, to the PICs.
func DefaultRoutes() []Route {
	var routes []Route
	for gsi := uint32(0); gsi < IOAPICPins; gsi++ {
		if gsi < 8 {
			routes = append(routes, Route{GSI: gsi, Chip: IRQChipPICMaster, Pin: gsi})
		} else if gsi < 16 {
			routes = append(routes, Route{GSI: gsi, Chip: IRQChipPICSlave, Pin: gsi - 8})
		}
		routes = append(routes, Route{GSI: gsi, Chip: IRQChipIOAPIC, Pin: gsi})
	}
	return routes
}

// msi is struct kvm_msi.
type msi struct {
	addrLo, addrHi uint32
	data           uint32
	_              [20]byte // flags, devid and padding
}

// SignalMSI delivers a message-signalled interrupt. It reports whether a local
// APIC took it: false means that the guest masks it.
func (m *VM) SignalMSI(addr uint64, data uint32) (delivered bool, err error) {
	arg := msi{addrLo: uint32(addr), addrHi: uint32(addr >> 32), data: data}
	n, err := ioctlPtr(m.fd, reqSignalMSI, &arg)
	if err != nil {
		return false, opError(reqSignalMSI, err)
	}
	return n > 0, nil
}
