package qcow2_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/encrypt"
	"govmd/internal/block/qcow2"
	"govmd/internal/crypto/sector"
	"govmd/internal/qmp"
)

const passphrase = "correct horse"

// secretEnv has one secret, "s".
func secretEnv() block.Env {
	return block.Env{WeakEncryption: true, Secret: func(id string) ([]byte, error) {
		if id != "s" {
			return nil, qmp.Errorf("No secret with id '%s'", id)
		}
		return []byte(passphrase), nil
	}}
}

func luksOptions(o encrypt.CreateOptions) *qcow2.CreateEncryption {
	o.KeySecret, o.IterTimeMS = ptr("s"), ptr(int64(1))
	return &qcow2.CreateEncryption{Format: "luks", Branch: &o}
}

var encrypted = []struct {
	name string
	o    qcow2.CreateOptions
}{
	{"luks", qcow2.CreateOptions{Encrypt: luksOptions(encrypt.CreateOptions{})}},
	{"cbc-512", qcow2.CreateOptions{ClusterSize: ptr(qmp.Size(512)), Encrypt: luksOptions(encrypt.CreateOptions{Mode: ptr(sector.Mode("cbc")), IVGen: ptr(sector.IVGen("essiv"))})}},
	{"v2", qcow2.CreateOptions{Version: ptr(qcow2.Version("v2")), ClusterSize: ptr(qmp.Size(4096)), Encrypt: luksOptions(encrypt.CreateOptions{})}},
	{"extl2", qcow2.CreateOptions{ExtendedL2: ptr(true), Encrypt: luksOptions(encrypt.CreateOptions{})}},
	{"metadata", qcow2.CreateOptions{Preallocation: ptr(qcow2.Prealloc("metadata")), Encrypt: luksOptions(encrypt.CreateOptions{})}},
	{"full", qcow2.CreateOptions{Preallocation: ptr(qcow2.Prealloc("full")), Encrypt: luksOptions(encrypt.CreateOptions{})}},
	{"aes", qcow2.CreateOptions{Encrypt: &qcow2.CreateEncryption{Format: "qcow", Branch: &qcow2.CreateAES{KeySecret: ptr("s")}}}},
}

// qemuImage is how QEMU's tools name an encrypted image.
func qemuImage(name string) []string {
	return []string{"--object", "secret,id=s,data=" + passphrase, "--image-opts", "driver=qcow2,encrypt.key-secret=s,file.filename=" + name}
}

// decrypted returns what QEMU reads from an image, which it checks.
func decrypted(t *testing.T, name string) []byte {
	t.Helper()
	qemuImg(t, append([]string{"check", "-q"}, qemuImage(name)...)...)
	raw := filepath.Join(t.TempDir(), "raw")
	qemuImg(t, append(append([]string{"convert", "-O", "raw"}, qemuImage(name)...), raw)...)
	p, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func openEncrypted(t *testing.T, name string) *disk {
	t.Helper()
	key := &qmp.Object{}
	key.Set("key-secret", "s")
	d := &disk{g: block.NewGraph(secretEnv())}
	o := &qmp.Object{}
	o.Set("driver", "qcow2")
	o.Set("encrypt", key)
	var err error
	if d.n, err = d.g.OpenImage(context.Background(), name, o, qmp.Keyval, block.Settings{Unmap: true, NoFlush: true}); err != nil {
		t.Fatal(err)
	}
	d.use(t)
	return d
}

// TestEncrypted writes at random to encrypted images, with snapshots and resizes,
// and has QEMU say what came of it; then the other way round.
func TestEncrypted(t *testing.T) {
	needQemu(t)
	for _, v := range encrypted {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			const size = 2<<20 + 512
			ctx := context.Background()
			name := filepath.Join(t.TempDir(), "disk.qcow2")
			o := v.o
			o.Size = size
			newImage(t, name, &o)
			m := newModel(size, uint64(len(v.name)))
			for round := range 3 {
				d := openEncrypted(t, name)
				if round == 0 {
					m.verify(t, d)
				}
				kept := bytes.Clone(m.data)
				s := d.n.Driver().(block.Snapshotter)
				if err := s.CreateSnapshot(ctx, &block.Snapshot{Name: "s"}); err != nil {
					t.Fatal(err)
				}
				for range 80 {
					m.step(t, d, clusterOf(&o))
				}
				m.verify(t, d)
				if round == 1 {
					if err := s.ApplySnapshot(ctx, s.Snapshots()[0].ID); err != nil {
						t.Fatal(err)
					}
					m.data = kept
					m.verify(t, d)
				}
				if err := s.DeleteSnapshot(ctx, s.Snapshots()[0].ID); err != nil {
					t.Fatal(err)
				}
				if round == 2 {
					m.data = append(m.data, make([]byte, 100<<10)...)
					if err := d.n.Truncate(ctx, int64(len(m.data)), true, block.PreallocOff, 0); err != nil {
						t.Fatal(err)
					}
				}
				d.close(t)
				if !bytes.Equal(decrypted(t, name), m.data) {
					t.Fatal("QEMU reads something else")
				}
			}
			file, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for off := 0; off+512 <= len(m.data); off += 512 {
				if p := m.data[off : off+512]; !block.IsZeroBytes(p) && bytes.Contains(file, p) {
					t.Fatalf("what is at %#x is in the file as it is", off)
				}
			}
			qemuWrites(t, name, m)
			d := openEncrypted(t, name)
			m.verify(t, d)
			d.close(t)
		})
	}
}

// qemuWrites has qemu-io write at random.
func qemuWrites(t *testing.T, name string, m *model) {
	t.Helper()
	args := qemuImage(name)
	for range 20 {
		off, n := m.span(512)
		v := byte(m.rnd.Uint32())
		copy(m.data[off:off+n], bytes.Repeat([]byte{v}, n))
		args = append(args, "-c", fmt.Sprintf("write -P %d %d %d", v, off, n))
	}
	if out, err := exec.Command("qemu-io", args...).CombinedOutput(); err != nil || bytes.Contains(out, []byte("fail")) {
		t.Fatalf("qemu-io: %v %s", err, out[max(0, len(out)-300):])
	}
}
