package fwcfg

import (
	"encoding/binary"
	"fmt"
	"math"
)

// item is what a key selects.
type item struct {
	name    string // of a file, else ""
	data    []byte
	build   func() []byte // makes data when it is first needed after a reset
	built   bool          // data is what build made
	size    int           // of what build makes, once known
	written func(off, n int)
}

// nameMax is the longest name that fits the directory, without its final NUL.
const nameMax = 55

// Add sets the item of a well-known key. The data is the device's from then on.
// Items and files are added before the machine runs.
func (d *Device) Add(key uint16, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keyed[key] = &item{data: data}
}

// AddString sets an item to s and a final NUL.
func (d *Device) AddString(key uint16, s string) { d.Add(key, append([]byte(s), 0)) }

// AddUint16 sets an item to a little-endian number.
func (d *Device) AddUint16(key uint16, v uint16) {
	d.Add(key, binary.LittleEndian.AppendUint16(nil, v))
}

// AddUint32 sets an item to a little-endian number.
func (d *Device) AddUint32(key uint16, v uint32) {
	d.Add(key, binary.LittleEndian.AppendUint32(nil, v))
}

// AddUint64 sets an item to a little-endian number.
func (d *Device) AddUint64(key uint16, v uint64) {
	d.Add(key, binary.LittleEndian.AppendUint64(nil, v))
}

// AddFile adds a file that the guest can read. The data is the device's from
// then on. Files keep the order in which they are added.
func (d *Device) AddFile(name string, data []byte) error {
	return d.addFile(&item{name: name, data: data})
}

// AddWritableFile adds a file that the guest can also write by DMA, within its
// length. written, when not nil, is called after each write, on the vCPU's
// thread with the device locked; the bytes written are data[off:off+n].
func (d *Device) AddWritableFile(name string, data []byte, written func(off, n int)) error {
	if written == nil {
		written = func(int, int) {}
	}
	return d.addFile(&item{name: name, data: data, written: written})
}

// AddBuiltFile adds a file whose contents build makes when the guest first
// selects it after a reset, on the vCPU's thread with the device locked. When
// the guest reads the directory before, build is called for the size: it must
// return the same length each time.
func (d *Device) AddBuiltFile(name string, build func() []byte) error {
	return d.addFile(&item{name: name, build: build, size: -1})
}

// SetFile changes the contents of a file that AddFile added, or adds it.
func (d *Device) SetFile(name string, data []byte) error {
	d.mu.Lock()
	for _, f := range d.files {
		if f.name == name {
			f.data = data
			d.mu.Unlock()
			return nil
		}
	}
	d.mu.Unlock()
	return d.AddFile(name, data)
}

// FileSize returns the size of the file of that name, 0 for one that has not been built
// yet; ok is false where there is none.
func (d *Device) FileSize(name string) (size int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		if f.name == name {
			return len(f.data), true
		}
	}
	return 0, false
}

// UserWarning returns what to tell a user who adds a file of that name, or "".
func UserWarning(name string) string {
	if len(name) >= 4 && name[:4] == "opt/" {
		return ""
	}
	return `externally provided fw_cfg item names should be prefixed with "opt/"`
}

func (d *Device) addFile(f *item) error {
	switch {
	case f.name == "":
		return fmt.Errorf("fw_cfg: a file needs a name")
	case len(f.name) > nameMax:
		return fmt.Errorf("name too long (max. %d char)", nameMax)
	case uint64(len(f.data)) > math.MaxUint32:
		return fmt.Errorf("fw_cfg file %s: %d bytes are more than the 4 GiB that fit", f.name, len(f.data))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.files {
		if o.name == f.name {
			return fmt.Errorf("duplicate fw_cfg file name: %s", f.name)
		}
	}
	if len(d.files) >= int(d.slots) {
		return fmt.Errorf("fw_cfg: no slot for file %s: all %d are taken (see fw_cfg's property x-file-slots)", f.name, d.slots)
	}
	d.files = append(d.files, f)
	return nil
}

// lookup returns the item of a key, or nil.
func (d *Device) lookup(key uint16) *item {
	key &^= keyWriteChannel
	if key&keyArchLocal == 0 {
		if i := int(key) - keyFileFirst; i >= 0 && i < len(d.files) {
			return d.files[i]
		}
	}
	return d.keyed[key]
}

// prepare makes an item's data if it is to be built.
func (f *item) prepare() {
	if f.build == nil || f.built {
		return
	}
	f.data = f.build()
	if f.size < 0 {
		f.size = len(f.data)
	}
	for len(f.data) < f.size { // the directory has told its length
		f.data = append(f.data, 0)
	}
	f.data = f.data[:f.size]
	f.built = true
}

const (
	dirHeader = 4
	dirEntry  = 64
)

// directory makes the list of files: a count and, for each, size, key, two
// reserved bytes and the name, all big-endian.
func (d *Device) directory() []byte {
	n := dirHeader + dirEntry*len(d.files)
	if cap(d.dir.data) < n {
		d.dir.data = make([]byte, n)
	}
	p := d.dir.data[:n]
	clear(p)
	binary.BigEndian.PutUint32(p, uint32(len(d.files)))
	for i, f := range d.files {
		size := len(f.data)
		if f.build != nil {
			if f.size < 0 {
				f.size = len(f.build())
			}
			size = f.size
		}
		e := p[dirHeader+dirEntry*i:]
		binary.BigEndian.PutUint32(e, uint32(size))
		binary.BigEndian.PutUint16(e[4:], uint16(keyFileFirst+i))
		copy(e[8:8+nameMax], f.name)
	}
	return p
}
