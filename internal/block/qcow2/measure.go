package qcow2

import (
	"govmd/internal/block"
	"govmd/internal/block/encrypt"
)

// measure says how large a new image would be.
func measure(opts any, size int64, src *block.Node) (block.Measured, error) {
	c, err := plan(opts.(*CreateOptions))
	if err != nil {
		return block.Measured{}, err
	}
	h := &c.hdr
	cluster := int64(1) << h.clusterBits
	whole := (size + cluster - 1) &^ (cluster - 1)
	meta, err := metadataSize(h, whole)
	if err != nil {
		return block.Measured{}, err
	}
	if e := opts.(*CreateOptions).Encrypt; e != nil {
		if l, ok := e.Branch.(*encrypt.CreateOptions); ok {
			n, err := l.HeaderSize()
			if err != nil {
				return block.Measured{}, err
			}
			meta += (n + cluster - 1) &^ (cluster - 1)
		}
	}
	data := int64(0)
	switch {
	case c.pre == block.PreallocFull || c.pre == block.PreallocFalloc || src != nil && h.backingFile != "":
		data = whole // what a backing file will share is not known
	case src != nil:
		if data, err = dataIn(src, cluster); err != nil {
			return block.Measured{}, err
		}
	}
	m := block.Measured{Required: meta + data, FullyAllocated: meta + whole, Bitmaps: -1}
	if src != nil && h.version >= 3 {
		if _, can := src.SkipFilters().Driver().(block.BitmapStore); can {
			m.Bitmaps = bitmapsIn(src, cluster)
		}
	}
	return m, nil
}

// metadataSize returns the size of the metadata of a fully allocated image of whole
// clusters of data.
func metadataSize(h *header, whole int64) (int64, error) {
	cluster := int64(1) << h.clusterBits
	up := func(n, to int64) int64 { return (n + to - 1) / to * to }
	entry := int64(8)
	if h.incompat&incompatExtL2 != 0 {
		entry = 16
	}
	l2 := up(whole/cluster*entry, cluster)
	l1 := l2 / cluster * 8
	if l1 > maxL1Size {
		return 0, block.Errorf(block.KindInvalid, "The image size is too large (try using a larger cluster size)")
	}
	meta := cluster + l2 + up(l1, cluster)
	// The refcount structures count themselves.
	n, refs := (meta+whole)/cluster, int64(0)
	for {
		per := cluster * 8 >> h.refcountOrder
		blocks := (n + refs + per - 1) / per
		next := blocks + up(blocks*8, cluster)/cluster
		if next == refs {
			return meta + refs*cluster, nil
		}
		refs = next
	}
}

// dataIn returns how many bytes of whole clusters hold what an image shows that is not zero.
func dataIn(src *block.Node, cluster int64) (sum int64, err error) {
	end, counted := src.Length(), int64(0)
	for off := int64(0); off < end; {
		st, _, err := src.BlockStatusAbove(nil, off, end-off, block.StatusZero)
		if err != nil {
			return 0, block.Errorf(block.KindIO, "Unable to get block status: %s", block.ErrorText(err))
		}
		n := max(st.N, 1)
		if st.Flags&block.StatusZero == 0 && st.Flags&(block.StatusData|block.StatusAllocated) == block.StatusData|block.StatusAllocated {
			from, to := max(off&^(cluster-1), counted), (off+n+cluster-1)&^(cluster-1)
			sum += to - from
			counted = to
			n = to - off
		}
		off += n
	}
	return sum, nil
}

// bitmapsIn returns the size of an image's persistent bitmaps in clusters of a size.
func bitmapsIn(src *block.Node, cluster int64) (sum int64) {
	up := func(n, to int64) int64 { return (n + to - 1) / to * to }
	directory := int64(0)
	for _, b := range src.SkipFilters().Bitmaps() {
		if !b.Persistent() || b.Inconsistent() {
			continue
		}
		bits := (b.Size() + b.Granularity() - 1) / b.Granularity()
		data := up((bits+7)/8, cluster)
		sum += data + up(data/cluster*8, cluster)
		directory += up(24+int64(len(b.Name())), 8)
	}
	return sum + up(directory, cluster)
}
