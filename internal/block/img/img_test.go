package img

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// outcome is what a tool has said.
type outcome struct {
	code      int
	out, errs string
}

func ours(args ...string) outcome {
	var out, errs bytes.Buffer
	code := Main("img", args, &out, &errs)
	return outcome{code, out.String(), errs.String()}
}

func theirs(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command("qemu-img", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func qemuIO(t *testing.T, image string, commands ...string) {
	t.Helper()
	var args []string
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	if out, err := exec.Command("qemu-io", append(args, image)...).CombinedOutput(); err != nil || bytes.Contains(out, []byte("failed")) {
		t.Fatalf("qemu-io: %s", out)
	}
}

// various is what differs between runs, or between where clusters happen to lie.
var various = regexp.MustCompile(`disk size: .*|"(actual-size|date-n?sec)": \d+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|in \d+\.\d+ seconds|(?m)^ +cid: \d+$|^ +parent cid: \d+$|"(parent-)?cid": \d+`)

// Each line is run by govmd img and by qemu-img, each in a folder of its own, one
// after the other; "!" says that only failing and the exit status are the same.
var script = `
create -q -f qcow2 base.qcow2 4M
io base.qcow2 write -P 1 0 1M
create -q -f qcow2 -b base.qcow2 -F qcow2 a.qcow2
io a.qcow2 write -P 2 64k 64k
io a.qcow2 write -z 1M 128k
info a.qcow2
info --backing-chain a.qcow2
json info --output=json a.qcow2
json info --output=json --backing-chain a.qcow2
check a.qcow2
json check --output=json a.qcow2
map a.qcow2
map --output=json a.qcow2
map --output=json -s 64k -l 1M a.qcow2
compare a.qcow2 a.qcow2
compare a.qcow2 base.qcow2
convert -f qcow2 -O raw a.qcow2 a.raw
map --output=json a.raw
compare a.qcow2 a.raw
compare -f qcow2 -F raw a.qcow2 a.raw
resize a.qcow2 +1M
!resize a.qcow2 1M
resize --shrink a.qcow2 3M
info a.qcow2
compare a.qcow2 a.raw
snapshot -c one a.qcow2
snapshot -c two a.qcow2
io a.qcow2 write -P 3 0 64k
snapshot -a one a.qcow2
snapshot -d two a.qcow2
!snapshot -a two a.qcow2
snapshot -l a.raw
create -q -f qcow2 -b a.qcow2 -F qcow2 b.qcow2
io b.qcow2 write -P 4 2M 64k
rebase -b base.qcow2 -F qcow2 b.qcow2
info b.qcow2
compare b.qcow2 a.qcow2
rebase -u -b none.qcow2 -F raw b.qcow2
info b.qcow2
rebase -u -b base.qcow2 -F qcow2 b.qcow2
create -q -f qcow2 -b base.qcow2 -F qcow2 d.qcow2
rebase --image-opts -b a.qcow2 -F qcow2 driver=qcow2,file.filename=d.qcow2
info d.qcow2
compare d.qcow2 base.qcow2
convert --image-opts -O raw driver=qcow2,file.filename=d.qcow2 d.raw
compare -f qcow2 -F raw d.qcow2 d.raw
!info --image-opts driver=qcow2,file.filename=none
commit b.qcow2
map --output=json b.qcow2
convert -O qcow2 -c b.qcow2 c.qcow2
compare b.qcow2 c.qcow2
bench -c 10 -d 2 -s 64k c.qcow2
create -q -f raw r.raw 1M
create -q -f vdi v.vdi 3M
io v.vdi write -P 5 1M 64k
json info --output=json v.vdi
info v.vdi
check v.vdi
!check -r all v.vdi
qemu create -q -f vdi q.vdi 3M
io q.vdi write -P 5 1M 64k
map --output=json q.vdi
convert -O vdi c.qcow2 w.vdi
compare -f qcow2 -F vdi c.qcow2 w.vdi
convert -f vdi -O raw v.vdi v.raw
!resize v.vdi 4M
create -q -f vpc v.vpc 3M
io v.vpc write -P 5 1M 64k
json info --output=json v.vpc
info v.vpc
!check v.vpc
map --output=json v.vpc
create -q -f vpc -o subformat=fixed,force_size=on f.vpc 3M
convert -n -O vpc c.qcow2 f.vpc
info -f vpc f.vpc
compare -f qcow2 -F vpc c.qcow2 f.vpc
convert -O vpc -o force_size=on c.qcow2 w.vpc
compare -f qcow2 -F vpc c.qcow2 w.vpc
create -q -f vmdk v.vmdk 3M
io v.vmdk write -P 5 1M 64k
json info --output=json v.vmdk
info v.vmdk
check v.vmdk
map --output=json v.vmdk
create -q -f vmdk -b v.vmdk -F vmdk t.vmdk
json info --output=json --backing-chain t.vmdk
map --output=json t.vmdk
compare v.vmdk t.vmdk
!create -q -f vmdk -b c.qcow2 -F qcow2 x.vmdk
create -f vmdk -o subformat=monolithicFlat f.vmdk 3M
info f.vmdk
convert -n -O vmdk c.qcow2 f.vmdk
compare c.qcow2 f.vmdk
convert -O vmdk -o subformat=monolithicFlat c.qcow2 g.vmdk
compare c.qcow2 g.vmdk
convert -O vmdk c.qcow2 w.vmdk
compare c.qcow2 w.vmdk
!create -f vmdk -o subformat=zork x.vmdk 1M
!create -f vmdk -b v.vmdk -F vmdk -o subformat=monolithicFlat x.vmdk
!create -f vhdx x.vhdx foo
qemu create -q -f vhdx -o block_size=1M v.vhdx 3M
qemu convert -O vhdx -o block_size=1M c.qcow2 v.vhdx
json info --output=json v.vhdx
info v.vhdx
check v.vhdx
convert -O qcow2 v.vhdx w.qcow2
compare -f vhdx -F qcow2 v.vhdx w.qcow2
create -q -f raw n.raw 1M
bench -w -c 20 -d 3 -s 4k --pattern=0x41 n.raw
bench -w -c 20 -d 3 -s 4k --pattern 65 -t writethrough n.raw
dd bs=4k count=20 if=n.raw of=n2.raw
compare -f raw -F raw n.raw n2.raw
io n2.raw read -P 65 0 80k
!bench -w -c 20 --pattern=256 n.raw
!bench -w -c 20 -t zork n.raw
compare -T none a.qcow2 b.qcow2
!compare -T zork a.qcow2 b.qcow2
create -q -f qcow2 -b base.qcow2 -F qcow2 k.qcow2
io k.qcow2 write -P 9 3M 64k
rebase -t none -T directsync -b a.qcow2 -F qcow2 k.qcow2
!rebase -t zork -b a.qcow2 -F qcow2 k.qcow2
!rebase -T zork -b a.qcow2 -F qcow2 k.qcow2
!commit -t zork k.qcow2
commit -t writethrough k.qcow2
dd bs=64k if=c.qcow2 of=dd.raw
compare -f qcow2 -F raw c.qcow2 dd.raw
dd -O qcow2 bs=1M count=3 skip=1 if=c.qcow2 of=dd.qcow2
info dd.qcow2
dd bs=64k skip=3 if=dd.qcow2 of=dd2.raw
dd if=c.qcow2 of=dd3.raw bs=1M skip=99
info dd3.raw
!dd bs=0 if=a.qcow2 of=x
!dd foo=1
!dd if=a.qcow2
!dd bs=1z if=a.qcow2 of=x
measure a.qcow2
measure -O qcow2 a.qcow2
json measure --output=json -O qcow2 a.qcow2
measure --size 1G
json measure --output=json --size 1000
measure -O qcow2 --size 1G -o cluster_size=4k
measure -O qcow2 --size 100T -o cluster_size=2M,refcount_bits=1
measure -O qcow2 --size 10G -o preallocation=full,extended_l2=on
measure -O qcow2 -o compat=0.10 c.qcow2
measure -O qcow2 -o cluster_size=512 n.raw
!measure
!measure a.qcow2 b.qcow2
!measure --size 1G a.qcow2
!measure -O vdi --size 1G
!measure -O qcow2 -o foo=1 --size 1G
!measure -O qcow2 -o cluster_size=512 --size 100T
create -q -f qcow2 -o cluster_size=4k am.qcow2 5M
io am.qcow2 write -P 7 1M 300k
io am.qcow2 write -z 2M 300k
amend -o compat=0.10 am.qcow2
info am.qcow2
check -q am.qcow2
!amend -o lazy_refcounts=on am.qcow2
!amend -o refcount_bits=8 am.qcow2
amend -o compat=1.1,lazy_refcounts=on,refcount_bits=1 am.qcow2
info am.qcow2
check -q am.qcow2
amend -q -o refcount_bits=64,lazy_refcounts=off am.qcow2
amend -o size=6M am.qcow2
info am.qcow2
check -q am.qcow2
io am.qcow2 read -P 7 1M 300k
!amend -o size=6M,backing_file=a.qcow2,backing_fmt=qcow2 am.qcow2
!amend -o cluster_size=4k am.qcow2
!amend -o foo=1 am.qcow2
!amend -o data_file_raw=on am.qcow2
!amend -o compat=0.10 am.qcow2
!amend -o refcount_bits=3 am.qcow2
!amend am.qcow2
!amend -f raw -o size=1M n.raw
create -q -f qcow2 bm.qcow2 20M
bitmap --add bm.qcow2 b0
bitmap --add -g 64k --disable bm.qcow2 b1
io bm.qcow2 write 1M 3M
info bm.qcow2
json measure --output=json -O qcow2 bm.qcow2
!bitmap --add bm.qcow2 b0
!bitmap --remove bm.qcow2 nope
!bitmap bm.qcow2 b0
!bitmap -g 64k --enable bm.qcow2 b0
!bitmap --add -g 3 bm.qcow2 b4
!bitmap --add n.raw b
!bitmap -b bm.qcow2 --enable bm.qcow2 b0
bitmap --merge b0 --enable bm.qcow2 b1
bitmap --clear --disable bm.qcow2 b0
info bm.qcow2
create -q -f qcow2 bm2.qcow2 20M
bitmap --add -b bm.qcow2 -F qcow2 --merge b1 bm2.qcow2 copy
bitmap --remove bm.qcow2 b1
info bm.qcow2
info bm2.qcow2
!create -f zork x 1M
!create -f qcow2 x
!create -f raw x 1z
!create -f raw -b base.qcow2 x 1M
!create -f qcow2 -b none.qcow2 -F qcow2 x
!create -f qcow2 -o foo=bar x 1M
!create -f qcow2 -o cluster_size=100 x 1M
!info none
!check r.raw
!convert -O zork r.raw x
!convert r.raw
!resize r.raw zork
!commit r.raw
!compare r.raw none
!zork
!info --zork r.raw
!info -Z r.raw
`

func TestAgainstQEMU(t *testing.T) { converse(t, [2]string{t.TempDir(), t.TempDir()}, script) }

// converse runs a script with govmd img in one folder and with qemu-img in another.
func converse(t *testing.T, dirs [2]string, script string) {
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		line, failing := strings.CutPrefix(line, "!")
		line, asJSON := strings.CutPrefix(line, "json ")
		var got [2]outcome
		for k := range dirs {
			t.Chdir(dirs[k])
			words := strings.Fields(line)
			switch {
			case words[0] == "io":
				qemuIO(t, words[1], strings.Join(words[2:], " "))
			case words[0] == "qemu": // makes what is not made here
				if got := theirs(t, words[1:]...); got.code != 0 {
					t.Fatalf("%s: %s", line, got.errs)
				}
			case k == 0:
				got[k] = ours(words...)
			default:
				got[k] = theirs(t, words...)
			}
		}
		if got[0].code != got[1].code {
			t.Errorf("%s: exit status %d, from qemu-img %d\n%s%s", line, got[0].code, got[1].code, got[0].errs, got[1].errs)
		}
		if failing {
			if got[0].code == 0 || got[0].errs == "" {
				t.Errorf("%s does not fail: %+v", line, got[0])
			}
			continue
		}
		for k := range got {
			got[k].out = various.ReplaceAllString(got[k].out, "VARIOUS")
		}
		if asJSON {
			var a, b any
			fix := func(s string) []byte { return []byte(strings.ReplaceAll(s, "VARIOUS", `"various": 1`)) }
			if e := json.Unmarshal(fix(got[0].out), &a); e != nil {
				t.Errorf("%s: %v in %s", line, e, got[0].out)
			}
			_ = json.Unmarshal(fix(got[1].out), &b)
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%s says\n%s, qemu-img\n%s", line, got[0].out, got[1].out)
			}
		} else if got[0].out != got[1].out {
			t.Errorf("%s says\n%s, qemu-img\n%s", line, got[0].out, got[1].out)
		}
	}
}

// Whatever is in an image, converting it keeps that.
func TestConvert(t *testing.T) {
	t.Chdir(t.TempDir())
	rnd := rand.New(rand.NewPCG(3, 4))
	const size = 8 << 20
	for round := range 6 {
		p := make([]byte, size)
		for range 20 {
			off := rnd.IntN(size)
			n := rnd.IntN(min(size-off, 600_000))
			for i := range p[off : off+n] {
				p[off+i] = byte(rnd.Uint32() >> 9)
			}
		}
		if err := os.WriteFile("src", p, 0o600); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("dst%d.qcow2", round)
		args := [][]string{{}, {"-c"}, {"-S", "64k", "-m", "3"}, {"-S", "0"}, {"-o", "cluster_size=4k,extended_l2=off"}, {"-o", "compat=0.10", "-W"}}[round]
		args = append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, args...), "src", name)
		if got := ours(args...); got.code != 0 {
			t.Fatalf("%v: %s", args, got.errs)
		}
		if got := theirs(t, "compare", "-f", "raw", "-F", "qcow2", "src", name); got.code != 0 {
			t.Errorf("%v: %s%s", args, got.out, got.errs)
		}
		if got := theirs(t, "check", name); got.code != 0 {
			t.Errorf("%v: %s", args, got.out)
		}
		if got := ours("convert", "-O", "raw", name, "back"); got.code != 0 {
			t.Fatal(got.errs)
		}
		if back, err := os.ReadFile("back"); err != nil || !bytes.Equal(back, p) {
			t.Errorf("%v: it does not come back the same (%v)", args, err)
		}
	}
}

// "-o help" says what -o takes, and what that says is true.
func TestOptionHelp(t *testing.T) {
	t.Chdir(t.TempDir())
	option := regexp.MustCompile(`(?m)^  (\S+?)=<(str|num|size|bool \(on/off\))> +- \S`)
	for _, args := range [][]string{
		{"create", "-f", "vdi", "-o", "help"}, {"create", "-f", "vmdk", "-o", "help"}, {"convert", "-O", "vpc", "-o", "help"},
		{"create", "-f", "qcow2", "-o", "?"}, {"create", "-o", "size=1,help"}, {"amend", "-f", "qcow2", "-o", "help"},
	} {
		a, b := ours(args...), theirs(t, args...)
		there := map[string]string{}
		for _, m := range option.FindAllStringSubmatch(b.out, -1) {
			there[m[1]] = m[2]
		}
		found := option.FindAllStringSubmatch(a.out, -1)
		if a.code != 0 || len(found) == 0 {
			t.Errorf("%v: %+v", args, a)
		}
		for _, m := range found {
			if typ, ok := there[m[1]]; ok && typ != m[2] {
				t.Errorf("%v: %s is a %s, and a %s there", args, m[1], m[2], typ)
			}
		}
	}
	for _, args := range [][]string{{"create", "-f", "vhdx", "-o", "help"}, {"amend", "-f", "raw", "-o", "help"}, {"create", "-f", "qed", "-o", "help"}} {
		if got := ours(args...); got.code == 0 {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// In some cache modes each write is stable when it is done.
func TestWritethrough(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := ours("create", "-q", "-f", "qcow2", "a.qcow2", "1M"); got.code != 0 {
		t.Fatal(got.errs)
	}
	// A flush fails here, so that it is seen.
	const image = "driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=a.qcow2,file.inject-error.0.event=flush_to_disk"
	for mode, want := range map[string]int{"writeback": 0, "unsafe": 0, "writethrough": 1, "directsync": 1} {
		if got := ours("bench", "-w", "-c", "2", "-t", mode, "--image-opts", image); got.code != want {
			t.Errorf("%s: exit status %d, %s", mode, got.code, got.errs)
		}
	}
}

// What cannot be finished leaves nothing.
func TestFailedConvertLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("short.qcow2", []byte("QFI\xfb\x00\x00\x00\x03"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ours("convert", "-f", "qcow2", "-O", "raw", "short.qcow2", "out"); got.code == 0 {
		t.Error("it was converted")
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("the output is there")
	}
}

func FuzzOptions(f *testing.F) {
	f.Add("-q\x00-f\x00raw\x00x")
	f.Add("--output=json\x00--\x00-x")
	f.Add("-qfraw\x00-1\x00+1")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		for i := range commands {
			_, _ = parse(&commands[i], args) // it ends, and does not panic
		}
	})
}
