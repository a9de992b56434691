package qcow2

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"govmd/internal/block"
)

var be = binary.BigEndian

// The header's fields (docs/interop/qcow2.txt, "Header").
const (
	magic        = 0x514649fb // "QFI\xfb"
	headerSizeV2 = 72
	headerSizeV3 = 104 // without the fields after header_length
	headerSize   = 112 // with compression_type

	minClusterBits = 9
	maxClusterBits = 21
	maxL1Size      = 32 << 20 // bytes
	maxRefTable    = 8 << 20  // bytes
	maxSnapshots   = 65536
	maxBackingName = 1023
)

// Feature bits.
const (
	incompatDirty    = 1 << 0
	incompatCorrupt  = 1 << 1
	incompatDataFile = 1 << 2
	incompatCompress = 1 << 3
	incompatExtL2    = 1 << 4
	incompatKnown    = incompatDirty | incompatCorrupt | incompatDataFile | incompatCompress | incompatExtL2

	compatLazy = 1 << 0

	autoclearBitmaps = 1 << 0
	autoclearRawData = 1 << 1
)

// Header extensions.
const (
	extEnd          = 0
	extBackingFmt   = 0xe2792aca
	extFeatureNames = 0x6803f857
	extBitmaps      = 0x23852875
	extCrypto       = 0x0537be77
	extDataFile     = 0x44415441
)

// Compression types.
const (
	compressZlib = 0
	compressZstd = 1
)

// Encryption methods.
const (
	cryptNone = 0
	cryptAES  = 1
	cryptLUKS = 2
)

// header is the image's header with its extensions.
type header struct {
	version        uint32
	clusterBits    uint32
	size           uint64
	crypt          uint32
	l1Size         uint32
	l1Offset       uint64
	refTableOffset uint64
	refTableSize   uint32 // clusters
	nbSnapshots    uint32
	snapOffset     uint64
	incompat       uint64
	compat         uint64
	autoclear      uint64
	refcountOrder  uint32
	length         uint32
	compression    uint8
	unknownFields  []byte // of a longer header

	backingFile string
	backingFmt  string
	hasFmt      bool
	dataFile    string
	bitmaps     bitmapExt
	hasBitmaps  bool
	cryptoOff   uint64 // of the LUKS header
	cryptoLen   uint64
	features    []featureName
	unknownExt  []extension
}

type extension struct {
	typ  uint32
	data []byte
}

type featureName struct {
	kind, bit uint8
	name      string
}

// bitmapExt is the bitmaps extension.
type bitmapExt struct {
	count   uint32
	dirSize uint64
	dirOff  uint64
}

// knownFeatures is the feature name table of the images that govmd makes.
var knownFeatures = []featureName{
	{0, 0, "dirty bit"}, {0, 1, "corrupt bit"}, {0, 2, "external data file"}, {0, 3, "compression type"},
	{0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"}, {2, 0, "bitmaps"}, {2, 1, "raw external data"},
}

// parseHeader reads the header from the first bytes of the file, at least one
// cluster of them where the file is that long.
func parseHeader(p []byte) (*header, error) {
	if len(p) < headerSizeV2 {
		return nil, block.Errorf(block.KindCorrupt, "Image is too short for a qcow2 header")
	}
	if be.Uint32(p) != magic {
		return nil, block.Errorf(block.KindInvalid, "Image is not in qcow2 format")
	}
	h := &header{
		version: be.Uint32(p[4:]), clusterBits: be.Uint32(p[20:]), size: be.Uint64(p[24:]), crypt: be.Uint32(p[32:]),
		l1Size: be.Uint32(p[36:]), l1Offset: be.Uint64(p[40:]), refTableOffset: be.Uint64(p[48:]),
		refTableSize: be.Uint32(p[56:]), nbSnapshots: be.Uint32(p[60:]), snapOffset: be.Uint64(p[64:]),
		refcountOrder: 4, length: headerSizeV2,
	}
	if h.version < 2 || h.version > 3 {
		return nil, block.Errorf(block.KindUnsupported, "Unsupported qcow2 version %d", h.version)
	}
	if h.clusterBits < minClusterBits || h.clusterBits > maxClusterBits {
		return nil, block.Errorf(block.KindUnsupported, "Unsupported cluster size: 2^%d", h.clusterBits)
	}
	cluster := 1 << h.clusterBits
	p = p[:min(len(p), cluster)]
	if h.version >= 3 {
		if len(p) < headerSizeV3 {
			return nil, block.Errorf(block.KindCorrupt, "Image is too short for a qcow2 header")
		}
		h.incompat, h.compat, h.autoclear = be.Uint64(p[72:]), be.Uint64(p[80:]), be.Uint64(p[88:])
		h.refcountOrder, h.length = be.Uint32(p[96:]), be.Uint32(p[100:])
		if h.length < headerSizeV3 {
			return nil, block.Errorf(block.KindCorrupt, "qcow2 header too short")
		}
		if int64(h.length) > int64(len(p)) {
			return nil, block.Errorf(block.KindCorrupt, "qcow2 header exceeds cluster size")
		}
		if h.length > headerSizeV3 {
			h.compression = p[104]
		}
		if h.length > headerSize {
			h.unknownFields = slices.Clone(p[headerSize:h.length])
		}
	}
	return h, h.parseRest(p)
}

func (h *header) parseRest(p []byte) error {
	backOff, backLen := be.Uint64(p[8:]), be.Uint32(p[16:])
	end := uint64(len(p))
	if backOff != 0 {
		if backLen > maxBackingName || backOff > end || uint64(backLen) > end-backOff || backOff < uint64(h.length) {
			return block.Errorf(block.KindCorrupt, "Invalid backing file offset")
		}
		end = backOff
	}
	if err := h.parseExtensions(p[h.length:end], uint64(h.length)); err != nil {
		return err
	}
	if backOff != 0 {
		h.backingFile = string(p[backOff : backOff+uint64(backLen)])
	}
	if bad := h.incompat &^ incompatKnown; bad != 0 {
		return block.Errorf(block.KindUnsupported, "Unsupported qcow2 feature(s): %s", h.featureNames(bad))
	}
	if h.refcountOrder > 6 {
		return block.Errorf(block.KindUnsupported, "Reference count entry width too large; may not exceed 64 bits")
	}
	if (h.incompat&incompatCompress != 0) != (h.compression != compressZlib) {
		return block.Errorf(block.KindCorrupt, "qcow2: Compression type incompatible feature bit must %sbe set",
			map[bool]string{true: "not ", false: ""}[h.compression == compressZlib])
	}
	if h.compression > compressZstd {
		return block.Errorf(block.KindUnsupported, "qcow2: unknown compression type: %d", h.compression)
	}
	if h.incompat&incompatExtL2 != 0 && h.clusterBits < 14 {
		return block.Errorf(block.KindUnsupported, "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes")
	}
	if h.crypt > cryptLUKS {
		return block.Errorf(block.KindUnsupported, "Unsupported encryption method %d", h.crypt)
	}
	return nil
}

func (h *header) parseExtensions(p []byte, at uint64) error {
	for len(p) >= 8 {
		typ, n := be.Uint32(p), be.Uint32(p[4:])
		if typ == extEnd {
			return nil
		}
		if uint64(n) > uint64(len(p)-8) {
			return block.Errorf(block.KindCorrupt, "Header extension too large (offset %d, type %#x, %d bytes)", at, typ, n)
		}
		data := p[8 : 8+n]
		switch typ {
		case extBackingFmt:
			h.backingFmt, h.hasFmt = string(data), true
		case extFeatureNames:
			for f := data; len(f) >= 48; f = f[48:] {
				h.features = append(h.features, featureName{f[0], f[1], strings.TrimRight(string(f[2:48]), "\x00")})
			}
		case extDataFile:
			h.dataFile = string(data)
		case extCrypto:
			if n != 16 {
				return block.Errorf(block.KindCorrupt, "CRYPTO header extension size %d, but expected size 16", n)
			}
			h.cryptoOff, h.cryptoLen = be.Uint64(data), be.Uint64(data[8:])
		case extBitmaps:
			if n != 24 {
				return block.Errorf(block.KindCorrupt, "bitmaps_ext: Invalid extension length")
			}
			h.bitmaps = bitmapExt{be.Uint32(data), be.Uint64(data[8:]), be.Uint64(data[16:])}
			h.hasBitmaps = true
		default:
			h.unknownExt = append(h.unknownExt, extension{typ, slices.Clone(data)})
		}
		skip := min(8+(uint64(n)+7)&^7, uint64(len(p)))
		p, at = p[skip:], at+skip
	}
	return nil
}

// featureNames names incompatible features, as the image itself does.
func (h *header) featureNames(bits uint64) string {
	var list []string
	for i := range 64 {
		if bits>>i&1 == 0 {
			continue
		}
		name := ""
		for _, f := range h.features {
			if f.kind == 0 && int(f.bit) == i {
				name = f.name
			}
		}
		if name == "" {
			name = fmt.Sprintf("Unknown incompatible feature: %x", uint64(1)<<i)
		}
		list = append(list, name)
	}
	return strings.Join(list, ", ")
}

// encode returns the header as it is in the file, at most a cluster.
func (h *header) encode() ([]byte, error) {
	cluster := 1 << h.clusterBits
	size := headerSizeV2
	if h.version >= 3 {
		size = headerSize + len(h.unknownFields)
	}
	p := make([]byte, size, cluster)
	be.PutUint32(p, magic)
	be.PutUint32(p[4:], h.version)
	be.PutUint32(p[20:], h.clusterBits)
	be.PutUint64(p[24:], h.size)
	be.PutUint32(p[32:], h.crypt)
	be.PutUint32(p[36:], h.l1Size)
	be.PutUint64(p[40:], h.l1Offset)
	be.PutUint64(p[48:], h.refTableOffset)
	be.PutUint32(p[56:], h.refTableSize)
	be.PutUint32(p[60:], h.nbSnapshots)
	be.PutUint64(p[64:], h.snapOffset)
	if h.version >= 3 {
		be.PutUint64(p[72:], h.incompat)
		be.PutUint64(p[80:], h.compat)
		be.PutUint64(p[88:], h.autoclear)
		be.PutUint32(p[96:], h.refcountOrder)
		be.PutUint32(p[100:], uint32(size))
		p[104] = h.compression
		copy(p[headerSize:], h.unknownFields)
	}
	ext := func(typ uint32, data []byte) {
		p = be.AppendUint32(p, typ)
		p = be.AppendUint32(p, uint32(len(data)))
		p = append(p, data...)
		for len(p)%8 != 0 {
			p = append(p, 0)
		}
	}
	if h.hasFmt {
		ext(extBackingFmt, []byte(h.backingFmt))
	}
	if h.dataFile != "" {
		ext(extDataFile, []byte(h.dataFile))
	}
	if h.crypt == cryptLUKS {
		ext(extCrypto, be.AppendUint64(be.AppendUint64(nil, h.cryptoOff), h.cryptoLen))
	}
	if h.version >= 3 {
		var t []byte
		for _, f := range knownFeatures {
			entry := make([]byte, 48)
			entry[0], entry[1] = f.kind, f.bit
			copy(entry[2:], f.name)
			t = append(t, entry...)
		}
		if len(p)+len(t)+128+len(h.backingFile) < cluster {
			ext(extFeatureNames, t)
		}
	}
	if h.hasBitmaps {
		b := be.AppendUint32(nil, h.bitmaps.count)
		b = be.AppendUint32(b, 0)
		b = be.AppendUint64(b, h.bitmaps.dirSize)
		ext(extBitmaps, be.AppendUint64(b, h.bitmaps.dirOff))
	}
	for _, e := range h.unknownExt {
		ext(e.typ, e.data)
	}
	ext(extEnd, nil)
	if h.backingFile != "" {
		be.PutUint64(p[8:], uint64(len(p)))
		be.PutUint32(p[16:], uint32(len(h.backingFile)))
		p = append(p, h.backingFile...)
	}
	if len(p) > cluster {
		return nil, block.Errorf(block.KindInvalid, "The qcow2 header does not fit into a cluster of %d bytes", cluster)
	}
	return p, nil
}
