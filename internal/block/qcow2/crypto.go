package qcow2

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/block/encrypt"
	"govmd/internal/crypto/luks"
	"govmd/internal/crypto/sector"
	"govmd/internal/qmp"
)

// encryption is what an encrypted image has.
type encryption struct {
	hdr    *luks.Header                  // nil for method aes
	cipher atomic.Pointer[sector.Cipher] // nil: the key has not been given yet
}

// cryptFormats are the names of the encryption methods.
var cryptFormats = map[uint32]string{cryptAES: "aes", cryptLUKS: "luks"}

// encrypted reports whether data are encrypted.
func (q *image) encrypted() bool { return q.hdr.crypt != cryptNone }

// locked reports whether the key is missing: no data can be read or written.
func (q *image) locked() bool { return q.encrypted() && q.crypt.cipher.Load() == nil }

// openCrypto gets at the key of an encrypted image. Without one the image is open,
// and its data cannot be reached until SetKey.
func (q *image) openCrypto(ctx context.Context) error {
	format := cryptFormats[q.hdr.crypt]
	o := q.opts.Encrypt
	switch {
	case format == "" && o != nil:
		return block.Errorf(block.KindInvalid, "No encryption in image header, but options specified format '%s'", o.Format)
	case format == "":
		return nil
	case o != nil && o.Format != "" && o.Format != format:
		return block.Errorf(block.KindInvalid, "Header reported '%s' encryption format but options specify '%s'", format, o.Format)
	}
	noIO := q.node.Settings().NoIO
	if format == "aes" && !noIO && !q.graph.Env().WeakEncryption {
		return block.Errorf(block.KindUnsupported, "Use of AES-CBC encrypted qcow2 images is not supported: "+
			"'govmd img convert' makes an image of it that is not encrypted, or with LUKS")
	}
	if err := q.loadCrypto(); err != nil {
		return err
	}
	if noIO || q.node.Settings().LateKey {
		return nil
	}
	pass, err := q.Key()
	if err != nil || pass == nil {
		return err
	}
	return q.SetKey(ctx, pass)
}

// loadCrypto reads the LUKS header, if there is one.
func (q *image) loadCrypto() (err error) {
	if q.hdr.crypt != cryptLUKS {
		return nil
	}
	if q.hdr.cryptoLen == 0 || q.hdr.cryptoOff&uint64(q.clusterSize-1) != 0 {
		return block.Errorf(block.KindCorrupt, "Encryption header offset %#x or length %d invalid", q.hdr.cryptoOff, q.hdr.cryptoLen)
	}
	if err := q.inFile(q.hdr.cryptoOff, q.hdr.cryptoLen, "Encryption header"); err != nil {
		return err
	}
	q.crypt.hdr, err = luks.Read(q.cryptoStorage())
	return err
}

// unlock returns the cipher that a passphrase opens.
func (q *image) unlock(ctx context.Context, pass []byte) (*sector.Cipher, error) {
	if q.hdr.crypt == cryptLUKS {
		return encrypt.Unlock(ctx, q.crypt.hdr, q.cryptoStorage(), pass)
	}
	// The passphrase is the key. Nothing says whether it is the right one.
	var key [16]byte
	copy(key[:], pass)
	return sector.New(&sector.Spec{Cipher: "aes-128", Mode: "cbc", IVGen: "plain64"}, key[:])
}

// Key implements block.Keyed.
func (q *image) Key() ([]byte, error) {
	if o := q.opts.Encrypt; o != nil && o.secret() != nil {
		return encrypt.Passphrase(q.graph, o.secret(), "encrypt.")
	}
	return nil, nil
}

// SetKey implements block.Keyed.
func (q *image) SetKey(ctx context.Context, secret []byte) error {
	c, err := q.unlock(ctx, secret)
	if err == nil {
		q.crypt.cipher.Store(c)
	}
	return err
}

// cryptoStorage is the part of the file that holds the LUKS header.
func (q *image) cryptoStorage() luks.Storage {
	return &region{q.file, int64(q.hdr.cryptoOff), int64(q.hdr.cryptoLen)}
}

// region is a part of a file.
type region struct {
	file     *block.Child
	off, len int64
}

func (r *region) check(off int64, p []byte) error {
	if off < 0 || off > r.len || int64(len(p)) > r.len-off {
		return block.Errorf(block.KindCorrupt, "%d bytes at %d are beyond the encryption header", len(p), off)
	}
	return nil
}

func (r *region) Pread(off int64, p []byte) error {
	if err := r.check(off, p); err != nil {
		return err
	}
	return r.file.Pread(r.off+off, p)
}

func (r *region) Pwrite(off int64, p []byte) error {
	if err := r.check(off, p); err != nil {
		return err
	}
	return r.file.Pwrite(r.off+off, p)
}

func (r *region) Flush() error { return r.file.Flush() }

// sector returns the number that a sector is encrypted with: LUKS goes by where it
// is in the file, the older method by where it is on the disk.
func (q *image) sector(host, guest int64) uint64 {
	if q.hdr.crypt == cryptLUKS {
		return uint64(host / sector.Size)
	}
	return uint64(guest / sector.Size)
}

// readEncrypted reads data that are at host in the file and at guest on the disk.
func (q *image) readEncrypted(host, guest int64, v block.Vec) error {
	c := q.crypt.cipher.Load()
	if c == nil {
		return block.ErrIO
	}
	return encrypt.Preadv(q.data, host, v, c, q.sector(host, guest))
}

// writeEncrypted encrypts a copy of the data and writes it.
func (q *image) writeEncrypted(host, guest int64, v block.Vec) error {
	c := q.crypt.cipher.Load()
	if c == nil {
		return block.ErrIO
	}
	return encrypt.Pwritev(q.data, host, v, 0, c, q.sector(host, guest))
}

// aesInfo describes the older method, of which there is nothing to say.
type aesInfo struct {
	Format string `qmp:"format"`
}

// encryptInfo describes the encryption (ImageInfoSpecificQCow2Encryption), nil when
// there is none.
func (q *image) encryptInfo() any {
	format := cryptFormats[q.hdr.crypt]
	switch {
	case !q.encrypted():
		return nil
	case q.crypt.hdr == nil:
		return &aesInfo{format}
	}
	i := encrypt.InfoOf(q.crypt.hdr)
	i.Format = &format
	return i
}

// decodeSlots decodes options that change key slots; nil when keys are others.
func decodeSlots(keys *qmp.Object, mode qmp.Mode) (any, error) {
	const prefix = "encrypt."
	if !slices.ContainsFunc(keys.Members(), func(m qmp.Member) bool { return strings.HasPrefix(m.Name, prefix) }) {
		return nil, nil
	}
	return encrypt.DecodeAmend(prefix, keys, mode)
}

// amendSlots changes the key slots of the LUKS header.
func (q *image) amendSlots(ctx context.Context, o *encrypt.AmendOptions, force bool) error {
	if q.crypt.hdr == nil {
		return block.Errorf(block.KindInvalid, "The image is not encrypted with LUKS: there are no keyslots to change")
	}
	var secret *string
	if q.opts.Encrypt != nil {
		secret = q.opts.Encrypt.secret()
	}
	return encrypt.Amend(ctx, q.graph, q.crypt.hdr, q.cryptoStorage(), o, secret, force)
}

// setUp encrypts an image that has no data yet.
func (q *image) setUp(ctx context.Context, o *CreateEncryption) error {
	switch b := o.Branch.(type) {
	case *CreateAES:
		if _, err := encrypt.Passphrase(q.graph, b.KeySecret, "encrypt."); err != nil {
			return err
		}
		q.gate.Lock()
		defer q.gate.Unlock()
		q.hdr.crypt = cryptAES
	case *encrypt.CreateOptions:
		f, err := encrypt.New(ctx, q.graph, b, "encrypt.")
		if err != nil {
			return err
		}
		q.gate.Lock()
		defer q.gate.Unlock()
		off, err := q.newTable(make([]byte, f.PayloadOffset))
		if err != nil {
			return err
		}
		q.hdr.cryptoOff, q.hdr.cryptoLen = uint64(off), uint64(f.PayloadOffset)
		if err := f.Write(ctx, q.cryptoStorage()); err != nil {
			return err
		}
		q.crypt.hdr, q.hdr.crypt = f.Header, cryptLUKS
	}
	return q.writeHeader()
}
