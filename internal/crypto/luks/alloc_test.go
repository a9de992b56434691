//go:build !race

package luks

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"testing"
)

func TestDeriveAllocs(t *testing.T) {
	for _, fn := range []func() hash.Hash{sha256.New, sha512.New, sha1.New} {
		m := newMAC(fn, []byte("key"))
		p := m.h.Sum(nil)
		if n := testing.AllocsPerRun(100, func() { m.next(p) }); n > 0 {
			t.Errorf("an iteration allocates %v times", n)
		}
	}
}
