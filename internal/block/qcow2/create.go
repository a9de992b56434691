package qcow2

import (
	"context"
	"math/bits"
	"slices"
	"strings"

	"govmd/internal/block"
	"govmd/internal/block/encrypt"
	"govmd/internal/qmp"
)

// CreateOptions say what image to make (BlockdevCreateOptionsQcow2).
type CreateOptions struct {
	File            block.Ref         `qmp:"file"`
	DataFile        *block.Ref        `qmp:"data-file"`
	DataFileRaw     *bool             `qmp:"data-file-raw"`
	ExtendedL2      *bool             `qmp:"extended-l2"`
	Size            qmp.Size          `qmp:"size"`
	Version         *Version          `qmp:"version"`
	BackingFile     *string           `qmp:"backing-file"`
	BackingFmt      *string           `qmp:"backing-fmt"`
	ClusterSize     *qmp.Size         `qmp:"cluster-size"`
	Preallocation   *Prealloc         `qmp:"preallocation"`
	LazyRefcounts   *bool             `qmp:"lazy-refcounts"`
	RefcountBits    *int              `qmp:"refcount-bits"`
	CompressionType *Compression      `qmp:"compression-type"`
	Encrypt         *CreateEncryption `qmp:"encrypt"`
}

// CreateEncryption says how an image is encrypted (QCryptoBlockCreateOptions).
type CreateEncryption struct {
	Format string `qmp:"format"`
	Branch any    `qmp:",branch"`
}

var createEncryptions = qmp.NewUnion("QCryptoBlockCreateOptions", "format")

// QMPUnion implements qmp.Unioner.
func (CreateEncryption) QMPUnion() *qmp.Union { return createEncryptions }

// CreateAES is the branch of qcow2's own method, which is called qcow there.
type CreateAES struct {
	KeySecret *string `qmp:"key-secret"`
}

// Version is a version of the format.
type Version string

// EnumValues implements qmp.Enum.
func (Version) EnumValues() []string { return []string{"v2", "v3"} }

// Compression is a compression method.
type Compression string

// EnumValues implements qmp.Enum.
func (Compression) EnumValues() []string { return []string{"zlib", "zstd"} }

// Prealloc is how much is allocated.
type Prealloc string

// EnumValues implements qmp.Enum.
func (Prealloc) EnumValues() []string { return []string{"off", "metadata", "falloc", "full"} }

var createKeys = slices.Concat([]block.CreateKey{
	{Name: "backing_file", Type: "string", Help: "File name of a base image"},
	{Name: "backing_fmt", Type: "string", Help: "Image format of the base image"},
	{Name: "cluster_size", Type: "size", Help: "qcow2 cluster size", Default: "65536"},
	{Name: "compat", Type: "string", Help: "Compatibility level (v2 [0.10] or v3 [1.1])", Default: "1.1"},
	{Name: "compression_type", Type: "string", Help: "Compression method used for image cluster compression", Default: "zlib"},
	{Name: "data_file", Type: "string", Help: "File name of an external data file"},
	{Name: "data_file_raw", Type: "bool", Help: "The external data file must stay valid as a raw image"},
	{Name: "encrypt.format", Type: "string", Help: "Encrypt the image, format choices: 'aes', 'luks'"},
}, encrypt.CreateKeys("encrypt."), []block.CreateKey{
	{Name: "extended_l2", Type: "bool", Help: "Extended L2 tables", Default: "off"},
	{Name: "lazy_refcounts", Type: "bool", Help: "Postpone refcount updates", Default: "off"},
	{Name: "preallocation", Type: "string", Help: "Preallocation mode (allowed values: off, metadata, falloc, full)", Default: "off"},
	{Name: "refcount_bits", Type: "number", Help: "Width of a reference count entry in bits", Default: "16"},
	{Name: "size", Type: "size", Help: "Virtual disk size"},
})

// fixup turns what -o has into what blockdev-create takes.
func fixup(o *qmp.Object) error {
	if v, ok := o.Get("compat"); ok {
		switch v {
		case "0.10", "v2":
			o.Set("version", "v2")
		case "1.1", "v3":
			o.Set("version", "v3")
		default:
			return block.Errorf(block.KindInvalid, "Parameter 'compat' does not accept value '%v'", v)
		}
		o.Delete("compat")
	}
	if v, ok := o.Get("data-file"); ok {
		name, isName := v.(string)
		if !isName {
			return block.Errorf(block.KindInvalid, "Parameter 'data_file' expects a file name")
		}
		file := &qmp.Object{}
		file.Add("driver", "file")
		file.Add("filename", name)
		o.Set("data-file", file)
	}
	nestEncryption(o)
	return nil
}

// nestEncryption makes an object of what -o has as encrypt.NAME.
func nestEncryption(o *qmp.Object) {
	inner := &qmp.Object{}
	for _, m := range slices.Clone(o.Members()) {
		name, ok := strings.CutPrefix(m.Name, "encrypt.")
		if !ok {
			continue
		}
		o.Delete(m.Name)
		if name == "format" && m.Value == "aes" {
			m.Value = "qcow"
		}
		inner.Add(name, m.Value)
	}
	if len(inner.Members()) > 0 {
		o.Set("encrypt", inner)
	}
}

// creation is what an image is made from, checked.
type creation struct {
	hdr     header
	size    int64
	pre     block.Prealloc
	dataRaw bool
}

func plan(o *CreateOptions) (*creation, error) {
	c := &creation{size: (int64(o.Size) + 511) &^ 511}
	h := &c.hdr
	h.version, h.clusterBits, h.refcountOrder = 3, 16, 4
	is := func(p *bool) bool { return p != nil && *p }
	if o.Version != nil && *o.Version == "v2" {
		h.version = 2
	}
	if o.ClusterSize != nil {
		s := uint64(*o.ClusterSize)
		h.clusterBits = uint32(bits.TrailingZeros64(s))
		if bits.OnesCount64(s) != 1 || h.clusterBits < minClusterBits || h.clusterBits > maxClusterBits {
			return nil, block.Errorf(block.KindInvalid, "Cluster size must be a power of two between %d and %dk", 1<<minClusterBits, 1<<(maxClusterBits-10))
		}
	}
	if o.RefcountBits != nil {
		n := *o.RefcountBits
		if n < 1 || n > 64 || n&(n-1) != 0 {
			return nil, block.Errorf(block.KindInvalid, "Refcount width must be a power of two and may not exceed 64 bits")
		}
		h.refcountOrder = uint32(bits.TrailingZeros(uint(n)))
		if h.version < 3 && n != 16 {
			return nil, block.Errorf(block.KindInvalid, "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)")
		}
	}
	if is(o.LazyRefcounts) {
		if h.version < 3 {
			return nil, block.Errorf(block.KindInvalid, "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)")
		}
		h.compat |= compatLazy
	}
	if is(o.ExtendedL2) {
		if h.clusterBits < 14 {
			return nil, block.Errorf(block.KindInvalid, "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes")
		}
		if h.version < 3 {
			return nil, block.Errorf(block.KindInvalid, "Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)")
		}
		h.incompat |= incompatExtL2
	}
	if o.CompressionType != nil && *o.CompressionType == "zstd" {
		if h.version < 3 {
			return nil, block.Errorf(block.KindInvalid, "Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)")
		}
		h.compression = compressZstd
		h.incompat |= incompatCompress
	}
	if o.BackingFile != nil {
		if len(*o.BackingFile) > maxBackingName {
			return nil, block.Errorf(block.KindInvalid, "Backing file name is longer than %d bytes", maxBackingName)
		}
		h.backingFile = *o.BackingFile
		if o.BackingFmt != nil {
			h.backingFmt, h.hasFmt = *o.BackingFmt, true
		}
	}
	if o.Preallocation != nil {
		c.pre, _ = block.ParsePrealloc(string(*o.Preallocation)) // its values have been checked
	}
	c.dataRaw = is(o.DataFileRaw)
	switch {
	case o.DataFile != nil && h.version < 3:
		return nil, block.Errorf(block.KindInvalid, "External data files are only supported with compatibility level 1.1 and above (use version=v3 or greater)")
	case c.dataRaw && o.DataFile == nil:
		return nil, block.Errorf(block.KindInvalid, "data-file-raw requires data-file")
	case c.dataRaw && o.Encrypt != nil:
		return nil, block.Errorf(block.KindInvalid, "Encryption and data-file-raw cannot be used at the same time")
	case c.pre != block.PreallocOff && o.Encrypt != nil && h.version < 3:
		return nil, block.Errorf(block.KindInvalid, "Encryption and preallocation can only be used at the same time with compatibility level 1.1 and above (use version=v3 or greater)")
	case c.dataRaw && h.backingFile != "":
		return nil, block.Errorf(block.KindInvalid, "Backing file and data-file-raw cannot be used at the same time")
	case h.backingFile != "" && c.pre != block.PreallocOff && h.incompat&incompatExtL2 == 0:
		return nil, block.Errorf(block.KindInvalid, "Backing file and preallocation can only be used at the same time if extended_l2 is enabled")
	}
	return c, nil
}

// create makes an image in a file that exists: header, refcount table with one
// block, and an L1 table that is empty; then it is opened and given its size.
func create(ctx context.Context, g *block.Graph, opts any) error {
	o := opts.(*CreateOptions)
	c, err := plan(o)
	if err != nil {
		return err
	}
	h := &c.hdr
	ref := &Options{GenericCOW: block.GenericCOW{Backing: &block.RefOrNull{Null: &qmp.Null{}}}}
	if o.DataFile != nil {
		data, err := begin(ctx, g, *o.DataFile, func(*block.Child) error { return nil })
		if err != nil {
			return err
		}
		defer data.Unref()
		h.incompat |= incompatDataFile
		if c.dataRaw {
			h.autoclear |= autoclearRawData
		}
		h.dataFile = data.FileName()
		r := block.NodeRef(data.Name())
		ref.DataFile = &r
	}
	file, err := begin(ctx, g, o.File, func(f *block.Child) error { return writeEmpty(ctx, f, h) })
	if err != nil {
		return err
	}
	defer file.Unref()
	ref.File = block.NodeRef(file.Name())
	n, err := g.Open(ctx, &block.Options{Driver: "qcow2", Branch: ref}, block.Settings{})
	if err != nil {
		return err
	}
	defer n.Unref()
	if o.Encrypt != nil {
		if err := n.Driver().(*image).setUp(ctx, o.Encrypt); err != nil {
			return err
		}
	}
	// The image has no backing file in the graph: what grows is new.
	return n.Truncate(ctx, c.size, false, c.pre, 0)
}

// begin opens a file that an image is made in, has it written to, and returns it for
// the image to be opened on.
func begin(ctx context.Context, g *block.Graph, ref block.Ref, write func(*block.Child) error) (*block.Node, error) {
	t, err := g.OpenTarget(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	if err := write(t.Root()); err != nil {
		return nil, err
	}
	n := t.Node()
	n.Ref()
	return n, nil
}

// writeEmpty writes an image of size 0: header in cluster 0, refcount table in 1,
// its block in 2, L1 table in 3.
func writeEmpty(ctx context.Context, f *block.Child, h *header) error {
	cluster := int64(1) << h.clusterBits
	h.refTableOffset, h.refTableSize = uint64(cluster), 1
	h.l1Offset, h.l1Size = uint64(3*cluster), 1 // of a disk of size 0, too, so that its cluster is used
	if err := f.Truncate(ctx, 0, false, block.PreallocOff, 0); err != nil {
		return err
	}
	table := make([]byte, cluster)
	be.PutUint64(table, uint64(2*cluster))
	refs := make([]byte, cluster)
	for i := range int64(4) {
		putRefcount(refs, h.refcountOrder, i, 1)
	}
	p, err := h.encode()
	if err != nil {
		return err
	}
	for _, w := range []struct {
		off int64
		p   []byte
	}{{cluster, table}, {2 * cluster, refs}, {3 * cluster, make([]byte, cluster)}, {0, append(p, make([]byte, cluster-int64(len(p)))...)}} {
		if err := f.Pwrite(w.off, w.p); err != nil {
			return err
		}
	}
	return f.Flush()
}
