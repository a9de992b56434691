package accel

import (
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"govmd/internal/device"
	"govmd/internal/kvm"
)

// router owns KVM's interrupt routing table: the pins of the in-kernel
// controllers, and GSIs beyond them that carry messages to eventfd's.
type router struct {
	vm  *kvm.VM
	log *logrus.Logger

	mu     sync.Mutex
	msi    map[uint32]device.MSIMessage // by GSI
	unused []uint32
	next   uint32
	max    uint32
}

func newRouter(vm *kvm.VM, log *logrus.Logger) (*router, error) {
	r := &router{vm: vm, log: log, msi: map[uint32]device.MSIMessage{}, next: GSIs, max: uint32(vm.MaxRoutes())}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r, r.commitLocked()
}

// pcRoutes is KVM's default table with the PC's exception: ISA interrupt 0, the
// timer, arrives at input 2 of the I/O APIC (ACPI's MADT says so to the guest).
func pcRoutes() []kvm.Route {
	var routes []kvm.Route
	for _, rt := range kvm.DefaultRoutes() {
		if rt.Chip == kvm.IRQChipIOAPIC {
			switch rt.GSI {
			case 0:
				rt.Pin = 2
			case 2:
				continue
			}
		}
		routes = append(routes, rt)
	}
	return routes
}

func (r *router) commitLocked() error {
	routes := pcRoutes()
	for gsi, m := range r.msi {
		routes = append(routes, kvm.Route{GSI: gsi, MSI: true, Addr: m.Addr, Data: m.Data})
	}
	return r.vm.SetGSIRouting(routes)
}

// pins returns the machine's global system interrupts, wired to KVM's controllers.
func (r *router) pins() (pins [GSIs]*device.Pin) {
	for i := range pins {
		gsi := uint32(i)
		p := device.NewPin(fmt.Sprintf("gsi %d", i), func(high bool) {
			if err := r.vm.IRQLine(gsi, high); err != nil {
				r.log.Debugf("interrupt %d: %v", gsi, err)
			}
		})
		p.SetIRQFD(func(trigger, resample int) (func(), error) {
			if err := r.vm.IRQFD(trigger, gsi, resample); err != nil {
				return nil, err
			}
			return func() {
				if err := r.vm.RemoveIRQFD(trigger, gsi); err != nil {
					r.log.Debugf("interrupt %d: %v", gsi, err)
				}
			}, nil
		})
		pins[i] = p
	}
	return pins
}

// Send implements device.MSIController.
func (r *router) Send(m device.MSIMessage) {
	if _, err := r.vm.SignalMSI(m.Addr, m.Data); err != nil {
		// The guest chose address and data: what is nonsense goes nowhere.
		r.log.Debugf("MSI 0x%x at 0x%x: %v", m.Data, m.Addr, err)
	}
}

// NewRoute implements device.MSIController.
func (r *router) NewRoute() (device.MSIRoute, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("interrupt eventfd: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var gsi uint32
	switch {
	case len(r.unused) > 0:
		gsi = r.unused[len(r.unused)-1]
		r.unused = r.unused[:len(r.unused)-1]
	case r.next < r.max:
		gsi = r.next
		r.next++
	default:
		_ = unix.Close(fd)
		return nil, device.ErrNoIRQFD
	}
	return &msiRoute{router: r, gsi: gsi, fd: fd, masked: true}, nil
}

// msiRoute is one GSI that carries a message, with its eventfd. It begins masked.
type msiRoute struct {
	router *router
	gsi    uint32
	fd     int
	masked bool // guarded by router.mu
}

// EventFD implements device.MSIRoute.
func (m *msiRoute) EventFD() int { return m.fd }

// Update implements device.MSIRoute.
func (m *msiRoute) Update(msg device.MSIMessage) error {
	m.router.mu.Lock()
	defer m.router.mu.Unlock()
	r := m.router
	old, had := r.msi[m.gsi]
	if had && old == msg {
		return nil
	}
	r.msi[m.gsi] = msg
	err := r.commitLocked()
	if err != nil {
		// A message that KVM refuses must not spoil the routes of others.
		if delete(r.msi, m.gsi); had {
			r.msi[m.gsi] = old
		}
	}
	return err
}

// SetMasked implements device.MSIRoute.
func (m *msiRoute) SetMasked(masked bool) error {
	m.router.mu.Lock()
	defer m.router.mu.Unlock()
	if m.masked == masked {
		return nil
	}
	m.masked = masked
	if masked {
		return m.router.vm.RemoveIRQFD(m.fd, m.gsi)
	}
	return m.router.vm.IRQFD(m.fd, m.gsi, -1)
}

// Close implements device.MSIRoute.
func (m *msiRoute) Close() {
	_ = m.SetMasked(true)
	r := m.router
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.msi, m.gsi)
	if err := r.commitLocked(); err != nil {
		r.log.Debugf("interrupt routes: %v", err)
	}
	r.unused = append(r.unused, m.gsi)
	_ = unix.Close(m.fd)
}
