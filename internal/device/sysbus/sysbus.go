// Package sysbus is for devices that plug into no bus: their board gives them
// fixed addresses.
package sysbus

import (
	"govmd/internal/device"
	"govmd/internal/memory"
)

// MapIO maps a device's ports at a fixed address until the device goes.
func MapIO(d device.Device, port uint16, r *memory.Region) error {
	return d.Dev().Map(d.Dev().Env().IO.Root(), uint64(port), r)
}

// MapMem maps a device's memory at a fixed guest-physical address until the device goes.
func MapMem(d device.Device, addr uint64, r *memory.Region) error {
	return d.Dev().Map(d.Dev().Env().Mem.Root(), addr, r)
}
