package machine

import (
	"strings"
	"testing"

	"govmd/internal/object"
)

// What a board cannot do is refused, as text and typed; that it shall not do it
// is taken.
func TestNever(t *testing.T) {
	for _, c := range []struct {
		board, prop string
		typed       any
		text        string
	}{
		{"pc", "usb", true, "on"}, {"pc", "smm", true, "on"}, {"pc", "vmport", "on", "on"},
		{"pc", "pit", false, "off"}, {"pc", "pic", false, "off"},
		{"microvm", "acpi", "off", "off"}, {"microvm", "pcie", "on", "on"}, {"microvm", "ioapic2", "on", "on"},
	} {
		b, err := NewBoard(c.board)
		if err != nil {
			t.Fatal(err)
		}
		want := c.prop + "=" + c.text + " is not supported: "
		if err := object.Set(b, c.prop, c.typed); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s %s=%v: %v", c.board, c.prop, c.typed, err)
		}
		if err := object.SetText(b, c.prop, c.text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s %s=%s: %v", c.board, c.prop, c.text, err)
		}
		other := map[string]string{"on": "off", "off": "on"}[c.text]
		if err := object.SetText(b, c.prop, other); err != nil {
			t.Errorf("%s %s=%s: %v", c.board, c.prop, other, err)
		}
	}
}
