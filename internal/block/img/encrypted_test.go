package img

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// encryptedScript is as script, of images that are there in both folders.
const encryptedScript = `
info d.luks
json info --output=json d.luks
info d.qcow2
json info --output=json d.qcow2
info e.qcow2
info aes.qcow2
json info --output=json aes.qcow2
json info --output=json --backing-chain top.qcow2
check OBJ --image-opts Q=d.qcow2
map OBJ --image-opts driver=luks,key-secret=s,file.filename=d.luks
map --output=json OBJ --image-opts driver=luks,key-secret=s,file.filename=d.luks
map --output=json OBJ --image-opts Q=d.qcow2
compare OBJ --image-opts Q=d.qcow2 driver=luks,key-secret=s,file.filename=d.luks
compare OBJ --image-opts Q=aes.qcow2,encrypt.format=aes Q=d.qcow2
convert OBJ --image-opts -O raw Q=d.qcow2 d.raw
compare OBJ --image-opts driver=raw,file.filename=d.raw Q=d.qcow2
resize OBJ --image-opts driver=luks,key-secret=s,file.filename=d.luks 3M
info d.luks
snapshot OBJ -c one --image-opts Q=d.qcow2
snapshot OBJ -d one --image-opts Q=d.qcow2
convert -n OBJ -f raw --target-image-opts d.raw driver=luks,key-secret=s,file.filename=d.luks
compare OBJ --image-opts driver=qcow2,file.filename=top.qcow2,backing.encrypt.key-secret=s driver=luks,key-secret=s,file.filename=d.luks
!compare OBJ --image-opts Q=top.qcow2 Q=d.qcow2
!convert d.qcow2 x
!convert -f luks d.luks x
!compare d.qcow2 d.raw
!convert OBJ --image-opts driver=qcow2,encrypt.key-secret=nope,file.filename=d.qcow2 x
!convert --object secret,id=s,data=wrong --image-opts Q=d.qcow2 x
!convert --object secret,id=s,data=wrong --image-opts driver=luks,key-secret=s,file.filename=d.luks x
!convert OBJ --image-opts Q=d.qcow2,encrypt.format=aes x
!convert --object nonsense,id=s --image-opts Q=d.qcow2 x
!convert OBJ -c -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s d.raw x
!convert --target-image-opts d.raw driver=raw,file.filename=y
!create -f luks x 1M
!create -f luks -o key-secret=s x 1M
!create -f qcow2 -o encrypt.format=luks x 1M
!create -f qcow2 -o encrypt.format=zork,encrypt.key-secret=s OBJ x 1M
`

func TestEncryptedAgainstQEMU(t *testing.T) {
	const object = "secret,id=s,data=horse"
	dirs := [2]string{t.TempDir(), t.TempDir()}
	t.Chdir(dirs[0])
	if err := os.WriteFile("src", bytes.Repeat([]byte("0123456789abcde\n"), 2<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"convert -O luks -o key-secret=s,iter-time=10 src d.luks",
		"convert -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 src d.qcow2",
		"create -q -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv e.qcow2 1M",
		"convert -O qcow2 -o encrypt.format=aes,encrypt.key-secret=s src aes.qcow2",
		"create -q -f qcow2 -b d.qcow2 -F qcow2 top.qcow2",
	} {
		if got := ours(append(strings.Fields(line), "--object", object)...); got.code != 0 {
			t.Fatalf("%s: %s", line, got.errs)
		}
	}
	for _, name := range []string{"d.luks", "d.qcow2", "e.qcow2", "aes.qcow2", "top.qcow2"} {
		p, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dirs[1], name), p, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(p, []byte("0123456789abcde\n")) {
			t.Errorf("%s holds the data as they are", name)
		}
	}
	converse(t, dirs, strings.NewReplacer("OBJ", "--object "+object, "Q=", "driver=qcow2,encrypt.key-secret=s,file.filename=").Replace(encryptedScript))
}
