// Package sysbus is for devices that plug into no bus: their board gives them
// fixed addresses.
package sysbus

import (
	"fmt"

	"govmd/internal/device"
	"govmd/internal/memory"
)

// MapIO maps a device's ports at a fixed address until the device goes.
func MapIO(d device.Device, port uint16, r *memory.Region) error {
	return mapFixed(d, d.Dev().Env().IO.Root(), uint64(port), r)
}

// MapMem maps a device's memory at a fixed guest-physical address until the device goes.
func MapMem(d device.Device, addr uint64, r *memory.Region) error {
	return mapFixed(d, d.Dev().Env().Mem.Root(), addr, r)
}

func mapFixed(d device.Device, in *memory.Region, addr uint64, r *memory.Region) error {
	if err := in.Add(addr, r); err != nil {
		return fmt.Errorf("%s: %w", d.Dev().Describe(), err)
	}
	d.Dev().Defer(func() {
		in.Remove(r)
		r.Quiesce()
	})
	return nil
}
