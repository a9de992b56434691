package scsi

import (
	"govmd/internal/device/drive"
	"govmd/internal/device/scsi/mmc"
	"govmd/internal/device/scsi/sense"
)

// medium is what the drive of a disk calls.
type medium struct{ u *Unit }

// BlockDeviceName implements block.Device.
func (m medium) BlockDeviceName() string { return drive.Name(m.u) }

// MediumChanged implements block.Device: the medium stays as long as the disk.
func (m medium) MediumChanged(bool) {}

// MediumResized implements block.Device.
func (m medium) MediumResized() {
	u := m.u
	if u.cd || !u.Realized() {
		return
	}
	u.attention(sense.CapacityChanged)
	u.bus.host.UnitChanged(u.at, sense.CapacityChanged)
}

// tray is what the drive of a unit with a removable medium calls.
type tray struct{ medium }

// MediumChanged implements block.Device. What is in a tray that is open the guest
// learns when that closes.
func (t tray) MediumChanged(present bool) {
	u := t.u
	protected := false
	if !u.cd {
		protected = !u.conf.Reclaim(u.backend, u.needs())
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.protected = protected
	if !u.open {
		u.mediumMoved(present)
	}
}

// mediumMoved has the guest told that a medium is there, or is not. mu is held.
func (u *Unit) mediumMoved(present bool) {
	if u.pending != sense.PowerOn {
		u.pending = sense.MediumGone
		u.newMedium = present
	}
	u.news = present
	u.ejectRequest = false
}

// MoveTray implements block.TrayDevice.
func (t tray) MoveTray(open bool) {
	u := t.u
	u.mu.Lock()
	moved := u.open != open
	u.open = open
	u.mediumMoved(!open && u.backend.Inserted())
	u.mu.Unlock()
	if moved {
		u.backend.PublishTray(open)
	}
}

// TrayOpen implements block.TrayDevice.
func (t tray) TrayOpen() bool {
	t.u.mu.Lock()
	defer t.u.mu.Unlock()
	return t.u.open
}

// MediumLocked implements block.TrayDevice.
func (t tray) MediumLocked() bool {
	t.u.mu.Lock()
	defer t.u.mu.Unlock()
	return t.u.locked
}

// EjectRequest implements block.TrayDevice.
func (t tray) EjectRequest(force bool) {
	t.u.mu.Lock()
	defer t.u.mu.Unlock()
	t.u.ejectRequest = true
	if force {
		t.u.locked = false
	}
}

// discDrive is what mmc needs to know. mu is held.
func (u *Unit) discDrive() mmc.Drive {
	return mmc.Drive{
		Blocks: int64(u.blocks()), Inserted: u.backend.Inserted(), Open: u.open, Locked: u.locked,
		NewMedium: u.news, EjectRequest: u.ejectRequest, Interface: mmc.InterfaceSCSI,
	}
}

// startStop moves the tray, if there is one and it is asked to.
func (u *Unit) startStop(r *Request) Result {
	start, load := r.CDB[4]&1 != 0, r.CDB[4]&2 != 0
	if r.CDB[4]>>4 != 0 || !load || !u.cd && !u.removable { // power conditions, and the motor
		return Ended
	}
	if !start && !u.open && u.locked {
		return r.fail(sense.RemovalPrevented)
	}
	if open := !start; u.open != open {
		u.open, u.ejectRequest = open, false
		if start {
			u.news = u.backend.Inserted()
		}
		u.backend.PublishTray(open)
	}
	return Ended
}

// preventRemoval is PREVENT ALLOW MEDIUM REMOVAL.
func (u *Unit) preventRemoval(r *Request) Result {
	u.locked = r.CDB[4]&1 != 0 && (u.cd || u.removable)
	return Ended
}
