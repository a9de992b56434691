package device

// Reset resets the given devices and all that is plugged into their buses. It
// may be called from any goroutine, a vCPU's included, with no device's lock
// held; devices that are just being plugged or unplugged are left out.
func Reset(roots ...Device) {
	all := make([]Device, 0, 64)
	var collect func(Device)
	collect = func(d Device) {
		if !d.Dev().Realized() {
			return
		}
		// Children first: a bus's controller enters reset after its devices.
		for _, bus := range d.Dev().ChildBuses() {
			for _, c := range bus.Devices() {
				collect(c)
			}
		}
		all = append(all, d)
	}
	for _, d := range roots {
		collect(d)
	}
	for _, d := range all {
		if r, ok := d.(ResetEnterer); ok {
			r.ResetEnter()
		}
	}
	for _, d := range all {
		if r, ok := d.(ResetHolder); ok {
			r.ResetHold()
		}
	}
	for _, d := range all {
		if r, ok := d.(ResetExiter); ok {
			r.ResetExit()
		}
	}
}
