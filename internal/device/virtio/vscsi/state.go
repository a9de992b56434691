package vscsi

import (
	"fmt"

	"govmd/internal/state"
)

// savedAdapter is the adapter's state. Requests that are under way or parked are in
// that of their queues.
type savedAdapter struct {
	SenseSize uint32            `cbor:"sense-size"`
	CDBSize   uint32            `cbor:"cdb-size"`
	Missed    bool              `cbor:"events-missed"`
	Events    [][eventSize]byte `cbor:"events"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	return append(d.Core.States(), state.Of("scsi", 1, d.save, d.load))
}

func (d *Device) save() savedAdapter {
	d.mu.Lock()
	defer d.mu.Unlock()
	return savedAdapter{d.sizes.sense, d.sizes.cdb, d.missed, append([][eventSize]byte{}, d.events...)}
}

func (d *Device) load(s *savedAdapter) error {
	switch {
	case s.SenseSize > maxSenseSize || s.CDBSize > maxCDBSize:
		return fmt.Errorf("sense data of %d bytes and commands of %d", s.SenseSize, s.CDBSize)
	case len(s.Events) > maxEvents:
		return fmt.Errorf("%d events", len(s.Events))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sizes = sizes{s.SenseSize, s.CDBSize}
	d.missed, d.events = s.Missed, append(d.events[:0], s.Events...)
	return nil
}
