package vmdk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// CreateOptions say what image to make (BlockdevCreateOptionsVmdk).
type CreateOptions struct {
	File         block.Ref    `qmp:"file"`
	Size         qmp.Size     `qmp:"size"`
	Extents      []block.Ref  `qmp:"extents,optional"`
	Subformat    *Subformat   `qmp:"subformat"`
	BackingFile  *string      `qmp:"backing-file"`
	AdapterType  *AdapterType `qmp:"adapter-type"`
	HWVersion    *string      `qmp:"hwversion"`
	ToolsVersion *string      `qmp:"toolsversion"`
	ZeroedGrain  *bool        `qmp:"zeroed-grain"`
}

// Subformat is a type of image.
type Subformat string

// EnumValues implements qmp.Enum.
func (Subformat) EnumValues() []string {
	return []string{"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"}
}

// AdapterType is what a disk is attached to.
type AdapterType string

// EnumValues implements qmp.Enum.
func (AdapterType) EnumValues() []string { return []string{"ide", "buslogic", "lsilogic", "legacyESX"} }

var createKeys = []block.CreateKey{
	{Name: "size", Type: "size", Help: "Virtual disk size"},
	{Name: "adapter_type", Type: "string", Help: "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX"},
	{Name: "backing_file", Type: "string", Help: "File name of a base image"},
	{Name: "backing_fmt", Type: "string", Help: "Must be 'vmdk' if present"},
	{Name: "compat6", Type: "bool", Help: "VMDK version 6 image", Default: "off"},
	{Name: "hwversion", Type: "string", Help: "VMDK hardware version", Default: "undefined"},
	{Name: "toolsversion", Type: "string", Help: "VMware guest tools version"},
	{Name: "subformat", Type: "string", Help: "Type of image: monolithicSparse (default) or monolithicFlat"},
	{Name: "zeroed_grain", Type: "bool", Help: "Enable efficient zero writes using the zeroed-grain GTE feature"},
}

// fixup turns what -o has into what blockdev-create takes.
func fixup(o *qmp.Object) error {
	if v, ok := o.Get("backing-fmt"); ok {
		if v != "vmdk" {
			return block.Errorf(block.KindInvalid, "backing_file must be a vmdk image")
		}
		o.Delete("backing-fmt")
	}
	v, given := o.Get("hwversion")
	if v == "undefined" {
		given = false
		o.Delete("hwversion")
	}
	v6, err := block.TakeBool(o, "compat6")
	if err != nil || !v6 {
		return err
	}
	if given {
		return block.Errorf(block.KindInvalid, "compat6 cannot be enabled with hwversion set")
	}
	o.Set("hwversion", "6")
	return nil
}

const (
	// grainSectors is the size of the grains of images that are made here.
	grainSectors = 128
	// descSectors is the room for the description.
	descSectors = 20
)

// create makes an image in a file that exists.
func create(ctx context.Context, g *block.Graph, opts any) error {
	o := opts.(*CreateOptions)
	sub := "monolithicSparse"
	if o.Subformat != nil {
		sub = string(*o.Subformat)
	}
	flat := sub == "monolithicFlat"
	switch {
	case sub != "monolithicSparse" && !flat:
		return block.Errorf(block.KindUnsupported, "VMDK images of subformat '%s' cannot be made, only monolithicSparse and monolithicFlat", sub)
	case flat && o.BackingFile != nil:
		return block.Errorf(block.KindInvalid, "Flat image can't have backing file")
	case flat && o.ZeroedGrain != nil && *o.ZeroedGrain:
		return block.Errorf(block.KindInvalid, "Flat image can't enable zeroed grain")
	case !flat && len(o.Extents) > 0 || len(o.Extents) > 1:
		return block.Errorf(block.KindInvalid, "List of extents contains unused extents")
	}
	for _, s := range []*string{o.BackingFile, o.HWVersion, o.ToolsVersion} {
		if s != nil && strings.ContainsAny(*s, "\"\n\r\x00") {
			return block.Errorf(block.KindInvalid, "'%s' has characters that a VMDK description cannot hold", *s)
		}
	}
	sectors := (int64(o.Size) + sectorSize - 1) / sectorSize
	parent, parentCID := "", uint32(noParent)
	t, err := g.OpenTarget(ctx, o.File)
	if err != nil {
		return err
	}
	defer t.Close()
	name := t.Node().FileName()
	if o.BackingFile != nil {
		parent = *o.BackingFile
		if parentCID, err = baseCID(ctx, g, name, parent); err != nil {
			return err
		}
	}
	cid := rand.Uint32N(noParent)
	if flat {
		return createFlat(ctx, g, t, o, cid, sectors)
	}
	return createSparse(ctx, t, newDescriptor(o, cid, parentCID, sub, parent, extentText(sectors, "SPARSE", name, ""), sectors), sectors, o.ZeroedGrain != nil && *o.ZeroedGrain)
}

// extentText returns the line of an extent in a file, which lies beside the image.
func extentText(sectors int64, kind, file, tail string) string {
	return fmt.Sprintf("RW %d %s \"%s\"%s\n", sectors, kind, path.Base(file), tail)
}

// baseCID returns the content ID of the image that one called name is put on top of.
func baseCID(ctx context.Context, g *block.Graph, name, backing string) (uint32, error) {
	full, err := block.ResolveName(name, backing)
	if err != nil {
		return 0, err
	}
	// It may be in use: a snapshot puts an image on top of a running machine's.
	n, err := g.OpenImage(ctx, full, nil, qmp.Keyval, block.Settings{ReadOnly: true, ForceShare: true, NoIO: true})
	if err != nil {
		return 0, fmt.Errorf("Could not open backing image: %w", err)
	}
	defer n.Unref()
	base, ok := n.Driver().(*image)
	if !ok {
		return 0, block.Errorf(block.KindInvalid, "Invalid backing file format: %s. Must be vmdk", n.DriverName())
	}
	return base.desc.cid, nil
}

// createFlat makes the file that holds the data, or takes the one that was given, and
// writes the description.
func createFlat(ctx context.Context, g *block.Graph, t *block.Target, o *CreateOptions, cid uint32, sectors int64) error {
	var ref block.Ref
	if len(o.Extents) > 0 {
		ref = o.Extents[0]
	} else {
		name := t.Node().FileName()
		flat := strings.TrimSuffix(name, ".vmdk") + "-flat.vmdk"
		size := &qmp.Object{}
		size.Add("size", int64(0))
		err := g.CreateImage(ctx, "raw", flat, size, qmp.JSON)
		if err != nil {
			return err
		}
		if ref, err = extentRef(t.Node(), path.Base(flat)); err != nil {
			return err
		}
	}
	x, err := g.OpenTarget(ctx, ref)
	if err != nil {
		return err
	}
	defer x.Close()
	if err := x.Empty(ctx, sectors*sectorSize); err != nil {
		return err
	}
	text := newDescriptor(o, cid, noParent, "monolithicFlat", "", extentText(sectors, "FLAT", x.Node().FileName(), " 0"), sectors)
	if err := t.Empty(ctx, 0); err != nil {
		return err
	}
	if err := t.Write(0, []byte(text)); err != nil {
		return err
	}
	return t.Root().Flush()
}

// createSparse writes header, description, and both sets of empty tables.
func createSparse(ctx context.Context, t *block.Target, text string, sectors int64, zeroed bool) error {
	const entries = 1 << entriesBits
	const tableSectors = entries * 4 / sectorSize
	if len(text) > descSectors*sectorSize {
		return block.Errorf(block.KindInvalid, "The description of the image would be too long")
	}
	h := sparseHeader{capacity: sectors, grain: grainSectors, entries: entries}
	n := h.tables()
	if n > maxDirectory || n*entries*grainSectors > 1<<48 {
		return block.Errorf(block.KindUnsupported, "The image size is too large for file format 'vmdk'")
	}
	dirSectors := (n*4 + sectorSize - 1) / sectorSize
	rgd := int64(1 + descSectors)
	gd := rgd + dirSectors + n*tableSectors
	end := (gd + dirSectors + n*tableSectors + grainSectors - 1) / grainSectors * grainSectors
	if end > 1<<32-1 {
		return block.Errorf(block.KindUnsupported, "The image size is too large for file format 'vmdk'")
	}
	if err := t.Empty(ctx, end*sectorSize); err != nil {
		return err
	}
	p := make([]byte, headerSize)
	copy(p, "KDMV")
	le.PutUint32(p[offVersion:], 1)
	le.PutUint32(p[offFlags:], flagNewline|flagRGD)
	if zeroed {
		le.PutUint32(p[offVersion:], 2)
		le.PutUint32(p[offFlags:], flagNewline|flagRGD|flagZeroGrain)
	}
	le.PutUint64(p[offCapacity:], uint64(sectors))
	le.PutUint64(p[offGrainSize:], grainSectors)
	le.PutUint64(p[offDesc:], 1)
	le.PutUint64(p[offDescSize:], descSectors)
	le.PutUint32(p[offEntries:], entries)
	le.PutUint64(p[offRGD:], uint64(rgd))
	le.PutUint64(p[offGD:], uint64(gd))
	le.PutUint64(p[offGrains:], uint64(end))
	copy(p[offCheck:], checkBytes)
	for _, at := range []int64{rgd, gd} {
		if err := writeDirectory(ctx, t, at, n, tableSectors); err != nil {
			return err
		}
	}
	if err := t.Write(sectorSize, []byte(text)); err != nil {
		return err
	}
	if err := t.Write(0, p); err != nil {
		return err
	}
	return t.Root().Flush()
}

// writeDirectory writes a grain directory whose n tables follow it.
func writeDirectory(ctx context.Context, t *block.Target, at, n, tableSectors int64) error {
	b := block.GetBuffer(1 << 16)
	defer b.Release()
	first := at + (n*4+sectorSize-1)/sectorSize
	for i := int64(0); i < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := b.B[:min(int64(len(b.B)), (n-i)*4)]
		for k := int64(0); k < int64(len(p))/4; k++ {
			le.PutUint32(p[k*4:], uint32(first+(i+k)*tableSectors))
		}
		if err := t.Write(at*sectorSize+i*4, p); err != nil {
			return err
		}
		i += int64(len(p)) / 4
	}
	return nil
}
