// Package encrypt is what encrypted image formats have in common: the options and
// descriptions of LUKS, how its key is found, and reading and writing through a
// cipher.
package encrypt

import (
	"context"
	"time"

	"govmd/internal/block"
	"govmd/internal/crypto/luks"
	"govmd/internal/crypto/sector"
)

// CreateOptions say how a disk is encrypted with LUKS (QCryptoBlockCreateOptionsLUKS).
type CreateOptions struct {
	KeySecret  *string           `qmp:"key-secret"`
	Cipher     *sector.Algorithm `qmp:"cipher-alg"`
	Mode       *sector.Mode      `qmp:"cipher-mode"`
	IVGen      *sector.IVGen     `qmp:"ivgen-alg"`
	IVHash     *sector.Hash      `qmp:"ivgen-hash-alg"`
	Hash       *sector.Hash      `qmp:"hash-alg"`
	IterTimeMS *int64            `qmp:"iter-time"`
}

// CreateKeys describes what -o takes for CreateOptions, each name with a prefix.
func CreateKeys(prefix string) []block.CreateKey {
	return []block.CreateKey{
		{Name: prefix + "cipher-alg", Type: "string", Help: "Name of encryption cipher algorithm"},
		{Name: prefix + "cipher-mode", Type: "string", Help: "Name of encryption cipher mode"},
		{Name: prefix + "hash-alg", Type: "string", Help: "Name of encryption hash algorithm"},
		{Name: prefix + "iter-time", Type: "number", Help: "Time to spend in PBKDF in milliseconds"},
		{Name: prefix + "ivgen-alg", Type: "string", Help: "Name of IV generator algorithm"},
		{Name: prefix + "ivgen-hash-alg", Type: "string", Help: "Name of IV generator hash algorithm"},
		{Name: prefix + "key-secret", Type: "string", Help: "ID of the secret that provides the keyslot passphrase"},
	}
}

// maxIterTime bounds what can be asked for.
const maxIterTime = time.Hour

func iterTime(ms *int64) (time.Duration, error) {
	if ms == nil {
		return luks.DefaultIterTime, nil
	}
	if *ms < 1 || *ms > maxIterTime.Milliseconds() {
		return 0, block.Errorf(block.KindInvalid, "iter-time must be between 1 and %d milliseconds", maxIterTime.Milliseconds())
	}
	return time.Duration(*ms) * time.Millisecond, nil
}

// or returns what p says, def when it says nothing.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

// spec is how sectors are encrypted.
func (o *CreateOptions) spec() sector.Spec {
	s := sector.Spec{Cipher: or(o.Cipher, "aes-256"), Mode: or(o.Mode, "xts"), IVGen: or(o.IVGen, "plain64")}
	if s.IVGen == "essiv" {
		s.IVHash = or(o.IVHash, "sha256")
	}
	return s
}

// HeaderSize returns how many bytes LUKS takes in front of the disk.
func (o *CreateOptions) HeaderSize() (int64, error) {
	s := o.spec()
	return luks.PayloadOffset(&s)
}

// Format is a header to be written, with its key.
type Format struct {
	*luks.Header
	key, pass []byte
	time      time.Duration
}

// New makes a header as the options, whose names prefix begins, say. It takes
// seconds; ctx ends it early.
func New(ctx context.Context, g *block.Graph, o *CreateOptions, prefix string) (*Format, error) {
	pass, err := Passphrase(g, o.KeySecret, prefix)
	if err != nil {
		return nil, err
	}
	spec := o.spec()
	if spec.IVGen != "essiv" && o.IVHash != nil {
		return nil, block.Errorf(block.KindInvalid, "'%sivgen-hash-alg' is for IV generator 'essiv' alone", prefix)
	}
	d, err := iterTime(o.IterTimeMS)
	if err != nil {
		return nil, err
	}
	h, key, err := luks.New(ctx, &spec, or(o.Hash, "sha256"), d)
	if err != nil {
		return nil, err
	}
	return &Format{Header: h, key: key, pass: pass, time: d}, nil
}

// Write writes key and header. It takes seconds; ctx ends it early.
func (f *Format) Write(ctx context.Context, s luks.Storage) error {
	if err := f.SetKey(ctx, s, 0, f.key, f.pass, f.time); err != nil {
		return err
	}
	return f.Header.Write(s)
}
