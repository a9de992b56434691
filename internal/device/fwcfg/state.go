package fwcfg

import (
	"fmt"

	"govmd/internal/state"
)

type saved struct {
	Selected uint16      `cbor:"selected"`
	Offset   uint32      `cbor:"offset"`
	DMAAddr  uint64      `cbor:"dma-addr"`
	Files    []savedFile `cbor:"files"` // those whose contents do not follow from the options
}

type savedFile struct {
	Name string `cbor:"name"`
	Data []byte `cbor:"data"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	return []state.Entry{state.Of("", 1, d.save, d.load)}
}

func (d *Device) save() saved {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := saved{Selected: d.selected, Offset: uint32(d.offset), DMAAddr: d.dmaAddr, Files: []savedFile{}}
	for _, f := range d.files {
		if f.written != nil || f.built {
			s.Files = append(s.Files, savedFile{f.name, append([]byte{}, f.data...)})
		}
	}
	return s
}

func (d *Device) load(s *saved) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		f.built = false
	}
	for _, sf := range s.Files {
		if err := d.loadFile(sf); err != nil {
			return err
		}
	}
	d.selectKey(s.Selected)
	d.offset = 0
	if d.current != nil {
		d.offset = min(int(s.Offset), len(d.current.data))
	}
	d.dmaAddr = s.DMAAddr
	return nil
}

func (d *Device) loadFile(sf savedFile) error {
	for _, f := range d.files {
		switch {
		case f.name != sf.Name:
			continue
		case f.written != nil:
			// The owner keeps the slice that it gave: its length stands.
			if len(sf.Data) != len(f.data) {
				return fmt.Errorf("fw_cfg file %s has %d bytes here, %d in the saved state", f.name, len(f.data), len(sf.Data))
			}
			copy(f.data, sf.Data)
			return nil
		case f.build != nil:
			f.data, f.size, f.built = sf.Data, len(sf.Data), true
			return nil
		}
	}
	return fmt.Errorf("no fw_cfg file %s to load into", sf.Name)
}
