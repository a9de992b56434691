package jobtest

import (
	"fmt"
	"math/rand/v2"
	"os"
)

// Size is the size of Chain's images, in bytes.
const Size = 16 << 20

// Chain makes base.raw, mid.qcow2 and top.qcow2, each with data of its own, and
// returns what top shows.
func (r *Rig) Chain(rnd *rand.Rand) []byte {
	r.Helper()
	want := make([]byte, Size)
	for off := 0; off < Size; off += 1 << 20 {
		for i := range 300 << 10 {
			want[off+i] = byte(rnd.Uint32())
		}
	}
	r.WriteFile("base.raw", want)
	below, format := "base.raw", "raw"
	for _, name := range []string{"mid.qcow2", "top.qcow2"} {
		r.Sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", format, name)
		below, format = name, "qcow2"
		args := []string{"qemu-io", "-f", "qcow2"}
		for range 12 {
			n := 512 * (1 + rnd.IntN(400))
			off := 512 * rnd.IntN((Size-n)/512)
			b := 1 + byte(rnd.IntN(255))
			for i := range want[off : off+n] {
				want[off+i] = b
			}
			args = append(args, "-c", fmt.Sprintf("write -P %d %d %d", b, off, n))
		}
		r.Sh(append(args, name)...)
	}
	return want
}

// WriteFile makes a file.
func (r *Rig) WriteFile(name string, p []byte) {
	r.Helper()
	if err := os.WriteFile(name, p, 0o644); err != nil {
		r.Fatal(err)
	}
}

// Drive opens Chain's images as the medium of the drive d0.
func (r *Rig) Drive() {
	r.Helper()
	r.On(func() {
		b, err := r.Graph.NewBackend("d0")
		if err != nil {
			r.Fatal(err)
		}
		n, err := r.Open("top.qcow2")
		if err != nil {
			r.Fatal(err)
		}
		defer n.Unref()
		if err := b.InsertMedium(n); err != nil {
			r.Fatal(err)
		}
	})
}

// Nodes opens Chain's images as the nodes top, mid and base, of which base's and
// mid's requests fail as rules of blkdebug say ("" for none).
func (r *Rig) Nodes(base, mid string) {
	r.Helper()
	file := func(name, rule string) string {
		return `{"driver": "blkdebug", "image": {"driver": "file", "filename": "` + name + `"}, "inject-error": [` + rule + `]}`
	}
	r.OK("blockdev-add", `{"driver": "qcow2", "node-name": "top", "file": {"driver": "file", "filename": "top.qcow2"},
		"backing": {"driver": "qcow2", "node-name": "mid", "file": `+file("mid.qcow2", mid)+`,
			"backing": {"driver": "raw", "node-name": "base", "file": `+file("base.raw", base)+`}}}`)
}

// Same ends everything, checks an image with qemu-img, and compares it with what it
// should show.
func (r *Rig) Same(image string, want []byte) {
	r.Helper()
	r.Close()
	r.WriteFile("want", want)
	format := "qcow2"
	if image == "base.raw" {
		format = "raw"
	} else {
		r.Sh("qemu-img", "check", "-q", image)
	}
	r.Sh("qemu-img", "compare", "-f", "raw", "-F", format, "want", image)
}
