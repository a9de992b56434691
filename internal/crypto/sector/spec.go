// Package sector encrypts disks sector by sector, as LUKS and dm-crypt do: each
// sector of 512 bytes by itself, with an initialization vector made of its number.
package sector

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/cast5"     //lint:ignore SA1019 images of others use it
	"golang.org/x/crypto/ripemd160" //lint:ignore SA1019 images of others use it
	"golang.org/x/crypto/twofish"   //lint:ignore SA1019 images of others use it
)

// Algorithm is a block cipher with the size of its key in bits.
type Algorithm string

// EnumValues lists all that have a name; New refuses those that are not supported.
func (Algorithm) EnumValues() []string {
	return []string{
		"aes-128", "aes-192", "aes-256", "des", "3des", "cast5-128", "serpent-128", "serpent-192", "serpent-256",
		"twofish-128", "twofish-192", "twofish-256",
	}
}

// Mode is how the blocks of a sector are chained.
type Mode string

// EnumValues lists all that have a name.
func (Mode) EnumValues() []string { return []string{"ecb", "cbc", "xts", "ctr"} }

// IVGen is how a sector's number becomes an initialization vector.
type IVGen string

// EnumValues lists the generators: the number as 32 or 64 bits in little-endian
// order, or those 64 bits encrypted under a hash of the key.
func (IVGen) EnumValues() []string { return []string{"plain", "plain64", "essiv"} }

// Hash is a hash function.
type Hash string

// EnumValues lists all that have a name.
func (Hash) EnumValues() []string {
	return []string{"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"}
}

var hashes = map[Hash]func() hash.Hash{
	"sha1": sha1.New, "sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
	"ripemd160": ripemd160.New,
}

// New returns what makes hashes, or an error that says that there is none.
func (h Hash) New() (func() hash.Hash, error) {
	if fn := hashes[h]; fn != nil {
		return fn, nil
	}
	return nil, fmt.Errorf("Hash algorithm '%s' is not supported", h)
}

// family is a block cipher with keys of any of its sizes.
type family struct {
	name  string
	block int   // bytes
	keys  []int // bytes
	make  func(key []byte) (cipher.Block, error)
}

var families = []family{
	{"aes", aes.BlockSize, []int{16, 24, 32}, aes.NewCipher},
	{"twofish", twofish.BlockSize, []int{16, 24, 32}, func(key []byte) (cipher.Block, error) { return twofish.NewCipher(key) }},
	{"cast5", cast5.BlockSize, []int{cast5.KeySize}, func(key []byte) (cipher.Block, error) { return cast5.NewCipher(key) }},
}

// Spec says how sectors are encrypted.
type Spec struct {
	Cipher Algorithm
	Mode   Mode
	IVGen  IVGen // for modes other than ecb
	IVHash Hash  // for essiv
}

// Family returns the name of the cipher without the size of its key.
func (s *Spec) Family() string {
	name, _, _ := strings.Cut(string(s.Cipher), "-")
	return name
}

// AlgorithmOf returns the algorithm of a family for a key of n bytes, of which
// mode xts uses two.
func AlgorithmOf(name string, mode Mode, n int) Algorithm {
	if mode == "xts" {
		n /= 2
	}
	return Algorithm(fmt.Sprintf("%s-%d", name, 8*n))
}

// cipher returns the family of the cipher and the size of a key in bytes.
func (s *Spec) cipher() (*family, int, error) {
	for i := range families {
		for _, n := range families[i].keys {
			if AlgorithmOf(families[i].name, "", n) == s.Cipher {
				return &families[i], n, nil
			}
		}
	}
	return nil, 0, fmt.Errorf("Cipher algorithm '%s' is not supported", s.Cipher)
}

// KeySize returns how many bytes the key has, or an error that says what of s is
// not supported.
func (s *Spec) KeySize() (int, error) {
	f, n, err := s.cipher()
	if err != nil {
		return 0, err
	}
	switch s.Mode {
	case "xts":
		if f.block != aes.BlockSize {
			return 0, fmt.Errorf("Cipher mode 'xts' needs a cipher with blocks of 16 bytes: '%s' has %d", s.Cipher, f.block)
		}
		n *= 2
	case "cbc":
	case "ecb":
		return n, nil
	default:
		return 0, fmt.Errorf("Cipher mode '%s' is not supported", s.Mode)
	}
	switch s.IVGen {
	case "plain", "plain64":
	case "essiv":
		if _, err := s.essiv(f); err != nil {
			return 0, err
		}
	default:
		return 0, fmt.Errorf("IV generator '%s' is not supported", s.IVGen)
	}
	return n, nil
}

// essiv returns the hash that makes essiv's key: it is as long as a key of the cipher.
func (s *Spec) essiv(f *family) (func() hash.Hash, error) {
	fn, err := s.IVHash.New()
	if err != nil {
		return nil, err
	}
	size := fn().Size()
	for _, n := range f.keys {
		if n == size {
			return fn, nil
		}
	}
	return nil, fmt.Errorf("No %s cipher with key size %d available, which IV generator 'essiv' with hash '%s' needs", f.name, size, s.IVHash)
}
