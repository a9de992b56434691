package sector

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Vectors 1, 2 and 10 of IEEE 1619-2007's appendix B.
func TestXTSVectors(t *testing.T) {
	var count [512]byte
	for i := range count {
		count[i] = byte(i)
	}
	for _, v := range []struct {
		spec      Spec
		key       string
		sector    uint64
		data, out string // out: how it begins
	}{
		{Spec{"aes-128", "xts", "plain64", ""}, strings.Repeat("00", 32), 0, strings.Repeat("00", 32),
			"917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e"},
		{Spec{"aes-128", "xts", "plain64", ""}, strings.Repeat("11", 16) + strings.Repeat("22", 16), 0x3333333333, strings.Repeat("44", 32),
			"c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0"},
		{Spec{"aes-256", "xts", "plain64", ""}, "2718281828459045235360287471352662497757247093699959574966967627" +
			"3141592653589793238462643383279502884197169399375105820974944592", 0xff, hex.EncodeToString(count[:]),
			"1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"},
	} {
		c, err := New(&v.spec, unhex(t, v.key))
		if err != nil {
			t.Fatal(err)
		}
		p := unhex(t, v.data)
		c.Encrypt(v.sector, p)
		if got := hex.EncodeToString(p); !strings.HasPrefix(got, v.out) {
			t.Errorf("%s of sector %#x gives %s, not %s", v.spec.Cipher, v.sector, got[:len(v.out)], v.out)
		}
		c.Decrypt(v.sector, p)
		if hex.EncodeToString(p) != v.data {
			t.Errorf("%s of sector %#x does not come back", v.spec.Cipher, v.sector)
		}
	}
}

// Whatever the cipher, a range is the same as its sectors one by one, and comes back.
func TestSectors(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{1})
	for _, s := range []Spec{
		{"aes-128", "xts", "plain", ""}, {"aes-192", "cbc", "plain64", ""}, {"aes-256", "cbc", "essiv", "sha256"}, {"aes-256", "ecb", "", ""},
		{"aes-128", "xts", "essiv", "sha256"}, {"twofish-256", "xts", "plain64", ""}, {"twofish-128", "cbc", "plain", ""},
		{"cast5-128", "cbc", "plain64", ""}, {"cast5-128", "ecb", "plain64", ""},
	} {
		n, err := s.KeySize()
		if err != nil {
			t.Fatal(err)
		}
		key := make([]byte, n)
		_, _ = rnd.Read(key)
		c, err := New(&s, key)
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 7*Size+Size/2)
		_, _ = rnd.Read(data)
		whole, parts := bytes.Clone(data), bytes.Clone(data)
		const first = 1<<32 - 3
		c.Encrypt(first, whole)
		for i := 0; i < len(parts); i += Size {
			c.Encrypt(first+uint64(i/Size), parts[i:min(i+Size, len(parts))])
		}
		if !bytes.Equal(whole, parts) {
			t.Errorf("%v: a range is not the same as its sectors", s)
		}
		if bytes.Equal(whole, data) {
			t.Errorf("%v: nothing is encrypted", s)
		}
		if s.IVGen == "plain" != (bytes.Equal(encrypted(c, 0), encrypted(c, 1<<32))) && s.Mode != "ecb" {
			t.Errorf("%v: sector numbers have another width", s)
		}
		c.Decrypt(first, whole)
		if !bytes.Equal(whole, data) {
			t.Errorf("%v: it does not come back", s)
		}
	}
}

func encrypted(c *Cipher, sector uint64) []byte {
	p := make([]byte, Size)
	c.Encrypt(sector, p)
	return p
}

// The standard library's CBC does the same.
func TestCBC(t *testing.T) {
	key := []byte("0123456789abcdef")
	c, err := New(&Spec{"aes-128", "cbc", "plain64", ""}, key)
	if err != nil {
		t.Fatal(err)
	}
	want, iv := make([]byte, Size), make([]byte, 16)
	binary.LittleEndian.PutUint64(iv, 1234)
	b, _ := aes.NewCipher(key)
	cipher.NewCBCEncrypter(b, iv).CryptBlocks(want, want)
	if !bytes.Equal(encrypted(c, 1234), want) {
		t.Error("CBC gives something else")
	}
}

func TestUnsupported(t *testing.T) {
	for _, v := range []struct {
		spec Spec
		want string
	}{
		{Spec{"serpent-256", "xts", "plain64", ""}, "Cipher algorithm 'serpent-256' is not supported"},
		{Spec{"des", "cbc", "plain64", ""}, "Cipher algorithm 'des' is not supported"},
		{Spec{"aes-512", "xts", "plain64", ""}, "Cipher algorithm 'aes-512' is not supported"},
		{Spec{"cast5-128", "xts", "plain64", ""}, "Cipher mode 'xts' needs a cipher with blocks of 16 bytes: 'cast5-128' has 8"},
		{Spec{"aes-256", "ctr", "plain64", ""}, "Cipher mode 'ctr' is not supported"},
		{Spec{"aes-256", "cbc", "benbi", ""}, "IV generator 'benbi' is not supported"},
		{Spec{"aes-256", "cbc", "essiv", "md5"}, "Hash algorithm 'md5' is not supported"},
		{Spec{"aes-256", "cbc", "essiv", "sha1"}, "No aes cipher with key size 20 available, which IV generator 'essiv' with hash 'sha1' needs"},
	} {
		if _, err := v.spec.KeySize(); err == nil || err.Error() != v.want {
			t.Errorf("%v: %v, want %s", v.spec, err, v.want)
		}
		if _, err := New(&v.spec, make([]byte, 32)); err == nil || err.Error() != v.want {
			t.Errorf("%v: %v, want %s", v.spec, err, v.want)
		}
	}
	if _, err := New(&Spec{"aes-256", "xts", "plain64", ""}, make([]byte, 32)); err == nil {
		t.Error("a key that is too short is taken")
	}
}

func TestAllocs(t *testing.T) {
	for _, s := range []Spec{{"aes-256", "xts", "plain64", ""}, {"aes-256", "cbc", "essiv", "sha256"}} {
		n, _ := s.KeySize()
		c, err := New(&s, make([]byte, n))
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 8*Size)
		if n := testing.AllocsPerRun(100, func() { c.Encrypt(0, p); c.Decrypt(0, p) }); n > 0 {
			t.Errorf("%v allocates %v times", s, n)
		}
	}
}

func BenchmarkSectors(b *testing.B) {
	for _, s := range []Spec{{"aes-128", "xts", "plain64", ""}, {"aes-256", "xts", "plain64", ""}, {"aes-256", "cbc", "essiv", "sha256"}} {
		n, _ := s.KeySize()
		c, err := New(&s, make([]byte, n))
		if err != nil {
			b.Fatal(err)
		}
		p := make([]byte, 64<<10)
		for name, fn := range map[string]func(uint64, []byte){"encrypt": c.Encrypt, "decrypt": c.Decrypt} {
			b.Run(string(s.Cipher)+"-"+string(s.Mode)+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(p)))
				for b.Loop() {
					fn(0, p)
				}
			})
		}
	}
}
