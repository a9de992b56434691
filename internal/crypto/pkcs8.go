package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"hash"
	"strings"
)

// errDecrypt is what a wrong password looks like, among others.
var errDecrypt = errors.New("Decryption has failed.")

// decryptKey returns a private key in PEM form without encryption, which is that
// of PKCS#8 with PBES2 (RFC 8018).
func decryptKey(data, password []byte) ([]byte, error) {
	block, rest := pem.Decode(data)
	for block != nil && !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil:
		return data, nil // whoever parses it says so
	case block.Headers["DEK-Info"] != "":
		return nil, errors.New("the key is encrypted in an old form: convert it with openssl pkcs8 -topk8")
	case block.Type != "ENCRYPTED PRIVATE KEY":
		return data, nil
	}
	der, err := decryptPKCS8(block.Bytes, password)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2 struct {
	KDF    pkix.AlgorithmIdentifier
	Cipher pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
)

// hashes are the pseudo-random functions, by object identifier.
var hashes = map[string]func() hash.Hash{
	"":                       sha1.New, // the default
	"1.2.840.113549.2.7":     sha1.New,
	"1.2.840.113549.2.9":     sha256.New,
	"1.2.840.113549.2.10":    sha512.New384,
	"1.2.840.113549.2.11":    sha512.New,
	"2.16.840.1.101.3.4.2.1": sha256.New,
}

// ciphers are those of keys, in CBC mode, by object identifier.
var ciphers = map[string]struct {
	keySize int
	make    func([]byte) (cipher.Block, error)
}{
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
}

// maxIterations bounds the time that a file can cost.
const maxIterations = 2_000_000

func decryptPKCS8(der, password []byte) ([]byte, error) {
	var key encryptedKey
	var scheme pbes2
	var kdf pbkdf2Params
	var iv []byte
	if _, err := asn1.Unmarshal(der, &key); err != nil {
		return nil, err
	}
	if !key.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, errors.New("the key is encrypted by a scheme that is not supported (PBES2 is)")
	}
	if _, err := asn1.Unmarshal(key.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, err
	}
	if !scheme.KDF.Algorithm.Equal(oidPBKDF2) {
		return nil, errors.New("the key is encrypted by a scheme that is not supported (PBES2 with PBKDF2 is)")
	}
	if _, err := asn1.Unmarshal(scheme.KDF.Parameters.FullBytes, &kdf); err != nil {
		return nil, err
	}
	c, ok := ciphers[scheme.Cipher.Algorithm.String()]
	prf, okPRF := hashes[kdf.PRF.Algorithm.String()]
	if !ok || !okPRF {
		return nil, errors.New("the key is encrypted with a cipher that is not supported (AES-CBC and 3DES-CBC are)")
	}
	if _, err := asn1.Unmarshal(scheme.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, err
	}
	if kdf.Iterations < 1 || kdf.Iterations > maxIterations {
		return nil, errors.New("the key's number of iterations is out of range")
	}
	secret, err := pbkdf2.Key(prf, string(password), kdf.Salt, kdf.Iterations, c.keySize)
	if err != nil {
		return nil, err
	}
	block, err := c.make(secret)
	if err != nil {
		return nil, err
	}
	n := block.BlockSize()
	if len(iv) != n || len(key.Data) == 0 || len(key.Data)%n != 0 {
		return nil, errDecrypt
	}
	plain := make([]byte, len(key.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, key.Data)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > n {
		return nil, errDecrypt
	}
	plain = plain[:len(plain)-pad]
	if _, err := x509.ParsePKCS8PrivateKey(plain); err != nil {
		return nil, errDecrypt
	}
	return plain, nil
}
