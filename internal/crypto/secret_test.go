package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/fd"
	"govmd/internal/object"
)

// encrypt is the other side of what a secret does with a key.
func encrypt(t testing.TB, key, iv, plain []byte) string {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	n := blockSize - len(plain)%blockSize
	data := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)
	return base64.StdEncoding.EncodeToString(data)
}

func TestSecrets(t *testing.T) {
	key := bytes.Repeat([]byte("k1"), 16)
	iv := bytes.Repeat([]byte{7}, 16)
	ivText := base64.StdEncoding.EncodeToString(iv)
	dir := t.TempDir()
	file := filepath.Join(dir, "s")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var s object.Collection
	defer s.Close()
	if err := s.Parse("secret,id=key,format=base64,data=" + base64.StdEncoding.EncodeToString(key)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ options, value, err string }{
		{"data=letmein", "letmein", ""},
		{"data=", "", ""},
		{"format=base64,data=YWJj", "abc", ""},
		{"format=base64,data=YWJjZA=", "abcd", ""},
		{"format=base64,data=YW\nJj", "abc", ""},
		{"file=" + file, "from a file\n", ""},
		{"keyid=key,iv=" + ivText + ",format=base64,data=" + encrypt(t, key, iv, []byte("hidden")), "hidden", ""},
		{"keyid=key,iv=" + ivText + ",format=base64,data=" + encrypt(t, key, iv, bytes.Repeat([]byte("x"), 32)), string(bytes.Repeat([]byte("x"), 32)), ""},
		{"", "", "Either 'file' or 'data' must be provided"},
		{"data=x,file=" + file, "", "'file' and 'data' are mutually exclusive"},
		{"data=Y!Jj,format=base64", "", "Base64 data contains invalid characters"},
		{"file=" + dir + "/none", "", "Unable to read " + dir + "/none: Failed to open file “" + dir + "/none”: No such file or directory"},
		{"data=x,keyid=none", "", "No secret with id 'none'"},
		{"data=x,keyid=key", "", "IV is required to decrypt secret"},
		{"data=x,keyid=key,iv=AAAA", "", "IV should be 16 bytes in length not 3"},
		{"data=abc,keyid=key,iv=" + ivText, "", "Length 3 must be a multiple of block size 16"},
		{"data=,keyid=key,iv=" + ivText, "", "Length 0 must be a multiple of block size 16, and not empty"},
	} {
		text := "secret,id=s"
		if c.options != "" {
			text += "," + c.options
		}
		err := s.Parse(text)
		switch {
		case c.err != "":
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: %v, want %s", text, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", text, err)
		default:
			if got := string(s.Find("s").(*Secret).Bytes()); got != c.value {
				t.Errorf("%s: %q, want %q", text, got, c.value)
			}
		}
		_ = s.Delete("s") // it may not be there
	}
}

// Whatever is decrypted and decoded, there is a secret or an error.
func FuzzSecret(f *testing.F) {
	f.Add("YWJj", "AAAAAAAAAAAAAAAAAAAAAA==", true)
	f.Add("", "", false)
	f.Fuzz(func(t *testing.T, data, iv string, encrypted bool) {
		var s object.Collection
		_ = s.Parse("secret,id=key,data=0123456789abcdef0123456789abcdef")
		x := &Secret{data: data, given: true, iv: iv, format: Base64}
		if encrypted {
			x.keyID = "key"
		}
		if err := x.Complete(&s); err == nil && !x.loaded {
			t.Error("neither secret nor error")
		}
	})
}

// checkEncrypted creates a secret from hexadecimal key and iv.
func checkEncrypted(t *testing.T, key, iv, data, want string) {
	t.Helper()
	raw := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, raw(key), 0o600); err != nil {
		t.Fatal(err)
	}
	var s object.Collection
	defer s.Close()
	if err := s.Parse("secret,id=k,file=" + file); err != nil {
		t.Fatal(err)
	}
	err := s.Parse("secret,id=s,format=base64,keyid=k,iv=" + base64.StdEncoding.EncodeToString(raw(iv)) + ",data=" + data)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(s.Find("s").(*Secret).Bytes()); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A secret can be in a file that a client has handed over.
func TestSecretFromDescriptor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(file, []byte("passed on"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var table fd.Table
	defer table.Close()
	id := int64(7)
	if _, err := table.Add(&id, n, nil); err != nil {
		t.Fatal(err)
	}
	var s object.Collection
	defer s.Close()
	object.Provide(&s, &table)
	if err := s.Parse("secret,id=s,file=/dev/fdset/7"); err != nil {
		t.Fatal(err)
	}
	if got := string(s.Find("s").(*Secret).Bytes()); got != "passed on" {
		t.Errorf("%q", got)
	}
	if err := s.Parse("secret,id=t,file=/dev/fdset/8"); err == nil {
		t.Error("a set that is not there can be read")
	}
}
