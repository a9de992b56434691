package boot

import (
	"testing"

	"govmd/internal/machine/acpi"
)

func TestChipSetup(t *testing.T) {
	config, ports := ChipSetup(acpi.DefaultPM, []PCIFunction{{1, 0, 0}, {1, 1, 1}, {1, 3, 1}, {2, 0, 0}, {3, 0, 1}, {4, 0, 2}})
	got := map[[3]uint8]uint32{}
	for _, c := range config {
		key := [3]uint8{c.Slot, c.Func, c.Offset}
		if _, twice := got[key]; twice {
			t.Errorf("%v written twice", key)
		}
		if int(c.Offset)%c.Size != 0 || c.Bus != 0 {
			t.Errorf("write %+v", c)
		}
		got[key] = c.Value
	}
	for key, want := range map[[3]uint8]uint32{
		{0, 0, 0x59}: 0x30, {0, 0, 0x5a}: 0x33, {0, 0, 0x5d}: 0x33, {0, 0, 0x5e}: 0x33, {0, 0, 0x5f}: 0x33,
		{1, 0, 0x60}: 10, {1, 0, 0x61}: 10, {1, 0, 0x62}: 11, {1, 0, 0x63}: 11,
		{1, 1, 0x3c}: 10, {1, 1, 0x40}: 0x8000, {1, 3, 0x3c}: 9, {1, 3, 0x40}: 0x601, {1, 3, 0x80}: 1, {1, 3, 0x90}: 0x701,
		{3, 0, 0x3c}: 11, {4, 0, 0x3c}: 10,
	} {
		if got[key] != want {
			t.Errorf("%v: %#x, want %#x", key, got[key], want)
		}
	}
	if _, written := got[[3]uint8{2, 0, 0x3c}]; written {
		t.Error("interrupt line of a function without a pin written")
	}
	if len(ports) != 2 || ports[0] != (PortWrite{0x4d0, 0}) || ports[1] != (PortWrite{0x4d1, 0x0c}) {
		t.Errorf("trigger modes %v", ports)
	}
}

// What the chip set is set up for is what the ACPI tables say of a slot.
func TestInterruptLine(t *testing.T) {
	for _, tt := range []struct{ slot, pin, want uint8 }{{1, 1, 10}, {2, 1, 10}, {3, 1, 11}, {4, 1, 11}, {5, 1, 10}, {3, 4, 10}, {3, 0, 0}, {3, 5, 0}} {
		if got := InterruptLine(tt.slot, tt.pin); got != tt.want {
			t.Errorf("slot %d, pin %d: %d, want %d", tt.slot, tt.pin, got, tt.want)
		}
	}
}
