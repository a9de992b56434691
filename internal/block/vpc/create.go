package vpc

import (
	"bytes"
	"context"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// CreateOptions say what image to make (BlockdevCreateOptionsVpc).
type CreateOptions struct {
	File      block.Ref  `qmp:"file"`
	Size      qmp.Size   `qmp:"size"`
	Subformat *Subformat `qmp:"subformat"`
	ForceSize *bool      `qmp:"force-size"`
}

// Subformat is a type of disk.
type Subformat string

// EnumValues implements qmp.Enum.
func (Subformat) EnumValues() []string { return []string{"dynamic", "fixed"} }

var createKeys = []block.CreateKey{
	{Name: "size", Type: "size", Help: "Virtual disk size"},
	{Name: "subformat", Type: "string", Help: "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed}"},
	{Name: "force_size", Type: "bool", Help: "Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation"},
}

// blockSize is that of the images that are made here.
const blockSize = 2 << 20

// create makes an image in a file that exists.
func create(ctx context.Context, g *block.Graph, opts any) error {
	o := opts.(*CreateOptions)
	if o.Size > maxSectors*sectorSize {
		return block.Errorf(block.KindUnsupported, "The image size is too large for file format 'vpc'")
	}
	sectors := (int64(o.Size) + sectorSize - 1) / sectorSize
	cyls, heads, secs := int64(65535), int64(16), int64(255)
	if o.ForceSize == nil || !*o.ForceSize {
		// Its readers go by the geometry, as far as that can go.
		cyls, heads, secs = roomy(sectors)
		if n := cyls * heads * secs; n < maxCHS {
			sectors = n
		}
	}
	t, err := g.OpenTarget(ctx, o.File)
	if err != nil {
		return err
	}
	defer t.Close()
	size := sectors * sectorSize
	if o.Subformat != nil && *o.Subformat == "fixed" {
		err = createFixed(ctx, t, size, newFooter(typeFixed, size, cyls, heads, secs))
	} else {
		err = createDynamic(ctx, t, size, newFooter(typeDynamic, size, cyls, heads, secs))
	}
	if err != nil {
		return err
	}
	return t.Root().Flush()
}

func createFixed(ctx context.Context, t *block.Target, size int64, footer []byte) error {
	if err := t.Empty(ctx, size+footerSize); err != nil {
		return err
	}
	return t.Write(size, footer)
}

// createDynamic writes the copy of the footer, the header, an empty table, and the footer.
func createDynamic(ctx context.Context, t *block.Target, size int64, footer []byte) error {
	const table = footerSize + dynSize
	entries := (size + blockSize - 1) / blockSize
	p := make([]byte, dynSize)
	copy(p, "cxsparse")
	be.PutUint64(p[dynNext:], ^uint64(0))
	be.PutUint64(p[dynTable:], table)
	be.PutUint32(p[dynVersion:], version)
	be.PutUint32(p[dynEntries:], uint32(entries))
	be.PutUint32(p[dynBlockSize:], blockSize)
	be.PutUint32(p[dynSum:], checksum(p, dynSum))
	end := (table + entries*4 + sectorSize - 1) &^ (sectorSize - 1)
	if err := t.Empty(ctx, end+footerSize); err != nil {
		return err
	}
	for _, w := range []struct {
		off int64
		p   []byte
	}{{footerSize, p}, {table, bytes.Repeat([]byte{0xff}, int(end-table))}, {end, footer}, {0, footer}} {
		if err := t.Write(w.off, w.p); err != nil {
			return err
		}
	}
	return nil
}
