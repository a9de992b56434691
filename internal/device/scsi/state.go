package scsi

import (
	"govmd/internal/device/scsi/sense"
	"govmd/internal/state"
)

// savedUnit is a unit's state. Requests that are under way are the adapter's.
type savedUnit struct {
	Pending savedSense `cbor:"unit-attention"`
	Sense   savedSense `cbor:"sense"`
	Medium  bool       `cbor:"medium-after-attention"`
	Open    bool       `cbor:"tray-open"`
	Locked  bool       `cbor:"locked"`
	News    bool       `cbor:"new-medium"`
	Eject   bool       `cbor:"eject-request"`
	Cache   bool       `cbor:"write-cache"`
}

type savedSense struct {
	Key  byte `cbor:"key"`
	ASC  byte `cbor:"asc"`
	ASCQ byte `cbor:"ascq"`
}

// States implements device.Stater.
func (u *Unit) States() []state.Entry { return []state.Entry{state.Of("", 1, u.save, u.load)} }

func (u *Unit) save() savedUnit {
	u.mu.Lock()
	defer u.mu.Unlock()
	return savedUnit{
		savedSense(u.pending), savedSense(u.sense), u.newMedium, u.open, u.locked, u.news, u.ejectRequest, u.backend.WriteCache(),
	}
}

func (u *Unit) load(s *savedUnit) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	code := func(s savedSense) sense.Code {
		s.Key &= 15
		return sense.Code(s)
	}
	u.pending, u.sense = code(s.Pending), code(s.Sense)
	u.newMedium, u.news, u.ejectRequest = s.Medium, s.News, s.Eject
	if u.cd || u.removable {
		u.open, u.locked = s.Open, s.Locked
	}
	u.backend.SetWriteCache(s.Cache)
	return nil
}
