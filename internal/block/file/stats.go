package file

import "sync/atomic"

// Stats is BlockStatsSpecific of a file: what has become of discards.
type Stats struct {
	Driver   string `qmp:"driver"`
	NbOK     uint64 `qmp:"discard-nb-ok"`
	NbFailed uint64 `qmp:"discard-nb-failed"`
	BytesOK  uint64 `qmp:"discard-bytes-ok"`
}

// discards counts discards.
type discards struct{ ok, failed, bytes atomic.Uint64 }

// add counts one of n bytes.
func (d *discards) add(n int64, err error) {
	if err != nil {
		d.failed.Add(1)
		return
	}
	d.ok.Add(1)
	d.bytes.Add(uint64(n))
}

// statistics returns what query-blockstats says of the file; a CD-ROM's is nothing.
func (f *file) statistics() any {
	if f.node.DriverName() == "host_cdrom" {
		return nil
	}
	d := &f.discards
	return &Stats{f.node.DriverName(), d.ok.Load(), d.failed.Load(), d.bytes.Load()}
}

// Pdiscard implements block.Discarder.
func (f *file) Pdiscard(off, n int64) error {
	err := f.discard(off, n)
	f.discards.add(n, err)
	return err
}
