package encrypt

import (
	"bytes"
	"context"
	"unicode/utf8"

	"govmd/internal/block"
	"govmd/internal/crypto/luks"
	"govmd/internal/crypto/sector"
)

// Passphrase returns the data of the secret, which must be text. With id nil it
// says that there has to be one, as the option that prefix begins.
func Passphrase(g *block.Graph, id *string, prefix string) ([]byte, error) {
	if id == nil {
		return nil, block.Errorf(block.KindEncrypted, "Parameter '%skey-secret' is required for cipher", prefix)
	}
	find := g.Env().Secret
	if find == nil {
		return nil, block.Errorf(block.KindNotFound, "No secret with id '%s'", *id)
	}
	data, err := find(*id)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, block.Errorf(block.KindInvalid, "Data from secret %s is not valid UTF-8", *id)
	}
	return bytes.Clone(data), nil // the object may go while it is in use
}

// Unlock returns the cipher of the disk, which the passphrase opens. It takes
// seconds; ctx ends it early.
func Unlock(ctx context.Context, h *luks.Header, s luks.Storage, pass []byte) (*sector.Cipher, error) {
	key, _, err := h.Unlock(ctx, s, pass)
	if err != nil {
		return nil, err
	}
	return sector.New(&h.Spec, key)
}
