package acpi

// File is a fw_cfg file.
type File struct {
	Name string
	Data []byte
}

// The names of the fw_cfg files from which firmware sets the tables up.
const (
	TablesFile = "etc/acpi/tables"
	RSDPFile   = "etc/acpi/rsdp"
	LoaderFile = "etc/table-loader"
)

// The commands of the table loader: entries of 128 bytes, executed in order.
// Each begins with its number, then come file names of 56 bytes and numbers,
// packed and little-endian.
const (
	loaderEntry = 128
	loaderName  = 56

	cmdAllocate    = 1 // name, alignment (4), zone (1)
	cmdAddPointer  = 2 // name, name of the target, offset (4), size (1)
	cmdAddChecksum = 3 // name, offset (4), start (4), length (4)

	zoneHigh = 1 // anywhere below 4 GiB
	zoneFSeg = 2 // 0xf0000-0xfffff
)

// LoaderFiles returns the fw_cfg files for a machine that starts firmware: the
// tables, the root pointer, and the commands by which SeaBIOS or OVMF places
// them in memory, adds its addresses to their pointers, and sums them up.
func (t *Tables) LoaderFiles() []File {
	tables := append([]byte(nil), t.blob...)
	rsdp := append([]byte(nil), t.rsdp...)

	var script []byte
	add := func(command uint32, name string, rest func(b []byte)) {
		e := make([]byte, loaderEntry)
		le.PutUint32(e, command)
		copy(e[4:4+loaderName-1], name)
		rest(e[4+loaderName:])
		script = append(script, e...)
	}
	file := func(inRSDP bool) (string, []byte) {
		if inRSDP {
			return RSDPFile, rsdp
		}
		return TablesFile, tables
	}

	add(cmdAllocate, TablesFile, func(b []byte) {
		le.PutUint32(b, facsAlign)
		b[4] = zoneHigh
	})
	add(cmdAllocate, RSDPFile, func(b []byte) {
		le.PutUint32(b, 16)
		b[4] = zoneFSeg
	})
	for _, l := range t.links {
		name, data := file(l.inRSDP)
		// What the loader adds the base of the target file to.
		le.PutUint32(data[l.at:], uint32(l.target))
		add(cmdAddPointer, name, func(b []byte) {
			copy(b[:loaderName-1], TablesFile)
			le.PutUint32(b[loaderName:], uint32(l.at))
			b[loaderName+4] = byte(l.size)
		})
	}
	for _, s := range t.sums {
		name, _ := file(s.inRSDP)
		add(cmdAddChecksum, name, func(b []byte) {
			le.PutUint32(b, uint32(s.at))
			le.PutUint32(b[4:], uint32(s.start))
			le.PutUint32(b[8:], uint32(s.length))
		})
	}
	return []File{{TablesFile, tables}, {RSDPFile, rsdp}, {LoaderFile, script}}
}
