package encrypt

import (
	"govmd/internal/block"
	"govmd/internal/crypto/sector"
)

// chunk is how much is encrypted at once: it stays in a processor's cache.
const chunk = 256 << 10

// Preadv reads at off of c what is encrypted with the number of its first sector,
// and decrypts it outside of the guest's memory: a guest must not see what is on
// the disk.
func Preadv(c *block.Child, off int64, v block.Vec, cipher *sector.Cipher, number uint64) error {
	for v.Len() > 0 {
		n := min(v.Len(), chunk)
		b := block.GetBuffer(n)
		err := c.Pread(off, b.B)
		if err == nil {
			cipher.Decrypt(number, b.B)
			err = v.To(n).Write(b.B)
		}
		b.Release()
		if err != nil {
			return err
		}
		off, number, v = off+int64(n), number+uint64(n/sector.Size), v.From(n)
	}
	return nil
}

// Pwritev encrypts a copy of the data and writes it.
func Pwritev(c *block.Child, off int64, v block.Vec, f block.Flags, cipher *sector.Cipher, number uint64) error {
	for v.Len() > 0 {
		n := min(v.Len(), chunk)
		b := block.GetBuffer(n)
		err := v.To(n).Read(b.B)
		if err == nil {
			cipher.Encrypt(number, b.B)
			err = c.Pwritev(off, block.VecOf(b.B), f)
		}
		b.Release()
		if err != nil {
			return err
		}
		off, number, v = off+int64(n), number+uint64(n/sector.Size), v.From(n)
	}
	return nil
}
