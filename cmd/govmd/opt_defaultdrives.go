package main

import (
	"context"
	"slices"

	"govmd/internal/block"
)

// replacesCD are the devices with which a user has thought of disks: then there is no
// CD-ROM drive unasked.
var replacesCD = []string{"ide-cd", "ide-hd", "scsi-cd", "scsi-hd"}

// replacesFloppy are those with which a user has thought of floppies.
var replacesFloppy = []string{"isa-fdc", "floppy"}

// defaultDrives makes the drives that a PC has unless told otherwise: an empty
// CD-ROM drive and an empty floppy drive.
func (v *vm) defaultDrives(g *block.Graph) error {
	s := v.setup
	if s.noDefaults || v.cfg.Board.Info().Alias != "pc" {
		return nil
	}
	if !s.hasDevice(replacesCD...) {
		d := newDrive("ide", "cdrom")
		d.set.ReadOnly = true
		if err := v.defaultDrive(g, d, 2); err != nil {
			return err
		}
	}
	if !s.hasDevice(replacesFloppy...) {
		return v.defaultDrive(g, newDrive("floppy", "disk"), 0)
	}
	return nil
}

// defaultDrive makes an empty drive, of that index, unless there is one in its place.
func (v *vm) defaultDrive(g *block.Graph, d *driveOptions, index int) error {
	d.index = index
	if bus, unit := placeOf(d.Interface, index); g.LegacyDrive(d.Interface, bus, unit) != nil {
		return nil
	}
	if err := d.place(g); err != nil {
		return err
	}
	return d.open(context.Background(), v, g)
}

// hasDevice reports whether -device names one of the given types.
func (s *setup) hasDevice(types ...string) bool {
	for _, d := range s.cfg.Devices {
		if slices.Contains(types, d.Driver) {
			return true
		}
	}
	return false
}
