package control

import (
	"context"
	"os"
	"strings"
	"testing"

	"govmd/internal/qmp"
)

// encryptedImages makes d.luks and d.qcow2, which the passphrase "horse" opens, and has
// the graph know it as secret s.
func encryptedImages(r *rig) {
	r.Helper()
	r.graph.Env().Secret = func(string) ([]byte, error) { return []byte("horse"), nil }
	for name, keys := range map[string]string{
		"luks": "key-secret=s iter-time=1", "qcow2": "encrypt.format=luks encrypt.key-secret=s encrypt.iter-time=1",
	} {
		o := &qmp.Object{}
		o.Set("size", "1M")
		for _, key := range strings.Fields(keys) {
			k, v, _ := strings.Cut(key, "=")
			o.Set(k, v)
		}
		if err := r.graph.CreateImage(context.Background(), name, "d."+name, o, qmp.Keyval); err != nil {
			r.Fatal(err)
		}
	}
}

func (r *rig) keyMissing(node string) bool {
	r.Helper()
	n := r.graph.Node(node)
	if n == nil {
		r.Fatalf("there is no node %s", node)
	}
	d := describe(n, nil, true)
	if !d.Encrypted {
		r.Errorf("%s is not encrypted", node)
	}
	return d.KeyMissing
}

// An image is given its key when it is opened, or by block_passwd.
func TestPassphrase(t *testing.T) {
	r := newRig(t)
	encryptedImages(r)
	for format, option := range map[string]string{"luks": `"key-secret": "s"`, "qcow2": `"encrypt": {"format": "luks", "key-secret": "s"}`} {
		file := `"file": {"driver": "file", "filename": "d.` + format + `"}`
		head := `{"driver": "` + format + `", "node-name": "n", `
		r.ok("blockdev-add", head+file+`, `+option+`}`)
		if r.keyMissing("n") {
			t.Errorf("%s: the options' key is not used", format)
		}
		r.fails("block_passwd", `{"node-name": "n", "password": "horse"}`, "Device 'n' has its passphrase already")
		r.ok("blockdev-del", `{"node-name": "n"}`)

		// On a node that is there its key is tried beside the lane.
		r.ok("blockdev-add", `{"driver": "file", "filename": "d.`+format+`", "node-name": "f"}`)
		r.ok("blockdev-add", head+`"file": "f", `+option+`}`)
		if r.keyMissing("n") {
			t.Errorf("%s above a node: the options' key is not used", format)
		}
		r.ok("blockdev-del", `{"node-name": "n"}`)
		r.graph.Env().Secret = func(string) ([]byte, error) { return []byte("wrong"), nil }
		r.fails("blockdev-add", head+`"file": "f", `+option+`}`, "Invalid password, cannot unlock any keyslot")
		r.graph.Env().Secret = func(string) ([]byte, error) { return []byte("horse"), nil }
		if r.graph.Node("n") != nil {
			t.Errorf("%s: the node is there all the same", format)
		}

		r.ok("blockdev-add", head+`"file": "f"}`)
		if !r.keyMissing("n") {
			t.Errorf("%s: it has a key from nowhere", format)
		}
		r.fails("block_passwd", `{"node-name": "n", "password": "wrong"}`, "Invalid password, cannot unlock any keyslot")
		r.ok("block_passwd", `{"node-name": "n", "password": "horse"}`)
		if r.keyMissing("n") {
			t.Errorf("%s: the key is missing after block_passwd", format)
		}
		r.ok("blockdev-del", `{"node-name": "n"}`)
		r.fails("block_passwd", `{"node-name": "f", "password": "horse"}`, "Device 'f' is not encrypted")
		r.ok("blockdev-del", `{"node-name": "f"}`)
	}
}

// A key that is missing further down the chain is found there.
func TestPassphraseOfBackingFile(t *testing.T) {
	r := newRig(t)
	encryptedImages(r)
	r.sh("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "d.qcow2", "-F", "qcow2", "top.qcow2", "1M")
	r.ok("blockdev-add", `{"driver": "qcow2", "node-name": "top", "file": {"driver": "file", "filename": "top.qcow2"}}`)
	top := r.graph.Node("top")
	if top.Locked() != top.Backing() {
		t.Fatal("the backing file is not found to be locked")
	}
	r.ok("block_passwd", `{"node-name": "top", "password": "horse"}`)
	if top.Locked() != nil {
		t.Error("it is locked still")
	}
	r.ok("blockdev-del", `{"node-name": "top"}`)
}

// The weak method is for image tools.
func TestWeakEncryption(t *testing.T) {
	r := newRig(t)
	encryptedImages(r)
	p, err := os.ReadFile("d.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	p[35] = 1 // crypt_method
	if err := os.WriteFile("aes.qcow2", p, 0o600); err != nil {
		t.Fatal(err)
	}
	got := r.call("blockdev-add", `{"driver": "qcow2", "node-name": "n", "file": {"driver": "file", "filename": "aes.qcow2"}}`)
	if !strings.Contains(got, "! Use of AES-CBC encrypted qcow2 images is not supported") {
		t.Error(got)
	}
	r.graph.Env().WeakEncryption = true
	r.ok("blockdev-add", `{"driver": "qcow2", "node-name": "n", "file": {"driver": "file", "filename": "aes.qcow2"}}`)
	if n := r.graph.Node("n"); n == nil || !n.Info().KeyMissing {
		t.Error("it is not there, or open")
	}
}
