package virtio

// PlaceLegacy sets the registers of a queue whose rings lie one behind the
// other, as legacy drivers have them (2.7.2): the used ring begins at the next
// multiple of align, a power of two.
func (r *Ring) PlaceLegacy(base, align uint64) {
	n := uint64(r.Size)
	r.Desc = base
	r.Avail = base + 16*n
	r.Used = (r.Avail + 2*(3+n) + align - 1) &^ (align - 1)
}
