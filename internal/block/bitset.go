package block

import "math/bits"

// bitset is n bits and the number of those that are set.
type bitset struct {
	words []uint64
	n     int
	count int
}

func (s *bitset) resize(n int) {
	if n < s.n {
		s.reset(n, s.n)
	}
	words := (n + 63) / 64
	if words > cap(s.words) {
		s.words = append(make([]uint64, 0, words), s.words...)
	}
	old := len(s.words)
	s.words = s.words[:words]
	if words > old {
		clear(s.words[old:])
	}
	s.n = n
}

func (s *bitset) get(i int) bool { return s.words[i>>6]>>(i&63)&1 != 0 }

// each calls fn with each word of [from, to) and the mask of the bits meant.
func each(from, to int, fn func(w int, mask uint64)) {
	for from < to {
		w := from >> 6
		mask := ^uint64(0) << (from & 63)
		if end := (w + 1) << 6; to < end {
			mask &= ^uint64(0) >> (end - to)
		}
		fn(w, mask)
		from = (w + 1) << 6
	}
}

func (s *bitset) set(from, to int) {
	each(from, to, func(w int, mask uint64) {
		s.count += bits.OnesCount64(mask &^ s.words[w])
		s.words[w] |= mask
	})
}

func (s *bitset) reset(from, to int) {
	each(from, to, func(w int, mask uint64) {
		s.count -= bits.OnesCount64(mask & s.words[w])
		s.words[w] &^= mask
	})
}

// next returns the first bit at or after i that is as value says, -1 without one.
func (s *bitset) next(i int, value bool) int {
	if i = s.nextIn(i, s.n, value); i >= s.n {
		return -1
	}
	return i
}

// nextIn is next before end, which it returns when there is none.
func (s *bitset) nextIn(i, end int, value bool) int {
	for i < end {
		w := s.words[i>>6]
		if !value {
			w = ^w
		}
		if w >>= i & 63; w != 0 {
			return min(i+bits.TrailingZeros64(w), end)
		}
		i = i>>6<<6 + 64
	}
	return end
}

func (s *bitset) or(o *bitset) {
	s.count = 0
	for i := range s.words {
		s.words[i] |= o.words[i]
		s.count += bits.OnesCount64(s.words[i])
	}
}

// load takes words, as many as fit; what is beyond n is ignored.
func (s *bitset) load(words []uint64) {
	clear(s.words)
	copy(s.words, words)
	if r := s.n & 63; r != 0 {
		s.words[len(s.words)-1] &= 1<<r - 1
	}
	s.count = 0
	for _, w := range s.words {
		s.count += bits.OnesCount64(w)
	}
}
