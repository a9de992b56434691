package pci

import (
	"fmt"

	"govmd/internal/device"
	"govmd/internal/state"
)

// savedDevice is what a function's standard registers hold.
type savedDevice struct {
	Config  []byte        `cbor:"config"`
	INTx    bool          `cbor:"intx"`
	MSI     uint32        `cbor:"msi-pending"`
	Vectors []savedVector `cbor:"vectors,omitempty"` // of MSI-X
}

type savedVector struct {
	Addr    uint64 `cbor:"addr"`
	Data    uint32 `cbor:"data"`
	Masked  bool   `cbor:"masked"`
	Pending bool   `cbor:"pending"`
}

// registerState adds the entry "PATH/pci". It is loaded before those of
// functions, so that they find their BARs mapped and their vectors programmed.
func (d *Device) registerState() error {
	if d.Env().State == nil {
		return nil
	}
	e := state.Of(d.Path()+"/pci", 1, d.save, d.load)
	e.Priority = state.PriorityBus
	remove, err := d.Env().State.Register(e)
	if err != nil {
		return err
	}
	d.Defer(remove)
	return nil
}

func (d *Device) save() savedDevice {
	d.access.Lock()
	defer d.access.Unlock()
	d.config.mu.Lock()
	s := savedDevice{Config: append([]byte(nil), d.config.data[:d.size]...)}
	d.config.mu.Unlock()
	s.INTx = d.INTx()
	if d.msi != nil {
		for i := range d.msi.vectors {
			if d.msi.vectors[i].isPending() {
				s.MSI |= 1 << i
			}
		}
	}
	if d.msix != nil {
		for i := range d.msix.vectors {
			v := &d.msix.vectors[i]
			v.mu.Lock()
			s.Vectors = append(s.Vectors, savedVector{v.msg.Addr, v.msg.Data, v.masked, v.pending || v.routePending()})
			v.mu.Unlock()
		}
	}
	return s
}

// identity are the bytes that tell what a function is; a state with others
// belongs to another machine.
var identity = [][2]int{{RegVendor, 4}, {RegRevision, 4}, {RegHeaderType, 1}, {RegCapabilities, 1}, {RegInterruptPin, 1}}

func (d *Device) load(s *savedDevice) error {
	if len(s.Config) != d.size {
		return fmt.Errorf("configuration space has %d bytes, here it has %d", len(s.Config), d.size)
	}
	vectors := d.MSIXVectors()
	if len(s.Vectors) != vectors {
		return fmt.Errorf("%d MSI-X vectors, here there are %d", len(s.Vectors), vectors)
	}
	d.access.Lock()
	defer d.access.Unlock()
	d.config.mu.Lock()
	for _, r := range identity {
		for i := r[0]; i < r[0]+r[1]; i++ {
			if s.Config[i] != d.config.data[i] {
				d.config.mu.Unlock()
				return fmt.Errorf("configuration byte %#x is %#x, here it is %#x", i, s.Config[i], d.config.data[i])
			}
		}
	}
	// What the guest cannot write follows from other state or never changes. What
	// it could write at first counts, not what it has locked since.
	copy(d.config.writable[:], d.initial.writable)
	for i, b := range s.Config {
		m := d.config.writable[i] | d.config.w1c[i]
		d.config.data[i] = d.config.data[i]&^m | b&m
	}
	d.config.mu.Unlock()

	d.intx.mu.Lock()
	d.intx.level = s.INTx
	d.intx.mu.Unlock()
	if d.msi != nil {
		d.msi.reset()
	}
	if d.msix != nil {
		for i := range d.msix.vectors {
			v, w := &d.msix.vectors[i], s.Vectors[i]
			v.set(device.MSIMessage{Addr: w.Addr, Data: w.Data}, w.Masked, gateOff)
		}
		d.msix.gate = gateOff
	}
	d.reloaded()
	d.loadPending(s)
	return nil
}

// loadPending remembers what waits for being unmasked. What is not masked here
// was delivered before it was saved.
func (d *Device) loadPending(s *savedDevice) {
	set := func(v *Vector) {
		v.mu.Lock()
		v.pending = v.gate != gateOff && !v.live()
		v.mu.Unlock()
	}
	if d.msi != nil {
		for i := range d.msi.vectors {
			if s.MSI>>i&1 != 0 {
				set(&d.msi.vectors[i])
			}
		}
	}
	if d.msix != nil {
		for i := range d.msix.vectors {
			if s.Vectors[i].Pending {
				set(&d.msix.vectors[i])
			}
		}
	}
}
