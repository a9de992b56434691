package nbd_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"govmd/internal/block"
	_ "govmd/internal/block/drivers"
	"govmd/internal/qmp"
)

// server is qemu-nbd on a Unix socket.
type server struct {
	t      *testing.T
	socket string
	args   []string
	cmd    *exec.Cmd
}

func serve(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{t: t, socket: filepath.Join(t.TempDir(), "s"), args: args}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command("qemu-nbd", append([]string{"-t", "-e", "4", "-k", s.socket}, s.args...)...)
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if c, err := net.Dial("unix", s.socket); err == nil {
			_ = c.Close()
			return
		} else if time.Now().After(end) {
			s.t.Fatal("qemu-nbd does not listen: ", err)
		}
	}
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func image(t *testing.T, args ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	out, err := exec.Command("qemu-img", append([]string{"create", "-q", name}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img: %s", out)
	}
	return name
}

func open(t *testing.T, name string, set block.Settings, options ...string) (*block.Node, error) {
	t.Helper()
	return openIn(block.NewGraph(block.Env{}), name, set, options...)
}

func openIn(g *block.Graph, name string, set block.Settings, options ...string) (*block.Node, error) {
	o := &qmp.Object{}
	for i := 0; i < len(options); i += 2 {
		o.Add(options[i], options[i+1])
	}
	return g.OpenImage(context.Background(), name, o, qmp.Keyval, set)
}

// disk opens the server's export and gives it to a queue.
func disk(t *testing.T, name string, set block.Settings, options ...string) (*block.Node, *block.Queue) {
	t.Helper()
	g := block.NewGraph(block.Env{})
	n, err := openIn(g, name, set, options...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := g.NewBackend("")
	if err != nil {
		t.Fatal(err)
	}
	perm := block.PermRead
	if !n.ReadOnly() {
		perm |= block.PermWrite
	}
	if err := b.SetPerms(perm, block.PermAll); err != nil {
		t.Fatal(err)
	}
	if err := b.InsertMedium(n); err != nil {
		t.Fatal(err)
	}
	n.Unref()
	q := b.NewQueue("test", 16)
	t.Cleanup(b.Close)
	return n, q
}

// exercise makes random requests, several at once, and compares with a model.
func exercise(t *testing.T, q *block.Queue, size int64, seed uint64) {
	t.Helper()
	const lanes = 4 // each has a part of the disk
	errs := make(chan error, lanes)
	for l := range int64(lanes) {
		go func() {
			part := size / lanes &^ 511
			errs <- lane(q, l*part, part, rand.New(rand.NewPCG(seed, uint64(l))))
		}()
	}
	for range lanes {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

func lane(q *block.Queue, base, size int64, rnd *rand.Rand) error {
	model := make([]byte, size)
	for range 150 {
		off := rnd.Int64N(size)
		n := rnd.Int64N(min(size-off, 200_000)) + 1
		if rnd.IntN(2) == 0 {
			off, n = off&^511, (n+511)&^511
			n = min(n, size-off)
		}
		var err error
		switch rnd.IntN(6) {
		case 0, 1:
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(rnd.Uint32() >> 8)
			}
			copy(model[off:], p)
			cut := rnd.Int64N(n + 1)
			f := block.Flags(0)
			if rnd.IntN(4) == 0 {
				f = block.FUA
			}
			err = q.Do(block.OpWrite, base+off, 0, block.VecFrom([][]byte{p[:cut], {}, p[cut:]}), f)
		case 2:
			clear(model[off : off+n])
			f := block.Flags(0)
			if rnd.IntN(2) == 0 {
				f = block.MayUnmap
			}
			err = q.Do(block.OpZeroes, base+off, n, block.Vec{}, f)
		case 3:
			err = q.Do(block.OpFlush, 0, 0, block.Vec{}, 0)
		default:
			p := make([]byte, n)
			cut := rnd.Int64N(n + 1)
			err = q.Do(block.OpRead, base+off, 0, block.VecFrom([][]byte{p[:cut], p[cut:]}), 0)
			if err == nil && !bytes.Equal(p, model[off:off+n]) {
				return errors.New("a read differs from what was written")
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func TestAgainstQEMU(t *testing.T) {
	const size = 8 << 20
	for _, tc := range []struct {
		name string
		args []string
	}{
		{"raw", []string{"-f", "raw"}},
		{"qcow2", []string{"-f", "qcow2"}},
		{"export name", []string{"-f", "qcow2", "-x", "a name/with ümlaut"}},
		{"discard", []string{"-f", "qcow2", "--discard=unmap", "--detect-zeroes=unmap"}},
		{"writethrough", []string{"-f", "raw", "--cache=writethrough"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			img := image(t, "-f", tc.args[1], "8M")
			s := serve(t, append(tc.args, img)...)
			opts := []string{"driver", "nbd", "path", s.socket}
			if len(tc.args) > 2 && tc.args[2] == "-x" {
				opts = append(opts, "export", tc.args[3])
			}
			n, q := disk(t, "", block.Settings{Unmap: true}, opts...)
			if n.Length() != size {
				t.Fatalf("the disk has %d bytes", n.Length())
			}
			exercise(t, q, size, 1)
		})
	}
}

func TestNames(t *testing.T) {
	img := image(t, "-f", "raw", "1M")
	s := serve(t, "-f", "raw", "-x", "exp", img)
	for _, name := range []string{
		"nbd:unix:" + s.socket + ":exportname=exp",
		"nbd+unix:///exp?socket=" + s.socket,
		`json:{"driver": "nbd", "server": {"type": "unix", "path": "` + s.socket + `"}, "export": "exp"}`,
	} {
		n, err := open(t, name, block.Settings{ReadOnly: true}, "driver", "raw")
		if strings.HasPrefix(name, "json:") {
			n, err = open(t, name, block.Settings{ReadOnly: true})
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := n.FileName(); got != "nbd+unix:///exp?socket="+s.socket {
			t.Errorf("%s is called %s", name, got)
		}
		n.Unref()
	}
	for name, want := range map[string]string{
		"nbd:unix:" + s.socket + ":exportname=other": "Requested export not available",
		"nbd:unix:" + s.socket + ":exportname=":      "No export name given",
		"nbd:localhost":                              "host name and port expected",
		"nbd+unix:///x":                              "must be nbd+unix:///",
		"nbd://":                                     "must be nbd://",
		"nbd:unix:/nowhere/at/all":                   "Failed to connect to '/nowhere/at/all': No such file or directory",
		"nbd:unix:/x:exportname=" + strings.Repeat("x", 5000): "export name too long",
	} {
		n, err := open(t, name, block.Settings{ReadOnly: true}, "driver", "raw")
		if err == nil {
			n.Unref()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %s", name, err, want)
		}
	}
}

func TestReadOnlyExport(t *testing.T) {
	s := serve(t, "-r", "-f", "raw", image(t, "-f", "raw", "1M"))
	if _, err := open(t, "", block.Settings{}, "driver", "nbd", "path", s.socket); err == nil || err.Error() != "request on write denied without write permission" {
		t.Errorf("a read-only export opened to be written: %v", err)
	}
	n, err := open(t, "", block.Settings{AutoReadOnly: true}, "driver", "nbd", "path", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Unref()
	if !n.ReadOnly() {
		t.Error("the node can be written")
	}
}

func TestBlockStatus(t *testing.T) {
	img := image(t, "-f", "qcow2", "4M")
	for _, c := range []string{"write 1M 64k", "write -z 2M 64k", "write 3M 128k"} {
		if out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", c, img).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
	}
	s := serve(t, "-f", "qcow2", img)
	n, err := open(t, "", block.Settings{ReadOnly: true}, "driver", "nbd", "path", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Unref()
	var got []string
	for off := int64(0); off < n.Length(); {
		st, err := n.BlockStatus(off, n.Length()-off, block.StatusZero)
		if err != nil {
			t.Fatal(err)
		}
		what := "hole"
		if st.Flags&block.StatusData != 0 {
			what = "data"
		}
		if st.Flags&block.StatusZero != 0 {
			what += "+zero"
		}
		got = append(got, what)
		off += st.N
	}
	if s := strings.Join(got, " "); s != "hole+zero data hole+zero data hole+zero" {
		t.Errorf("status: %s", s)
	}
}

func TestReconnect(t *testing.T) {
	s := serve(t, "-f", "raw", image(t, "-f", "raw", "1M"))
	_, q := disk(t, "", block.Settings{}, "driver", "nbd", "path", s.socket, "reconnect-delay", "60")
	p := bytes.Repeat([]byte{0x5a}, 4096)
	if err := q.Do(block.OpWrite, 0, 0, block.VecOf(p), block.FUA); err != nil {
		t.Fatal(err)
	}
	s.kill()
	result := make(chan error)
	got := make([]byte, 4096)
	go func() { result <- q.Do(block.OpRead, 0, 0, block.VecOf(got), 0) }()
	_ = os.Remove(s.socket)
	s.start()
	if err := <-result; err != nil || !bytes.Equal(got, p) {
		t.Errorf("a read across the server's death: %v", err)
	}
}

func TestWithoutReconnectRequestsFail(t *testing.T) {
	s := serve(t, "-f", "raw", image(t, "-f", "raw", "1M"))
	_, q := disk(t, "", block.Settings{}, "driver", "nbd", "path", s.socket)
	s.kill()
	if err := q.Do(block.OpRead, 0, 0, block.VecOf(make([]byte, 512)), 0); err != block.ErrIO {
		t.Errorf("a read after the server's death: %v", err)
	}
	// It comes back by itself all the same.
	_ = os.Remove(s.socket)
	s.start()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if err := q.Do(block.OpRead, 0, 0, block.VecOf(make([]byte, 512)), 0); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal("the disk does not come back: ", err)
		}
	}
}

func TestAnotherImageIsNotTakenForTheFirst(t *testing.T) {
	s := serve(t, "-f", "raw", image(t, "-f", "raw", "1M"))
	_, q := disk(t, "", block.Settings{}, "driver", "nbd", "path", s.socket, "reconnect-delay", "1")
	s.kill()
	_ = os.Remove(s.socket)
	s.args = []string{"-f", "raw", image(t, "-f", "raw", "2M")}
	s.start()
	if err := q.Do(block.OpWrite, 0, 0, block.VecOf(make([]byte, 512)), 0); err != block.ErrIO {
		t.Errorf("a write to another disk: %v", err)
	}
}

func TestOpenTimeout(t *testing.T) {
	img := image(t, "-f", "raw", "1M")
	s := serve(t, "-f", "raw", img)
	s.kill()
	_ = os.Remove(s.socket)
	done := make(chan error)
	go func() {
		n, err := open(t, "", block.Settings{}, "driver", "nbd", "path", s.socket, "open-timeout", "60")
		if err == nil {
			n.Unref()
		}
		done <- err
	}()
	s.start()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCancelledOpenEnds(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it accepts nothing: the greeting never comes
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	o := &qmp.Object{}
	o.Add("driver", "nbd")
	o.Add("path", l.Addr().String())
	if _, err := block.NewGraph(block.Env{}).OpenImage(ctx, "", o, qmp.Keyval, block.Settings{}); err == nil {
		t.Error("it was opened")
	}
}

func BenchmarkRead4k(b *testing.B) {
	name := filepath.Join(b.TempDir(), "disk")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	t := &testing.T{}
	s := &server{t: t, socket: filepath.Join(b.TempDir(), "s"), args: []string{"-f", "raw", name}}
	s.start()
	defer s.kill()
	o := &qmp.Object{}
	o.Add("driver", "nbd")
	o.Add("path", s.socket)
	n, err := block.NewGraph(block.Env{}).OpenImage(context.Background(), "", o, qmp.Keyval, block.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Unref()
	d := n.Driver()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		v := block.VecOf(make([]byte, 4096))
		for pb.Next() {
			if err := d.Preadv(4096, v, 0); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
