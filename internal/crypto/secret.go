// Package crypto holds the objects for secrets and for credentials of
// connections: secret and tls-creds-x509.
package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"io"
	"os"
	"strings"

	"govmd/internal/fd"
	"govmd/internal/object"
	"govmd/internal/qmp"
)

// Format is how the data of a secret is written down.
type Format string

// The formats.
const (
	Raw    Format = "raw"
	Base64 Format = "base64"
)

// EnumValues lists the formats.
func (Format) EnumValues() []string { return []string{string(Raw), string(Base64)} }

// Secret is a password or a key, which others name by its ID.
type Secret struct {
	object.Node
	data, file string
	format     Format
	keyID, iv  string

	value  []byte // once complete
	given  bool   // data was, be it empty
	loaded bool
}

// Sizes of AES-256-CBC in bytes.
const (
	keySize   = 32
	blockSize = aes.BlockSize
)

// maxSecret bounds the file of a secret.
const maxSecret = 16 << 20

// Bytes returns the secret. It must not be changed, and is there until the object
// goes.
func (s *Secret) Bytes() []byte { return s.value }

// FindSecret returns the secret with that ID.
func FindSecret(objects *object.Collection, id string) (*Secret, error) {
	return object.Find[*Secret](objects, id, "secret")
}

// Complete reads and decrypts the secret.
func (s *Secret) Complete(others *object.Collection) error {
	data, err := s.read(others)
	if err != nil {
		return err
	}
	if s.keyID != "" {
		if data, err = s.decrypt(others, data); err != nil {
			return err
		}
	} else if s.format == Base64 {
		if data, err = decodeBase64(data); err != nil {
			return err
		}
	}
	s.value, s.loaded = data, true
	return nil
}

// Close forgets the secret.
func (s *Secret) Close() { clear(s.value) }

func (s *Secret) read(others *object.Collection) ([]byte, error) {
	switch {
	case s.file != "" && s.given:
		return nil, qmp.Errorf("'file' and 'data' are mutually exclusive")
	case s.given:
		return []byte(s.data), nil
	case s.file == "":
		return nil, qmp.Errorf("Either 'file' or 'data' must be provided")
	}
	files, _ := object.Service[*fd.Table](others) // a nil table knows plain names
	f, err := files.Open(s.file, os.O_RDONLY, 0)
	if err != nil {
		return nil, qmp.Errorf("Unable to read %s: Failed to open file “%s”: %s", s.file, s.file, qmp.Strerror(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return nil, qmp.Errorf("Unable to read %s: %s", s.file, qmp.Strerror(err))
	case len(data) > maxSecret:
		return nil, qmp.Errorf("Unable to read %s: it has more than %d bytes", s.file, maxSecret)
	}
	return data, nil
}

// decrypt returns what data, AES-256 in CBC mode with PKCS#7 padding under the
// key that is the secret keyID, stands for.
func (s *Secret) decrypt(others *object.Collection, data []byte) ([]byte, error) {
	master, err := FindSecret(others, s.keyID)
	if err != nil {
		return nil, err
	}
	if len(master.value) != keySize {
		return nil, qmp.Errorf("Key should be %d bytes in length", keySize)
	}
	if s.iv == "" {
		return nil, qmp.Errorf("IV is required to decrypt secret")
	}
	iv, err := decodeBase64([]byte(s.iv))
	if err != nil {
		return nil, err
	}
	if len(iv) != blockSize {
		return nil, qmp.Errorf("IV should be %d bytes in length not %d", blockSize, len(iv))
	}
	if s.format == Base64 {
		if data, err = decodeBase64(data); err != nil {
			return nil, err
		}
	}
	if len(data)%blockSize != 0 {
		return nil, qmp.Errorf("Length %d must be a multiple of block size %d", len(data), blockSize)
	}
	if len(data) == 0 {
		return nil, qmp.Errorf("Length 0 must be a multiple of block size %d, and not empty", blockSize)
	}
	block, err := aes.NewCipher(master.value)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	n := int(plain[len(plain)-1])
	if n == 0 || n > blockSize || !bytes.Equal(plain[len(plain)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, qmp.Errorf("Incorrect number of padding bytes (%d) found on decrypted data", n)
	}
	return plain[:len(plain)-n], nil
}

// decodeBase64 decodes what may be broken over lines, and of whose last group
// the padding may be missing.
func decodeBase64(text []byte) ([]byte, error) {
	s := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, string(text))
	for _, c := range []byte(s) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '=') {
			return nil, qmp.Errorf("Base64 data contains invalid characters")
		}
	}
	s = strings.TrimRight(s, "=")
	out, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return nil, qmp.Errorf("Base64 data cannot be decoded: %w", err)
	}
	return out, nil
}

func init() {
	str := func(name string, field func(*Secret) *string) object.Property {
		return object.As("string", object.Str(name, field, "", ""))
	}
	object.Register(object.Type{Name: "secret_common", Abstract: true})
	object.Register(object.Type{
		Name: "secret", Parent: "secret_common", UserCreatable: true, Description: "a password or a key",
		New: func() object.Object { return &Secret{} },
		Props: []object.Property{
			object.Getter("loaded", "bool", func(s *Secret) any { return s.loaded }, ""),
			object.Enum("format", "QCryptoSecretFormat", []Format{Raw, Base64}, func(s *Secret) *Format { return &s.format }, Raw, ""),
			str("keyid", func(s *Secret) *string { return &s.keyID }),
			str("iv", func(s *Secret) *string { return &s.iv }),
			emptyData(str("data", func(s *Secret) *string { return &s.data })),
			str("file", func(s *Secret) *string { return &s.file }),
		},
	})
}

// emptyData lets an empty secret be given: it differs from none.
func emptyData(p object.Property) object.Property {
	set := p.Set
	p.Default = nil
	p.Set = func(o object.Object, v any) error {
		o.(*Secret).given = true
		return set(o, v)
	}
	return p
}
