package vdi

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// CreateOptions say what image to make (BlockdevCreateOptionsVdi).
type CreateOptions struct {
	File          block.Ref `qmp:"file"`
	Size          qmp.Size  `qmp:"size"`
	Preallocation *Prealloc `qmp:"preallocation"`
}

// Prealloc is how much is allocated: metadata makes a static image.
type Prealloc string

// EnumValues implements qmp.Enum.
func (Prealloc) EnumValues() []string { return []string{"off", "metadata", "falloc", "full"} }

var createKeys = []block.CreateKey{
	{Name: "size", Type: "size", Help: "Virtual disk size"},
	{Name: "static", Type: "bool", Help: "VDI static (pre-allocated) image", Default: "off"},
}

// fixup turns what -o has into what blockdev-create takes.
func fixup(o *qmp.Object) error {
	static, err := block.TakeBool(o, "static")
	if static {
		o.Set("preallocation", "metadata")
	}
	return err
}

// dataAlign is what blocks are aligned to in images that are made here, in bytes: what
// storage wants of I/O past the host's page cache.
const dataAlign = 4096

// create makes an image in a file that exists.
func create(ctx context.Context, g *block.Graph, opts any) error {
	o := opts.(*CreateOptions)
	h := &header{typ: typeDynamic, mapOff: headerSize}
	if o.Preallocation != nil {
		switch *o.Preallocation {
		case "off":
		case "metadata":
			h.typ = typeStatic
		default:
			return block.Errorf(block.KindUnsupported, "Preallocation mode '%s' is not supported by VDI images", *o.Preallocation)
		}
	}
	if o.Size > maxBlocks<<blockBits {
		return block.Errorf(block.KindUnsupported, "Unsupported VDI image size (size is %#x, max supported is %#x)", uint64(o.Size), int64(maxBlocks)<<blockBits)
	}
	h.size = (int64(o.Size) + sectorSize - 1) &^ (sectorSize - 1)
	h.blocks = (h.size + blockSize - 1) >> blockBits
	h.dataOff = (h.mapOff + h.blocks*4 + dataAlign - 1) &^ (dataAlign - 1)
	end := h.dataOff
	if h.typ == typeStatic {
		h.allocated = h.blocks
		end += h.blocks << blockBits
	}
	t, err := g.OpenTarget(ctx, o.File)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Empty(ctx, end); err != nil {
		return err
	}
	if err := writeMap(ctx, t, h); err != nil {
		return err
	}
	if err := t.Write(0, h.encode()); err != nil {
		return err
	}
	return t.Root().Flush()
}

// writeMap writes the map of a new image: all blocks in order, or none.
func writeMap(ctx context.Context, t *block.Target, h *header) error {
	b := block.GetBuffer(1 << 20)
	defer b.Release()
	for i := int64(0); i < h.blocks; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := b.B[:min(int64(len(b.B)), (h.blocks-i)*4)]
		for k := 0; k < len(p); k += 4 {
			e := uint32(entryFree)
			if h.typ == typeStatic {
				e = uint32(i)
			}
			le.PutUint32(p[k:], e)
			i++
		}
		if err := t.Write(h.mapOff+(i*4-int64(len(p))), p); err != nil {
			return err
		}
	}
	return nil
}
