package i8257

import (
	"fmt"

	"govmd/internal/state"
)

type saved struct {
	Controllers []savedChip `cbor:"controllers"`
	Pages       []byte      `cbor:"pages"`
}

type savedChip struct {
	Command  uint8          `cbor:"command"`
	Done     uint8          `cbor:"done"`
	Mask     uint8          `cbor:"mask"`
	Soft     uint8          `cbor:"soft"`
	Lines    uint8          `cbor:"lines"`
	High     bool           `cbor:"high"`
	Channels []savedChannel `cbor:"channels"`
}

type savedChannel struct {
	Mode      uint8  `cbor:"mode"`
	BaseAddr  uint16 `cbor:"base-addr"`
	BaseCount uint16 `cbor:"base-count"`
	Addr      uint16 `cbor:"addr"`
	Count     uint16 `cbor:"count"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry { return []state.Entry{state.Of("", 1, d.save, d.load)} }

func (d *Device) save() saved {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := saved{Pages: append([]byte{}, d.pages[:]...)}
	for i := range d.chips {
		k := &d.chips[i]
		c := savedChip{Command: k.command, Done: k.done, Mask: k.mask, Soft: k.soft, Lines: k.lines, High: k.high}
		for _, r := range k.registers {
			c.Channels = append(c.Channels, savedChannel{r.mode, r.baseAddr, r.baseCount, r.addr, r.count})
		}
		s.Controllers = append(s.Controllers, c)
	}
	return s
}

func (d *Device) load(s *saved) error {
	if len(s.Controllers) != controllers || len(s.Pages) != pages {
		return fmt.Errorf("%d controllers and %d pages, not %d and %d", len(s.Controllers), len(s.Pages), controllers, pages)
	}
	for i, c := range s.Controllers {
		if len(c.Channels) != perChip {
			return fmt.Errorf("controller %d has %d channels, not %d", i, len(c.Channels), perChip)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.pages[:], s.Pages)
	for i, c := range s.Controllers {
		k := &d.chips[i]
		k.command, k.high = c.Command, c.High
		k.done, k.mask = c.Done&allChannels, c.Mask&allChannels
		k.soft, k.lines = c.Soft&allChannels, c.Lines&allChannels
		for j, r := range c.Channels {
			k.registers[j] = registers{r.Mode &^ modeChannel, r.BaseAddr, r.BaseCount, r.Addr, r.Count}
		}
	}
	return nil
}
