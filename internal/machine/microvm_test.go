package machine

import (
	"testing"

	"govmd/internal/object"
)

// Devices on virtio-mmio are named on the command line where that is asked for.
func TestMicrovmCommandLine(t *testing.T) {
	const devices = "virtio_mmio.device=512@0xfeb00000:16 virtio_mmio.device=512@0xfeb00200:17"
	v := hostileBoard(t, "microvm").Board.(*Microvm) // it has two
	for _, c := range []struct {
		auto          object.OnOffAuto
		cmdline, want string
	}{
		{object.Auto, "console=ttyS0", "console=ttyS0"}, // ACPI names them
		{object.Off, "console=ttyS0", "console=ttyS0"},
		{object.On, "console=ttyS0", "console=ttyS0 " + devices},
		{object.On, "", devices},
	} {
		v.autoCmdline, v.cmdline = c.auto, c.cmdline
		if got := v.kernelCmdline(); got != c.want {
			t.Errorf("auto-kernel-cmdline=%s: %q, want %q", c.auto, got, c.want)
		}
	}
}
