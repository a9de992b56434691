package blk

import "govmd/internal/state"

// savedDisk is the disk's state. Requests that are under way or parked are in that of
// their queues.
type savedDisk struct {
	Cache bool `cbor:"write-cache"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	e := state.Of("disk", 1, func() savedDisk { return savedDisk{d.backend.WriteCache()} }, func(s *savedDisk) error {
		d.loaded = s.Cache
		return nil
	})
	// Loading the queues is a reset, too, which would undo it.
	e.PostLoad = func() error {
		d.backend.SetWriteCache(d.loaded)
		return nil
	}
	return append(d.Core.States(), e)
}
