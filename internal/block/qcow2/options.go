package qcow2

import (
	"slices"

	"govmd/internal/block"
	"govmd/internal/block/encrypt"
	"govmd/internal/qmp"
)

// Options are the options of the driver qcow2.
type Options struct {
	block.GenericCOW
	LazyRefcounts       *bool         `qmp:"lazy-refcounts"`
	PassDiscardRequest  *bool         `qmp:"pass-discard-request"`
	PassDiscardSnapshot *bool         `qmp:"pass-discard-snapshot"`
	PassDiscardOther    *bool         `qmp:"pass-discard-other"`
	OverlapCheck        *OverlapCheck `qmp:"overlap-check"`
	CacheSize           *qmp.Size     `qmp:"cache-size"`
	L2CacheSize         *qmp.Size     `qmp:"l2-cache-size"`
	L2CacheEntrySize    *qmp.Size     `qmp:"l2-cache-entry-size"`
	RefcountCacheSize   *qmp.Size     `qmp:"refcount-cache-size"`
	CacheCleanInterval  *int64        `qmp:"cache-clean-interval"`
	Encrypt             *Encryption   `qmp:"encrypt"`
	DataFile            *block.Ref    `qmp:"data-file"`
}

// OverlapCheck is what overlap-check takes: a mode, or flags.
type OverlapCheck struct {
	qmp.Alternate
	Flags *OverlapFlags `qmp:"flags"`
	Mode  *OverlapMode  `qmp:"mode"`
}

// OverlapMode is how much is checked before a write.
type OverlapMode string

// EnumValues implements qmp.Enum.
func (OverlapMode) EnumValues() []string { return []string{"none", "constant", "cached", "all"} }

// OverlapFlags say it part by part. All parts cost the same here: checks are on
// when any of them is.
type OverlapFlags struct {
	Template        *OverlapMode `qmp:"template"`
	MainHeader      *bool        `qmp:"main-header"`
	ActiveL1        *bool        `qmp:"active-l1"`
	ActiveL2        *bool        `qmp:"active-l2"`
	RefcountTable   *bool        `qmp:"refcount-table"`
	RefcountBlock   *bool        `qmp:"refcount-block"`
	SnapshotTable   *bool        `qmp:"snapshot-table"`
	InactiveL1      *bool        `qmp:"inactive-l1"`
	InactiveL2      *bool        `qmp:"inactive-l2"`
	BitmapDirectory *bool        `qmp:"bitmap-directory"`
}

func (o *Options) overlapOn() bool {
	c := o.OverlapCheck
	if c == nil {
		return true
	}
	if c.Mode != nil {
		return *c.Mode != "none"
	}
	f := c.Flags
	if f.Template == nil || *f.Template != "none" {
		return true
	}
	for _, p := range []*bool{f.MainHeader, f.ActiveL1, f.ActiveL2, f.RefcountTable, f.RefcountBlock, f.SnapshotTable,
		f.InactiveL1, f.InactiveL2, f.BitmapDirectory} {
		if p != nil && *p {
			return true
		}
	}
	return false
}

// Encryption says how the data are encrypted.
type Encryption struct {
	Format string `qmp:"format"`
	Branch any    `qmp:",branch"`
}

var encryptions = qmp.NewUnion("BlockdevQcow2Encryption", "format")

// QMPUnion implements qmp.Unioner.
func (Encryption) QMPUnion() *qmp.Union { return encryptions }

// secret returns the ID of the secret, nil when none is named.
func (e *Encryption) secret() *string {
	if k, ok := e.Branch.(*EncryptionKey); ok {
		return k.KeySecret
	}
	return nil
}

// EncryptionKey is the branch of both formats.
type EncryptionKey struct {
	KeySecret *string `qmp:"key-secret"`
}

func init() {
	qmp.AddBranch[EncryptionKey](encryptions, "luks")
	qmp.AddBranch[EncryptionKey](encryptions, "aes")
	encryptions.Imply("luks") // whatever the image has: the members are the same
	block.Register[Options](&block.Type{
		Name: "qcow2", Backing: true, Open: open, Probe: probe, Create: create, Measure: measure, CreateKeys: createKeys, CreateFixup: fixup,
		AmendKeys: slices.Concat(amendKeys, encrypt.AmendKeys("encrypt.")), DecodeAmend: decodeSlots,
	})
	block.RegisterCreate[CreateOptions]("qcow2")
	qmp.AddBranch[encrypt.CreateOptions](createEncryptions, "luks")
	qmp.AddBranch[CreateAES](createEncryptions, "qcow")
}

func probe(head []byte, _ string) int {
	if len(head) >= 8 && be.Uint32(head) == magic && be.Uint32(head[4:]) >= 2 {
		return 100
	}
	return 0
}

const (
	maxL2Cache   = 32 << 20 // bytes, the default
	minRefBlocks = 4
)

// cacheSizes returns how many L2 slices and refcount blocks are cached, and the size
// of a slice.
func (q *image) cacheSizes(o *Options) (slices, blocks int, sliceSize int64, err error) {
	sliceSize = min(q.clusterSize, 4096)
	if o.L2CacheEntrySize != nil {
		entry := uint64(*o.L2CacheEntrySize)
		if entry < 512 || entry > uint64(q.clusterSize) || entry&(entry-1) != 0 {
			return 0, 0, 0, block.Errorf(block.KindInvalid, "L2 cache entry size must be a power of two between 512 and the cluster size (%d)", q.clusterSize)
		}
		sliceSize = int64(entry)
	}
	for _, n := range []*qmp.Size{o.CacheSize, o.L2CacheSize, o.RefcountCacheSize} {
		if n != nil && *n > 1<<36 {
			return 0, 0, 0, block.Errorf(block.KindInvalid, "L2 cache size or refcount cache size is out of range")
		}
	}
	// Tables for all of the disk are never needed twice.
	whole := int64(len(q.l1)) << q.l2Bits * q.l2EntrySize
	l2 := min(maxL2Cache, whole)
	refs := minRefBlocks * q.clusterSize
	total := o.CacheSize
	switch {
	case total != nil && o.L2CacheSize != nil && o.RefcountCacheSize != nil:
		return 0, 0, 0, block.Errorf(block.KindInvalid, "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time")
	case total != nil && o.L2CacheSize != nil && *o.L2CacheSize > *total:
		return 0, 0, 0, block.Errorf(block.KindInvalid, "l2-cache-size may not exceed cache-size")
	case total != nil && o.RefcountCacheSize != nil && *o.RefcountCacheSize > *total:
		return 0, 0, 0, block.Errorf(block.KindInvalid, "refcount-cache-size may not exceed cache-size")
	case total != nil && o.L2CacheSize != nil:
		l2, refs = int64(*o.L2CacheSize), int64(*total-*o.L2CacheSize)
	case total != nil && o.RefcountCacheSize != nil:
		l2, refs = int64(*total-*o.RefcountCacheSize), int64(*o.RefcountCacheSize)
	case total != nil:
		l2 = min(int64(*total), whole)
		refs = max(refs, int64(*total)-l2)
		if l2 == int64(*total) {
			l2 = max(0, int64(*total)-refs)
		}
	default:
		if o.L2CacheSize != nil {
			l2 = int64(*o.L2CacheSize)
		}
		if o.RefcountCacheSize != nil {
			refs = int64(*o.RefcountCacheSize)
		}
	}
	return max(int(l2/sliceSize), 2), max(int(refs/q.clusterSize), minRefBlocks), sliceSize, nil
}
