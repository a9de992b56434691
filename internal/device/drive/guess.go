package drive

import (
	"encoding/binary"

	"govmd/internal/block"
	"govmd/internal/object"
)

// Translation is how firmware makes a geometry small enough for its own interface.
type Translation string

// The translations.
const (
	TransAuto  Translation = "auto"
	TransNone  Translation = "none"
	TransLBA   Translation = "lba"
	TransLarge Translation = "large"
	TransRECHS Translation = "rechs"
)

// TranslationProp is property bios-chs-trans.
func TranslationProp[T object.Object](get func(T) *Translation) object.Property {
	return object.Enum("bios-chs-trans", "BiosAtaTranslation",
		[]Translation{TransAuto, TransNone, TransLBA, TransLarge, TransRECHS}, get, TransAuto,
		"Logical CHS translation algorithm, auto/none/lba/large/rechs")
}

// Limits of drives' own interface.
const (
	maxHeads     = 16
	maxCylinders = 16383
)

// Guess fills in a geometry that is not given at all: that of the disk's partition
// table, if a drive can have it, or as many cylinders of 16 heads with 63 sectors
// as there are. It returns the translation that firmware should use unless trans
// says. It reads the disk when it has to, and runs on the lane.
func (g *Geometry) Guess(q *block.Queue, size int64, trans Translation) Translation {
	auto := TransNone
	if *g != (Geometry{}) {
		if g.Cylinders > 1024 {
			auto = TransLBA
		}
	} else {
		auto = g.guess(q, size)
	}
	if trans == TransAuto || trans == "" {
		return auto
	}
	return trans
}

func (g *Geometry) guess(q *block.Queue, size int64) Translation {
	table := fromPartitions(q, size)
	switch *g = standard(size / 512); {
	case table.Cylinders == 0: // no table
		if g.Cylinders > 1024 {
			return TransLBA
		}
	case table.Heads <= maxHeads:
		*g = table
	case g.Cylinders*g.Heads <= 131072: // the table is in terms of a geometry that was translated
		return TransLarge
	default:
		return TransLBA
	}
	return TransNone
}

// fromPartitions takes the geometry from the ends of the partitions, which are on
// cylinder boundaries; there are no cylinders when none is to be found.
func fromPartitions(q *block.Queue, size int64) Geometry {
	var mbr [512]byte
	if size < int64(len(mbr)) || q.Do(block.OpRead, 0, 0, block.VecOf(mbr[:]), 0) != nil {
		return Geometry{}
	}
	if mbr[510] != 0x55 || mbr[511] != 0xaa {
		return Geometry{}
	}
	for p := mbr[0x1be:0x1fe]; len(p) > 0; p = p[16:] {
		length, lastHead, lastSector := binary.LittleEndian.Uint32(p[12:]), uint32(p[5]), uint32(p[6]&63)
		if length == 0 || lastHead == 0 || lastSector == 0 {
			continue
		}
		heads := lastHead + 1
		if n := size / 512 / int64(heads*lastSector); n >= 1 && n <= maxCylinders {
			return Geometry{uint32(n), heads, lastSector}
		}
	}
	return Geometry{}
}
