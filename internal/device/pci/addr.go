package pci

import (
	"fmt"
	"strconv"
	"strings"

	"govmd/internal/device"
	"govmd/internal/object"
)

const (
	slots     = 32
	functions = 8
)

// ParseAddr reads a slot with optional function number, "06.0" or "6", both
// hexadecimal, and returns slot<<3 | function.
func ParseAddr(s string) (devfn int, ok bool) {
	slotText, fnText, hasFn := strings.Cut(s, ".")
	slot, err := strconv.ParseUint(slotText, 16, 8)
	if err != nil || slot >= slots {
		return 0, false
	}
	fn := uint64(0)
	if hasFn {
		if fn, err = strconv.ParseUint(fnText, 16, 8); err != nil || fn >= functions {
			return 0, false
		}
	}
	return int(slot<<3 | fn), true
}

// DeviceAddress implements device.Addresser: slot and function.
func (b *Bus) DeviceAddress(d device.Device) string {
	f := d.(Function).PCI()
	return fmt.Sprintf("%02x.%x", f.Slot(), f.Fn())
}

// addrProperty takes text as ParseAddr does, or the number -1 to 255.
func addrProperty() object.Property {
	p := object.Int("addr", func(f Function) *int32 { return &f.PCI().devfn }, -1,
		"Slot and optional function number, example: 06.0 or 06")
	setInt := p.Set
	p.Parse = func(s string) (any, error) { return s, nil }
	p.Set = func(o object.Object, v any) error {
		bad := func(what any) error {
			return fmt.Errorf("Property '%s.addr' doesn't take value '%v'", o.Obj().TypeName(), what)
		}
		if s, isText := v.(string); isText {
			devfn, ok := ParseAddr(s)
			if !ok {
				return bad(s)
			}
			v = int64(devfn)
		}
		if n, isInt := v.(int64); isInt && (n < -1 || n >= slots*functions) {
			return bad(n)
		}
		return setInt(o, v)
	}
	return p
}
