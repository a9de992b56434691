package vhdx

import "govmd/internal/block"

const (
	logSector = 4096
	// maxLog is the longest log that is examined.
	maxLog = 256 * mib
)

// needsReplay reports whether the log has changes that the file may lack: a valid
// entry that belongs to what the header says is under way.
func (l *layout) needsReplay(file *block.Child) (bool, error) {
	if l.logGUID == (guid{}) || l.log.n == 0 {
		return false, nil
	}
	if l.log.n > maxLog {
		return true, nil
	}
	b := block.GetBuffer(mib)
	defer b.Release()
	for off := int64(0); off < l.log.n; off += mib {
		if err := file.Pread(l.log.off+off, b.B); err != nil {
			return false, block.Unreadable(file, "cannot read the VHDX log", err)
		}
		for at := int64(0); at < mib; at += logSector {
			found, err := l.validEntry(file, off+at, b.B[at:at+logSector])
			if found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// validEntry reports whether an entry of the log, which begins with head, begins at
// off of it.
func (l *layout) validEntry(file *block.Child, off int64, head []byte) (bool, error) {
	n := int64(le.Uint32(head[8:]))
	if string(head[:4]) != "loge" || guid(head[32:48]) != l.logGUID || n == 0 || n%logSector != 0 || n > l.log.n {
		return false, nil
	}
	// The log is a ring.
	p := make([]byte, n)
	first := min(n, l.log.n-off)
	err := file.Pread(l.log.off+off, p[:first])
	if err == nil {
		err = file.Pread(l.log.off, p[first:])
	}
	if err != nil {
		return false, block.Unreadable(file, "cannot read the VHDX log", err)
	}
	return valid(p, "loge"), nil
}
