package luks

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"hash"
)

// The anti-forensic splitter makes of a key stripes that are all needed to get it
// back: overwriting any of them on a disk destroys it.

// diffuse hashes p in place, piece by piece, each with its number.
func diffuse(h hash.Hash, p []byte) {
	var number [4]byte
	var sum [64]byte
	for i := uint32(0); len(p) > 0; i++ {
		q := p[:min(len(p), h.Size())]
		binary.BigEndian.PutUint32(number[:], i)
		h.Reset()
		h.Write(number[:])
		h.Write(q)
		copy(q, h.Sum(sum[:0]))
		p = p[len(q):]
	}
}

// split returns key as stripes.
func split(h hash.Hash, key []byte, stripes int) []byte {
	n := len(key)
	out := make([]byte, n*stripes)
	rand.Read(out[:n*(stripes-1)])
	last := out[n*(stripes-1):]
	fold(h, out[:n*(stripes-1)], last)
	subtle.XORBytes(last, last, key)
	return out
}

// merge returns the key that was split into p.
func merge(h hash.Hash, p []byte, n int) []byte {
	key := make([]byte, n)
	fold(h, p[:len(p)-n], key)
	subtle.XORBytes(key, key, p[len(p)-n:])
	return key
}

// fold mixes all stripes into d.
func fold(h hash.Hash, stripes, d []byte) {
	for ; len(stripes) > 0; stripes = stripes[len(d):] {
		subtle.XORBytes(d, d, stripes[:len(d)])
		diffuse(h, d)
	}
}
