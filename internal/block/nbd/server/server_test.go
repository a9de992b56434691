package server

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	"govmd/internal/block/export"
	"govmd/internal/block/nbd/wire"
	_ "govmd/internal/crypto" // tls-creds-x509
	"govmd/internal/crypto/cryptotest"
	"govmd/internal/object"
	"govmd/internal/qmp"
	"govmd/internal/sock"
)

// What our own client writes is what it and others read.
func TestRandomOperations(t *testing.T) {
	const size = 1 << 20
	r := newRig(t)
	m := r.mem("n", make([]byte, size))
	r.start(0)
	r.export("n", true, Options{})
	g := block.NewGraph(block.Env{})
	n, err := g.OpenImage(context.Background(), r.uri("n"), nil, qmp.JSON, block.Settings{Unmap: true})
	if err != nil {
		t.Fatal(err)
	}
	b := blocktest.Backend(t, g, n, block.PermRead|block.PermWrite)
	q := b.NewQueue("test", 8)
	defer b.CloseQueue(q)
	model := make([]byte, size)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		off := rnd.IntN(size)
		n := rnd.IntN(min(size-off, 200<<10)) + 1
		part := model[off : off+n]
		switch rnd.IntN(4) {
		case 0:
			p := bytes.Repeat([]byte{byte(rnd.IntN(255)) + 1}, n)
			if err := q.Do(block.OpWrite, int64(off), 0, block.VecOf(p), block.Flags(rnd.IntN(2))*block.FUA); err != nil {
				t.Fatal(err)
			}
			copy(part, p)
		case 1:
			if err := q.Do(block.OpZeroes, int64(off), int64(n), block.Vec{}, block.Flags(rnd.IntN(2))*block.MayUnmap); err != nil {
				t.Fatal(err)
			}
			clear(part)
		case 2:
			if err := q.Do(block.OpFlush, 0, 0, block.Vec{}, 0); err != nil {
				t.Fatal(err)
			}
		default:
			p := make([]byte, n)
			if err := q.Do(block.OpRead, int64(off), 0, block.VecOf(p), 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(p, part) {
				t.Fatalf("%d bytes at %d are others than were written", n, off)
			}
		}
	}
	if !bytes.Equal(m.Bytes(), model) {
		t.Error("the node has other data than were written")
	}
}

// The tools of others see what is there, and copy it in and out.
func TestTools(t *testing.T) {
	dir := t.TempDir()
	base, top := filepath.Join(dir, "base"), filepath.Join(dir, "top")
	output(t, "qemu-img", "create", "-q", "-f", "qcow2", base, "8M")
	output(t, "qemu-io", "-c", "write -P 1 0 1M", base)
	output(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top)
	output(t, "qemu-io", "-c", "write -P 7 1M 64k", "-c", "write -z 3M 1M", top)
	r := newRig(t)
	r.file("n", top)
	r.on(func() {
		if _, err := r.graph.Node("n").CreateBitmap("bm", 65536); err != nil {
			t.Error(err)
		}
	})
	r.start(DefaultConnections)
	yes, text, bitmap := true, "a disk", "bm"
	r.export("n", true, Options{Base: Base{Description: &text}, AllocationDepth: &yes, Bitmaps: []bitmapRef{{Local: &bitmap}}})

	list := output(t, "nbdinfo", "--list", r.uri(""))
	for _, want := range []string{
		"newstyle-fixed without TLS, using structured packets", `export="n"`, "description: a disk", "8388608", "base:allocation",
		"qemu:allocation-depth", "qemu:dirty-bitmap:bm", "can_cache: true", "can_df: true", "can_fast_zero: true", "can_flush: true",
		"can_fua: true", "can_multi_conn: true", "can_trim: true", "can_zero: true", "is_read_only: false", "block_size_minimum: 1",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("nbdinfo does not say %q:\n%s", want, list)
		}
	}
	table := func(args ...string) (rows []string) {
		for _, line := range strings.Split(output(t, "nbdinfo", append(args, r.uri("n"))...), "\n") {
			if line = strings.Join(strings.Fields(line), " "); line != "" {
				rows = append(rows, line)
			}
		}
		return rows
	}
	if got, want := table("--map"), []string{"0 1114112 0 data", "1114112 7274496 3 hole,zero"}; !slices.Equal(got, want) {
		t.Errorf("the map is %q", got)
	}
	if got, want := table("--map=qemu:allocation-depth"), []string{
		"0 1048576 2 backing depth 2", "1048576 65536 1 local", "1114112 2031616 0 absent", "3145728 1048576 1 local", "4194304 4194304 0 absent",
	}; !slices.Equal(got, want) {
		t.Errorf("the depths are %q", got)
	}
	output(t, "qemu-io", "-f", "raw", "-c", "write -P 9 5M 100k", "-c", "write -z -u 0 512k", "-c", "discard 6M 1M", "-c", "flush",
		"-c", "write -f -P 3 7M 4k", "-c", "read -P 9 5M 100k", "-c", "read -P 0 0 512k", "-c", "read -P 1 512k 512k", r.uri("n"))
	if got, want := table("--map=qemu:dirty-bitmap:bm"), []string{
		"0 524288 1 dirty", "524288 4718592 0 clean", "5242880 131072 1 dirty", "5373952 917504 0 clean", "6291456 1114112 1 dirty", "7405568 983040 0 clean",
	}; !slices.Equal(got, want) {
		t.Errorf("the bitmap is %q", got)
	}
	copied := filepath.Join(dir, "copy")
	output(t, "nbdcopy", r.uri("n"), copied)
	output(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", copied, r.uri("n"))
	output(t, "qemu-io", "-f", "raw", "-c", "write -P 5 2M 3M", copied)
	output(t, "nbdcopy", "--flush", copied, r.uri("n"))
	output(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", copied, r.uri("n"))
	output(t, "nbdkit", "-U", "-", "nbd", "uri="+r.uri("n"), "--run", `nbdinfo "$uri" && qemu-img compare -f raw -F raw `+copied+` "$uri"`)
	r.try("", r.server.Stop)
	r.on(func() {
		n := r.graph.Node("n")
		n.SetMonitorOwned(false)
		n.Unref()
	})
	output(t, "qemu-img", "check", "-q", top)
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca := cryptotest.New(t)
	for _, end := range []string{"server", "client"} {
		if err := os.Mkdir(filepath.Join(dir, end), 0o700); err != nil {
			t.Fatal(err)
		}
		ca.Files(filepath.Join(dir, end), end, "localhost", nil)
	}
	var objects object.Collection
	if err := objects.Parse("tls-creds-x509,id=creds,endpoint=server,dir=" + filepath.Join(dir, "server")); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	r.creds = objects.Find("creds").(sock.TLSCreds)
	r.authz = onlyFor("CN=localhost")
	r.mem("n", bytes.Repeat([]byte{3}, 1<<20))
	r.start(0)
	r.export("n", false, Options{})
	opts := "driver=nbd,server.type=unix,server.path=" + r.path + ",export=n,tls-creds=c,tls-hostname=localhost"
	client := "tls-creds-x509,id=c,endpoint=client,dir=" + filepath.Join(dir, "client")
	output(t, "qemu-io", "--object", client, "-r", "--image-opts", opts, "-c", "read -P 3 0 1M")
	if _, _, err := wire.Negotiate(r.dial(), &wire.ClientOptions{Export: "n"}); err == nil || !strings.Contains(err.Error(), "requires TLS") {
		t.Errorf("without TLS: %v", err)
	}
}

// onlyFor allows one identity.
type onlyFor string

func (o onlyFor) Allows(identity string) (bool, error) { return identity == string(o), nil }

func TestReadOnly(t *testing.T) {
	r := newRig(t)
	r.mem("n", make([]byte, 1<<16))
	r.start(0)
	r.export("n", false, Options{})
	p := r.peer("n", wire.BaseAllocation)
	if !p.info.Has(wire.FlagReadOnly) || p.info.Has(wire.FlagTrim) {
		t.Errorf("the flags are %#x", p.info.Flags)
	}
	for i, cmd := range []wire.Command{wire.CmdTrim, wire.CmdWriteZeroes} {
		p.send(cmd, 0, uint64(i), 0, 512, nil)
		if c := p.receive(); c.errno != uint32(unix.EPERM) || c.cookie != uint64(i) {
			t.Errorf("command %d is answered by %+v", cmd, c)
		}
	}
	p.send(wire.CmdWrite, 0, 7, 0, 4, []byte("data"))
	if c := p.receive(); c.errno != uint32(unix.EPERM) {
		t.Errorf("a write is answered by %+v", c)
	}
}

// What a client asks for that cannot be is refused, and the connection goes on.
func TestBadRequests(t *testing.T) {
	const size = 1 << 20
	r := newRig(t)
	r.mem("n", make([]byte, size))
	r.start(0)
	r.export("n", true, Options{})
	p := r.peer("n", wire.BaseAllocation)
	for _, tc := range []struct {
		cmd   wire.Command
		flags uint16
		off   uint64
		n     uint32
		errno unix.Errno
	}{
		{wire.CmdRead, 0, size - 511, 512, unix.EINVAL},
		{wire.CmdRead, 0, 1<<64 - 1, 512, unix.EINVAL},
		{wire.CmdRead, 0, 0, wire.MaxData + 1, unix.EINVAL},
		{wire.CmdRead, 1 << 9, 0, 512, unix.EINVAL},
		{wire.CmdRead, wire.CmdFlagNoHole, 0, 512, unix.EINVAL},
		{wire.CmdWrite, 0, size, 512, unix.ENOSPC},
		{wire.CmdWrite, wire.CmdFlagDF, 0, 512, unix.EINVAL},
		{wire.CmdWriteZeroes, 0, size - 1, 2, unix.ENOSPC},
		{wire.CmdTrim, 0, size - 1, 2, unix.EINVAL},
		{wire.CmdCache, 0, size - 1, 2, unix.EINVAL},
		{wire.CmdBlockStatus, 0, 0, 0, unix.EINVAL},
		{wire.CmdBlockStatus, 0, size, 1, unix.EINVAL},
		{8, 0, 0, 0, unix.EINVAL},
		{0xffff, 0, 0, 0, unix.EINVAL},
		{wire.CmdRead, 0, size, 0, 0},
		{wire.CmdFlush, 0, 1 << 40, 77, 0},
		{wire.CmdCache, 0, 0, size, 0},
		{wire.CmdTrim, wire.CmdFlagFUA, 0, size, 0},
	} {
		var data []byte
		if tc.cmd == wire.CmdWrite {
			data = make([]byte, tc.n)
		}
		p.send(tc.cmd, tc.flags, 5, tc.off, tc.n, data)
		if c := p.receive(); c.errno != wire.FromErrno(tc.errno) || !c.last || c.cookie != 5 {
			t.Errorf("%+v is answered by %+v", tc, c)
		}
	}
	other := r.peer("n")
	other.send(wire.CmdBlockStatus, 0, 1, 0, 512, nil)
	if c := other.receive(); c.errno != uint32(unix.EINVAL) {
		t.Errorf("block status without a context is answered by %+v", c)
	}
}

// A read comes in one piece for a client that wants it so.
func TestSparseReads(t *testing.T) {
	r := newRig(t)
	image := filepath.Join(t.TempDir(), "i")
	output(t, "qemu-img", "create", "-q", "-f", "qcow2", image, "1M")
	output(t, "qemu-io", "-c", "write -P 4 64k 64k", image)
	r.file("n", image)
	r.start(0)
	r.export("n", false, Options{})
	p := r.peer("n")
	kinds := func(flags uint16) (list []int, data []byte) {
		p.send(wire.CmdRead, flags, 1, 0, 192<<10, nil)
		for {
			c := p.receive()
			list = append(list, c.kind)
			switch wire.Chunk(c.kind) {
			case wire.ChunkOffsetData:
				data = append(data, c.data[8:]...)
			case wire.ChunkOffsetHole:
				data = append(data, make([]byte, 64<<10)...)
			}
			if c.last {
				return list, data
			}
		}
	}
	want := append(append(make([]byte, 64<<10), bytes.Repeat([]byte{4}, 64<<10)...), make([]byte, 64<<10)...)
	list, data := kinds(0)
	if !slices.Equal(list, []int{2, 1, 2}) || !bytes.Equal(data, want) {
		t.Errorf("the chunks are %v", list)
	}
	if list, data = kinds(wire.CmdFlagDF); !slices.Equal(list, []int{1}) || !bytes.Equal(data, want) {
		t.Errorf("the chunks are %v, with DF", list)
	}
}

func TestRemove(t *testing.T) {
	r := newRig(t)
	r.mem("n", make([]byte, 1<<20))
	r.on(func() {
		if _, err := r.graph.Node("n").CreateBitmap("bm", 65536); err != nil {
			t.Error(err)
		}
	})
	r.start(0)
	bitmap := "bm"
	r.export("n", true, Options{Bitmaps: []bitmapRef{{Local: &bitmap}}})
	p := r.peer("n")
	r.try("export 'n' still in use", func() error { return r.set.Del("n", nil) })
	hard := export.Hard
	r.try("", func() error { return r.set.Del("n", &hard) })
	if _, err := p.conn.Read(make([]byte, 1)); err == nil {
		t.Error("the client is still connected")
	}
	if ev := <-r.events; ev != (export.DeletedEvent{ID: "n"}) {
		t.Errorf("the event is %+v", ev)
	}
	r.on(func() {
		if n := r.graph.Node("n"); n.Refs() != 1 || n.Bitmap("bm").Busy() {
			t.Errorf("the node has %d references, its bitmap is busy: %v", n.Refs(), n.Bitmap("bm").Busy())
		}
	})
	conn := r.dial()
	if _, _, err := wire.Negotiate(conn, &wire.ClientOptions{Export: "n"}); err == nil || !strings.Contains(err.Error(), "not available") {
		t.Errorf("the export that was removed: %v", err)
	}
}

// There are no more clients at once than the user wants; others wait.
func TestMaxConnections(t *testing.T) {
	r := newRig(t)
	r.mem("n", make([]byte, 1<<20))
	r.start(1)
	r.export("n", false, Options{})
	first := r.peer("n")
	if first.info.Has(wire.FlagMultiConn) {
		t.Error("the only client may have more connections")
	}
	second := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		conn := r.dial()
		defer close(second)
		_, _ = io.ReadFull(conn, make([]byte, 18))
	})
	for range 200 { // time enough for a server that does not count
		first.send(wire.CmdRead, 0, 1, 0, 512, nil)
		first.receive()
	}
	select {
	case <-second:
		t.Error("there are two clients")
	default:
	}
	first.send(wire.CmdDisc, 0, 0, 0, 0, nil)
	all.Wait()
}
