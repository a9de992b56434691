package luks

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ripemd160" //lint:ignore SA1019 images of others use it

	"govmd/internal/crypto/sector"
)

// memory is storage of a fixed size.
type memory []byte

func (m memory) Pread(off int64, p []byte) error {
	if off > int64(len(m)) || copy(p, m[off:]) < len(p) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (m memory) Pwrite(off int64, p []byte) error {
	if off > int64(len(m)) || copy(m[off:], p) < len(p) {
		return io.ErrShortWrite
	}
	return nil
}

func (memory) Flush() error { return nil }

var background = context.Background()

func TestDerive(t *testing.T) {
	for name, fn := range map[string]func() hash.Hash{
		"sha1": sha1.New, "sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New, "ripemd160": ripemd160.New,
	} {
		for _, pass := range []string{"", "short", strings.Repeat("long", 50)} {
			for _, n := range []int{1, 20, 64, 65} {
				want, err := pbkdf2.Key(fn, pass, []byte("salt"), 77, n)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := derive(background, fn, []byte(pass), []byte("salt"), 77, n); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %d bytes from %.10q: %x (%v), not %x", name, n, pass, got, err, want)
				}
			}
		}
		if m := newMAC(fn, nil); m.state == nil && name != "ripemd160" {
			t.Errorf("%s is computed the slow way", name)
		}
	}
}

func TestDeriveEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(background)
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := derive(ctx, sha256.New, nil, nil, maxIterations, 64); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
}

func TestSplitMerge(t *testing.T) {
	key := []byte("a key whose size is not a hash's") // and then some
	for _, fn := range []func() hash.Hash{sha1.New, sha256.New} {
		p := split(fn(), key, 10)
		if bytes.Contains(p, key) {
			t.Error("the key is in a stripe")
		}
		if got := merge(fn(), p, len(key)); !bytes.Equal(got, key) {
			t.Errorf("it comes back as %q", got)
		}
		p[3] ^= 1
		if got := merge(fn(), p, len(key)); bytes.Equal(got, key) {
			t.Error("a changed stripe gives the same key")
		}
	}
}

// made makes a small header, quickly.
func made(t testing.TB, spec sector.Spec, pass string) (*Header, memory, []byte) {
	h, key, err := New(background, &spec, "sha256", time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	m := make(memory, h.PayloadOffset)
	if err := h.SetKey(background, m, 0, key, []byte(pass), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := h.Write(m); err != nil {
		t.Fatal(err)
	}
	return h, m, key
}

var plainSpec = sector.Spec{Cipher: "aes-128", Mode: "cbc", IVGen: "plain64"}

func TestSlots(t *testing.T) {
	// Its key material ends within a sector, at which QEMU gives up.
	_, m, key := made(t, sector.Spec{Cipher: "aes-192", Mode: "cbc", IVGen: "plain64"}, "first")
	h, err := Read(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.SetKey(background, m, 5, key, []byte("second"), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	h.Disable(0)
	if err := errors.Join(h.Write(m), h.Erase(m, 0)); err != nil {
		t.Fatal(err)
	}
	if h, err = Read(m); err != nil {
		t.Fatal(err)
	}
	if got, slot, err := h.Unlock(background, m, []byte("second")); err != nil || slot != 5 || !bytes.Equal(got, key) {
		t.Errorf("slot %d opens to %x: %v", slot, got, err)
	}
	if _, _, err := h.Unlock(background, m, []byte("first")); err != ErrPassphrase {
		t.Errorf("the key that was erased: %v", err)
	}
}

// The parser says which field is wrong.
func TestHostile(t *testing.T) {
	_, m, _ := made(t, plainSpec, "x")
	for _, v := range []struct {
		at   int
		data string
		want string
	}{
		{0, "X", "Volume is not in LUKS format"},
		{7, "\x02", "LUKS version 2 is not supported"},
		{8, strings.Repeat("a", 32), "LUKS header cipher-name is not NUL terminated"},
		{40, strings.Repeat("a", 32), "LUKS header cipher-mode is not NUL terminated"},
		{72, strings.Repeat("a", 32), "LUKS header hash-spec is not NUL terminated"},
		{8, "serpent", "Cipher algorithm 'serpent-128' is not supported"},
		{40, "lrw-benbi", "Cipher mode 'lrw' is not supported"},
		{40, "cbc-benbi\x00", "IV generator 'benbi' is not supported"},
		{40, "cbc-essiv:sha1\x00", "No aes cipher with key size 20 available, which IV generator 'essiv' with hash 'sha1' needs"},
		{72, "whirlpool", "Hash algorithm 'whirlpool' is not supported"},
		{108, "\x80\x00\x00\x10", "LUKS header key-bytes 2147483664 is too large"},
		{108, "\x00\x00\x00\x00", "Cipher algorithm 'aes-0' is not supported"},
		{104, "\x00\x00\x00\x07", "LUKS payload-offset 7 is within the header"},
		{104, "\x00\x00\x00\x08", "LUKS key slot 0: key-material-offset 8 lets it overlap the payload"},
		{164, "\x00\x00\x00\x00", "LUKS header mk-digest-iter 0 is not between 1 and 1073741824"},
		{164, "\xff\xff\xff\xff", "LUKS header mk-digest-iter 4294967295 is not between 1 and 1073741824"},
		{208, "zork", "LUKS key slot 0: active 0x7a6f726b is neither"},
		{212, "\x00\x00\x00\x00", "LUKS key slot 0: iterations 0 is not between 1 and 1073741824"},
		{212, "\xff\xff\xff\xff", "LUKS key slot 0: iterations 4294967295 is not between 1 and 1073741824"},
		{248, "\x00\x00\x00\x01", "LUKS key slot 0: key-material-offset 1 is within the header"},
		{248, "\xff\xff\xff\xff", "LUKS key slot 0: key-material-offset 4294967295 lets it overlap the payload"},
		{252, "\xff\xff\xff\xff", "LUKS key slot 0: stripes 4294967295, not 4000"},
		{296, "\x00\x00\x00\x08", "LUKS key slots 0 and 1 overlap"},
	} {
		p := bytes.Clone(m[:HeaderSize])
		copy(p[v.at:], v.data)
		if _, err := Parse(p); err == nil || err.Error() != v.want {
			t.Errorf("%q at %d: %v, want %s", v.data, v.at, err, v.want)
		}
	}
	if _, err := Parse(m[:100]); err == nil {
		t.Error("a short header is taken")
	}
	if _, err := Read(m[:100]); err == nil {
		t.Error("a short file is taken")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []sector.Spec{plainSpec, {Cipher: "aes-256", Mode: "cbc", IVGen: "essiv", IVHash: "sha256"}} {
		h := &Header{Spec: s, Hash: "sha256", Iterations: 1000, UUID: "a-b-c"}
		h.KeySize, _ = s.KeySize()
		h.layOut()
		h.Slots[1].Active, h.Slots[1].Iterations = true, maxIterations
		f.Add(h.encode())
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		h, err := Parse(p)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error says nothing")
			}
			return
		}
		again, err := Parse(h.encode())
		if err != nil {
			t.Fatalf("what was parsed is not taken again: %v", err)
		}
		if *again != *h {
			t.Errorf("%+v comes back as %+v", h, again)
		}
		// Key material that is not there is an error, and a time limit holds.
		ctx, cancel := context.WithCancel(background)
		cancel()
		if key, _, err := h.Unlock(ctx, memory(p), nil); key != nil || err == nil {
			t.Errorf("it opens: %v", err)
		}
	})
}

// file is a file as storage.
type file struct{ *os.File }

func (f file) Pread(off int64, p []byte) error  { _, err := f.ReadAt(p, off); return err }
func (f file) Pwrite(off int64, p []byte) error { _, err := f.WriteAt(p, off); return err }

func (f file) Flush() error { return nil }

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil || bytes.Contains(out, []byte("failed")) {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// QEMU opens what this package makes, whatever is chosen.
func TestQEMUOpens(t *testing.T) {
	for _, v := range []struct {
		spec sector.Spec
		hash sector.Hash
	}{
		{sector.Spec{Cipher: "aes-256", Mode: "xts", IVGen: "plain64"}, "sha256"},
		{sector.Spec{Cipher: "aes-192", Mode: "xts", IVGen: "plain"}, "sha1"},
		{sector.Spec{Cipher: "aes-128", Mode: "cbc", IVGen: "essiv", IVHash: "sha256"}, "sha512"},
		{sector.Spec{Cipher: "aes-256", Mode: "ecb", IVGen: "plain64"}, "ripemd160"},
		{sector.Spec{Cipher: "twofish-256", Mode: "xts", IVGen: "plain64"}, "sha224"},
		{sector.Spec{Cipher: "twofish-128", Mode: "cbc", IVGen: "plain"}, "sha384"},
		{sector.Spec{Cipher: "cast5-128", Mode: "cbc", IVGen: "plain64"}, "sha256"},
	} {
		h, key, err := New(background, &v.spec, v.hash, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "ours")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(h.SetKey(background, file{f}, 3, key, []byte("another"), time.Millisecond), h.Write(file{f}),
			f.Truncate(h.PayloadOffset+64<<10), f.Close())
		if err != nil {
			t.Fatal(err)
		}
		check(t, name, "another", v.spec)
	}
}

// What QEMU makes is opened. (One image is enough: it takes QEMU some seconds to
// find out how fast the machine is.)
func TestOpensQEMUs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "theirs")
	args := []string{"create", "-q", "-f", "luks", "--object", "secret,id=s,data=a pass", "-o", "key-secret=s,iter-time=10", name, "64k"}
	for range 5 { // on a machine that is busy it may not find out
		out, err := exec.Command("qemu-img", args...).CombinedOutput()
		if err == nil {
			break
		}
		if !bytes.Contains(out, []byte("Unable to get accurate CPU usage")) {
			t.Fatalf("qemu-img: %v: %s", err, out)
		}
	}
	check(t, name, "a pass", sector.Spec{Cipher: "aes-256", Mode: "xts", IVGen: "plain64"})
}

// check has qemu-io write to an image and looks at what it has written.
func check(t *testing.T, name, pass string, spec sector.Spec) {
	t.Helper()
	run(t, "qemu-io", "--object", "secret,id=s,data="+pass, "--image-opts", "driver=luks,key-secret=s,file.filename="+name, "-c", "write -P 0xa5 0 64k")
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := Read(file{f})
	if err != nil {
		t.Fatal(err)
	}
	if h.Spec != spec {
		t.Errorf("%v is read as %v", spec, h.Spec)
	}
	key, _, err := h.Unlock(background, file{f}, []byte(pass))
	if err != nil {
		t.Fatalf("%v: %v", spec, err)
	}
	c, err := sector.New(&h.Spec, key)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 64<<10)
	if err := (file{f}).Pread(h.PayloadOffset, p); err != nil {
		t.Fatal(err)
	}
	c.Decrypt(0, p)
	if !bytes.Equal(p, bytes.Repeat([]byte{0xa5}, len(p))) {
		t.Errorf("%v: qemu-io's data are %x...", spec, p[:16])
	}
	if _, _, err := h.Unlock(background, file{f}, []byte("wrong")); err != ErrPassphrase {
		t.Errorf("%v: a wrong passphrase: %v", spec, err)
	}
}

func BenchmarkDerive(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := derive(background, sha256.New, []byte("pass"), []byte("salt"), 100_000, 64); err != nil {
			b.Fatal(err)
		}
	}
}
