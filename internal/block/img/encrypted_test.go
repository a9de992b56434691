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
measure OBJ -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s --size 1G
measure OBJ -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.cipher-alg=aes-128,cluster_size=512 --size 8M
measure OBJ -O luks -o key-secret=s --size 1G
!create -f luks x 1M
!create -f luks -o key-secret=s x 1M
!create -f qcow2 -o encrypt.format=luks x 1M
!create -f qcow2 -o encrypt.format=zork,encrypt.key-secret=s OBJ x 1M
`

// TestAmend changes key slots, and has QEMU open the image with what it is to open with.
func TestAmend(t *testing.T) {
	t.Chdir(t.TempDir())
	objects := []string{"--object", "secret,id=s,data=horse", "--object", "secret,id=n,data=donkey"}
	run := func(line string, more ...string) outcome {
		t.Helper()
		return ours(append(append(strings.Fields(line), objects...), more...)...)
	}
	for _, v := range []struct{ format, prefix string }{{"luks", ""}, {"qcow2", "encrypt."}} {
		name := "d." + v.format
		option := func(text string) string { return strings.ReplaceAll(text, "E.", v.prefix) }
		image := func(secret string) string {
			return option("driver=" + v.format + ",E.key-secret=" + secret + ",file.filename=" + name)
		}
		keys := "E.key-secret=s,E.iter-time=1"
		if v.prefix != "" {
			keys += ",E.format=luks"
		}
		if got := run("create -q -f " + v.format + " -o " + option(keys) + " " + name + " 64k"); got.code != 0 {
			t.Fatal(got.errs)
		}
		opens := func(secret string, want bool) {
			t.Helper()
			args := append([]string{"compare", "--image-opts", image(secret), image(secret)}, objects...)
			if got := theirs(t, args...); (got.code == 0) != want {
				t.Errorf("%s: with secret %s qemu-img says %s%s", name, secret, got.out, got.errs)
			}
		}
		amend := func(secret, keys, failure string) {
			t.Helper()
			got := run("amend --image-opts "+image(secret), strings.Fields("-o "+option(keys))...)
			if failure == "" && got.code != 0 || failure != "" && (got.code != 1 || !strings.Contains(got.errs, failure)) {
				t.Errorf("%s, %s: %d %s, want %q", name, keys, got.code, got.errs, failure)
			}
		}
		amend("s", "E.state=active,E.new-secret=n,E.iter-time=1,E.keyslot=8", "Invalid keyslot 8 specified. Must be between 0 and 7")
		amend("s", "E.state=active,E.new-secret=n,E.keyslot=0", "Refusing to overwrite active keyslot 0 - please erase it first")
		amend("s", "E.state=active", "'new-secret' is required")
		amend("s", "E.state=inactive", "To erase keyslot(s), either explicit keyslot index or the password")
		amend("s", "E.state=inactive,E.keyslot=0", "Attempt to erase the only active keyslot 0")
		amend("s", "E.state=inactive,E.old-secret=s", "All the active keyslots match")
		amend("s", "E.state=inactive,E.keyslot=3", "Given keyslot 3 is already erased")
		amend("s", "E.state=inactive,E.old-secret=n", "No keyslots match")
		amend("s", "cluster_size=1M", "Invalid parameter 'cluster_size'")
		if v.prefix == "" {
			amend("s", "size=1M", "Invalid parameter 'size'\nThis option is only supported for image creation")
		} else {
			amend("s", "size=1M,encrypt.state=inactive", "'size' cannot be amended together with keyslots")
		}
		amend("s", "zork=1M", "Invalid parameter 'zork'")
		amend("s", "E.state=active,E.new-secret=n,E.iter-time=1", "")
		opens("s", true)
		opens("n", true)
		amend("n", "E.state=inactive,E.old-secret=s", "")
		opens("s", false)
		opens("n", true)
		amend("n", "E.state=active,E.new-secret=s,E.iter-time=1,E.keyslot=1 --force", "")
		opens("n", false)
		opens("s", true)
		amend("s", "E.state=inactive,E.keyslot=1 --force", "")
		opens("s", false)
	}
	if got := run("create -q -f qcow2 plain.qcow2 64k"); got.code != 0 {
		t.Fatal(got.errs)
	}
	if got := run("amend -o encrypt.state=inactive,encrypt.keyslot=1 plain.qcow2"); !strings.Contains(got.errs, "not encrypted with LUKS") {
		t.Error(got.errs)
	}
	if got := run("amend -f raw -o size=1M plain.qcow2"); !strings.Contains(got.errs, "Format driver 'raw' does not support option amendment") {
		t.Error(got.errs)
	}
}

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
