package machine

import "testing"

// Only a guest that has LINT1 deliver NMIs gets one from the NMI button.
func TestLINT1DeliversNMI(t *testing.T) {
	for lvt, want := range map[uint32]bool{
		0x10000: false, // after a reset
		0x10400: false, // an NMI, masked
		0x00400: true,  // what firmware and Linux set on the boot processor
		0x00700: false, // an interrupt of the legacy controller
		0x00002: false, // a fixed vector
	} {
		if got := deliversNMI(lvt); got != want {
			t.Errorf("LVT %#x delivers an NMI: %v", lvt, got)
		}
	}
}
