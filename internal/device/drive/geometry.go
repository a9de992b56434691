package drive

import (
	"errors"
	"strconv"

	"govmd/internal/object"
)

// Geometry is what old guests want to know of a disk: cylinders, heads and sectors.
type Geometry struct {
	Cylinders, Heads, Sectors uint32 // all 0 until Guess
}

// GeometryProps are the properties of a disk whose Geometry get returns.
func GeometryProps[T object.Object](get func(T) *Geometry) []object.Property {
	return []object.Property{
		object.Int("cyls", func(d T) *uint32 { return &get(d).Cylinders }, 0, ""),
		object.Int("heads", func(d T) *uint32 { return &get(d).Heads }, 0, ""),
		object.Int("secs", func(d T) *uint32 { return &get(d).Sectors }, 0, ""),
	}
}

// standard is the geometry of a disk of so many sectors of 512 bytes of which
// nothing else is known: 16 heads and 63 sectors a track.
func standard(sectors int64) Geometry {
	return Geometry{Cylinders: uint32(min(max(sectors/(16*63), 2), maxCylinders)), Heads: 16, Sectors: 63}
}

// Complete checks what is configured against limits, and makes up what is not: a
// disk of so many sectors of 512 bytes.
func (g *Geometry) Complete(sectors int64, limits Geometry) error {
	if *g == (Geometry{}) {
		*g = standard(sectors)
	}
	switch {
	case g.Cylinders < 1 || g.Cylinders > limits.Cylinders:
		return errors.New("cyls must be between 1 and " + strconv.Itoa(int(limits.Cylinders)))
	case g.Heads < 1 || g.Heads > limits.Heads:
		return errors.New("heads must be between 1 and " + strconv.Itoa(int(limits.Heads)))
	case g.Sectors < 1 || g.Sectors > limits.Sectors:
		return errors.New("secs must be between 1 and " + strconv.Itoa(int(limits.Sectors)))
	}
	return nil
}
