package block

import "govmd/internal/qmp"

// Measured is how large an image will be.
type Measured struct {
	Required       int64 // bytes that the file has at first
	FullyAllocated int64 // bytes that it can come to have
	Bitmaps        int64 // bytes that the bitmaps of the source would add, -1: it cannot have any
}

// MeasureImage returns how large a new image would be. format and keys are as in
// CreateImage; it shows what src does, or size bytes if that is nil.
func MeasureImage(format string, keys *qmp.Object, mode qmp.Mode, size int64, src *Node) (Measured, error) {
	t := types[format]
	switch {
	case t == nil:
		return Measured{}, UnknownDriver(format)
	case t.Create == nil && !t.PlainFile:
		return Measured{}, Errorf(KindUnsupported, "Format driver '%s' does not support image creation", format)
	case t.Measure == nil && !t.PlainFile:
		return Measured{}, Errorf(KindUnsupported, "Block driver '%s' does not support size measurement", format)
	}
	for _, m := range keys.Members() {
		if !t.TakesKey(m.Name) {
			return Measured{}, Errorf(KindInvalid, "Invalid parameter '%s'", m.Name)
		}
	}
	if src != nil {
		size = src.Length()
	}
	if t.PlainFile {
		size = (size + 511) &^ 511
		return Measured{Required: size, FullyAllocated: size, Bitmaps: -1}, nil
	}
	branch, err := t.decodeKeys(keys, mode)
	if err != nil {
		return Measured{}, err
	}
	return t.Measure(branch, size, src)
}
