package qcow2

import (
	"context"

	"govmd/internal/block"
)

// Crypter encrypts the data of an image in place, sector by sector of 512 bytes.
// Many goroutines use it at once.
type Crypter interface {
	// Encrypt and Decrypt work on p, whole sectors, that are at host in the file and
	// at guest on the disk.
	Encrypt(host, guest int64, p []byte) error
	Decrypt(host, guest int64, p []byte) error
	Close()
}

// CryptoOptions says how an encrypted image is opened.
type CryptoOptions struct {
	Format    string // "luks" or "aes"
	KeySecret string // the ID of a secret object, or ""
	Key       []byte // or the key itself, of SetKey
	Header    func(off int64, p []byte) error
	WriteHdr  func(off int64, p []byte) error
	HeaderLen int64
	Graph     *block.Graph
}

// OpenCrypto opens encryption of a format. The package that implements it sets it
// when the program starts; while nobody has, encrypted images are refused.
var OpenCrypto func(ctx context.Context, o *CryptoOptions) (Crypter, error)

// readEncrypted reads data and decrypts them outside of the guest's memory: a guest
// must not see what is on the disk.
func (q *image) readEncrypted(host, guest int64, v block.Vec) error {
	for v.Len() > 0 {
		n := min(v.Len(), 1<<20)
		b := block.GetBuffer(n)
		err := q.data.Pread(host, b.B)
		if err == nil {
			err = q.crypt.Decrypt(host, guest, b.B)
		}
		if err == nil {
			err = v.To(n).Write(b.B)
		}
		b.Release()
		if err != nil {
			return err
		}
		host, guest, v = host+int64(n), guest+int64(n), v.From(n)
	}
	return nil
}

// writeEncrypted encrypts a copy of the data and writes it.
func (q *image) writeEncrypted(host, guest int64, v block.Vec) error {
	for v.Len() > 0 {
		n := min(v.Len(), 1<<20)
		b := block.GetBuffer(n)
		err := v.To(n).Read(b.B)
		if err == nil {
			err = q.crypt.Encrypt(host, guest, b.B)
		}
		if err == nil {
			err = q.data.Pwrite(host, b.B)
		}
		b.Release()
		if err != nil {
			return err
		}
		host, guest, v = host+int64(n), guest+int64(n), v.From(n)
	}
	return nil
}
