package sector

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"sync"
)

// Size is the size of a sector in bytes.
const Size = 512

// Cipher encrypts sectors. Any number of goroutines use it at once, and it
// allocates nothing.
type Cipher struct {
	block  cipher.Block // for data
	tweak  cipher.Block // xts: for initialization vectors
	essiv  cipher.Block // essiv: for sector numbers
	narrow bool         // plain: 32 bits of the number count
	ecb    bool
}

// New returns a cipher with a key of Spec.KeySize bytes.
func New(s *Spec, key []byte) (*Cipher, error) {
	f, _, err := s.cipher()
	if err != nil {
		return nil, err
	}
	size, err := s.KeySize()
	if err != nil {
		return nil, err
	}
	if len(key) != size {
		return nil, fmt.Errorf("A key for %s in mode %s has %d bytes, not %d", s.Cipher, s.Mode, size, len(key))
	}
	c := &Cipher{ecb: s.Mode == "ecb", narrow: s.IVGen == "plain"}
	data := key
	if s.Mode == "xts" {
		data = key[:size/2]
		if c.tweak, err = f.make(key[size/2:]); err != nil {
			return nil, err
		}
	}
	if c.block, err = f.make(data); err != nil {
		return nil, err
	}
	if s.IVGen == "essiv" && !c.ecb {
		fn, err := s.essiv(f)
		if err != nil {
			return nil, err
		}
		h := fn()
		h.Write(key)
		if c.essiv, err = f.make(h.Sum(nil)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// scratch is the memory of one call: what is handed to a cipher.Block would be
// allocated each time otherwise.
type scratch struct {
	iv     [16]byte
	last   [16]byte
	tweaks [Size]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Encrypt encrypts p in place: sectors, of which the first has that number. The
// last one may be shorter, if it is whole blocks of the cipher.
func (c *Cipher) Encrypt(sector uint64, p []byte) { c.crypt(sector, p, true) }

// Decrypt undoes Encrypt.
func (c *Cipher) Decrypt(sector uint64, p []byte) { c.crypt(sector, p, false) }

func (c *Cipher) crypt(sector uint64, p []byte, encrypt bool) {
	s := scratches.Get().(*scratch)
	for len(p) > 0 {
		q := p[:min(Size, len(p))]
		switch {
		case c.ecb:
			blocks(c.block, q, encrypt)
		case c.tweak != nil:
			c.vector(s, sector)
			c.xts(s, q, encrypt)
		case encrypt:
			c.vector(s, sector)
			c.cbcEncrypt(s, q)
		default:
			c.vector(s, sector)
			c.cbcDecrypt(s, q)
		}
		p = p[len(q):]
		sector++
	}
	scratches.Put(s)
}

// vector sets s.iv to the initialization vector of a sector.
func (c *Cipher) vector(s *scratch, sector uint64) {
	if c.narrow {
		sector = uint64(uint32(sector))
	}
	s.iv = [16]byte{}
	binary.LittleEndian.PutUint64(s.iv[:], sector)
	if c.essiv != nil {
		n := c.essiv.BlockSize()
		c.essiv.Encrypt(s.iv[:n], s.iv[:n])
	}
}

// blocks encrypts or decrypts each block of p by itself.
func blocks(b cipher.Block, p []byte, encrypt bool) {
	n := b.BlockSize()
	if encrypt {
		for ; len(p) >= n; p = p[n:] {
			b.Encrypt(p[:n], p[:n])
		}
		return
	}
	for ; len(p) >= n; p = p[n:] {
		b.Decrypt(p[:n], p[:n])
	}
}

// xts is IEEE 1619's mode, for whole blocks: the blocks of a sector between two
// additions of a tweak that is doubled, in GF(2^128), from block to block.
func (c *Cipher) xts(s *scratch, p []byte, encrypt bool) {
	c.tweak.Encrypt(s.iv[:], s.iv[:])
	lo, hi := binary.LittleEndian.Uint64(s.iv[:]), binary.LittleEndian.Uint64(s.iv[8:])
	for t := s.tweaks[:len(p)]; len(t) >= 16; t = t[16:] {
		binary.LittleEndian.PutUint64(t, lo)
		binary.LittleEndian.PutUint64(t[8:], hi)
		carry := uint64(int64(hi)>>63) & 0x87
		hi = hi<<1 | lo>>63
		lo = lo<<1 ^ carry
	}
	subtle.XORBytes(p, p, s.tweaks[:len(p)])
	blocks(c.block, p, encrypt)
	subtle.XORBytes(p, p, s.tweaks[:len(p)])
}

func (c *Cipher) cbcEncrypt(s *scratch, p []byte) {
	n := c.block.BlockSize()
	previous := s.iv[:n]
	for ; len(p) >= n; p = p[n:] {
		subtle.XORBytes(p, p[:n], previous)
		c.block.Encrypt(p[:n], p[:n])
		previous = p[:n]
	}
}

func (c *Cipher) cbcDecrypt(s *scratch, p []byte) {
	n := c.block.BlockSize()
	for ; len(p) >= n; p = p[n:] {
		copy(s.last[:n], p)
		c.block.Decrypt(p[:n], p[:n])
		subtle.XORBytes(p, p[:n], s.iv[:n])
		s.iv, s.last = s.last, s.iv
	}
}
