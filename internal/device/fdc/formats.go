package fdc

const sectorSize = 512

// format is how a floppy is laid out, and the kind of drive that it is for.
type format struct {
	drive                 DriveType
	cylinders, heads, spt uint8 // sectors per track
	rate                  uint8 // as in the register: 0: 500, 1: 300, 2: 250, 3: 1000 kbit/s
}

func (f *format) sectors() int64 {
	return int64(f.cylinders) * int64(f.heads) * int64(f.spt)
}

// formats are those that PCs have used. The first of a size, and of a drive, is
// the usual one.
var formats = []format{
	{Drive144, 80, 2, 18, 0}, {Drive144, 80, 2, 20, 0}, {Drive144, 80, 2, 21, 0}, {Drive144, 82, 2, 21, 0},
	{Drive144, 83, 2, 21, 0}, {Drive144, 80, 2, 22, 0}, {Drive144, 80, 2, 23, 0}, {Drive144, 80, 2, 24, 0},
	{Drive288, 80, 2, 36, 3}, {Drive288, 80, 2, 39, 3}, {Drive288, 80, 2, 40, 3}, {Drive288, 80, 2, 44, 3}, {Drive288, 80, 2, 48, 3},
	{Drive144, 80, 2, 9, 2}, {Drive144, 80, 2, 10, 2}, {Drive144, 82, 2, 10, 2}, {Drive144, 83, 2, 10, 2},
	{Drive144, 80, 2, 13, 2}, {Drive144, 80, 2, 14, 2},
	{Drive120, 80, 2, 15, 0}, {Drive120, 80, 2, 18, 0}, {Drive120, 82, 2, 18, 0}, {Drive120, 83, 2, 18, 0}, {Drive120, 80, 2, 20, 0},
	{Drive120, 80, 2, 9, 1}, {Drive120, 80, 2, 11, 1},
	{Drive120, 40, 2, 9, 1}, {Drive120, 40, 1, 9, 1}, {Drive120, 41, 2, 10, 1}, {Drive120, 42, 2, 10, 1},
	{Drive120, 40, 2, 8, 1}, {Drive120, 40, 1, 8, 1},
	{Drive144, 40, 2, 9, 2}, {Drive144, 40, 1, 9, 2},
}

// find returns the format of an image in a drive: that of its size for the drive,
// or else the drive's usual one, of which the image then is a part.
func find(size int64, kind DriveType) format {
	sectors := (size + sectorSize - 1) / sectorSize
	var usual *format
	for i := range formats {
		f := &formats[i]
		if kind != DriveAuto && f.drive != kind && !(kind == Drive288 && f.drive == Drive144) {
			continue
		}
		if f.sectors() == sectors {
			return *f
		}
		if usual == nil && (kind == DriveAuto || f.drive == kind) {
			usual = f
		}
	}
	return *usual
}

// DriveType is what floppies a drive takes.
type DriveType string

// The kinds of drives.
const (
	Drive144  DriveType = "144"
	Drive288  DriveType = "288"
	Drive120  DriveType = "120"
	DriveNone DriveType = "none"
	DriveAuto DriveType = "auto"
)

var driveTypes = []DriveType{Drive144, Drive288, Drive120, DriveNone, DriveAuto}

// CMOS is how the clock's memory tells firmware of a drive.
func (t DriveType) CMOS() uint8 {
	switch t {
	case Drive120:
		return 2
	case Drive144:
		return 4
	case Drive288:
		return 5
	}
	return 0
}
