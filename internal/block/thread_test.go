package block_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
	"govmd/internal/qmp"
	"govmd/internal/worker"
)

// onThread is a device on an iothread: it keeps requests under way from the thread.
type onThread struct {
	w    *worker.Worker
	th   *block.Thread
	kick *worker.Source
	todo chan *block.Request
}

func newOnThread(t testing.TB, q *block.Queue) *onThread {
	t.Helper()
	w, err := worker.New("IO test")
	if err != nil {
		t.Fatal(err)
	}
	d := &onThread{w: w, todo: make(chan *block.Request, 256)}
	if d.th, err = block.NewThread(w); err != nil {
		t.Fatal(err)
	}
	if d.kick, err = w.Add(func() {
		for {
			select {
			case r := <-d.todo:
				q.SubmitOn(d.th, r)
				continue
			default:
			}
			break
		}
		d.th.Flush()
	}); err != nil {
		t.Fatal(err)
	}
	w.Start()
	return d
}

func (d *onThread) submit(r *block.Request) {
	d.todo <- r
	d.kick.Kick()
}

func (d *onThread) close() {
	d.w.Pause()
	d.th.Close()
	d.w.Resume()
	d.w.Close()
}

func openFile(t testing.TB, driver, name string, direct bool) (*block.Graph, *block.Node, *block.Backend) {
	t.Helper()
	g := block.NewGraph(block.Env{})
	o := &qmp.Object{}
	o.Add("driver", driver)
	n, err := g.OpenImage(context.Background(), name, o, qmp.JSON, block.Settings{Unmap: true, Direct: direct})
	if err != nil {
		t.Fatal(err)
	}
	return g, n, blocktest.Backend(t, g, n, block.PermRead|block.PermWrite)
}

func makeFile(t testing.TB, driver string, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if driver == "raw" {
		if err := os.Truncate(name, size); err != nil {
			t.Fatal(err)
		}
		return name
	}
	blocktest.Create(t, driver, name, fmt.Sprintf("size=%d", size))
	return name
}

// TestThread runs requests from an iothread, the short way and the long one, beside
// others that share the node.
func TestThread(t *testing.T) {
	for _, driver := range []string{"raw", "qcow2", "vdi", "vmdk"} {
		for _, direct := range []bool{false, true} {
			t.Run(driver, func(t *testing.T) {
				const size, unit = 4 << 20, 4096
				name := makeFile(t, driver, size)
				_, n, b := openFile(t, driver, name, direct)
				q := b.NewQueue("test", 4)
				d := newOnThread(t, q)
				other := b.NewQueue("other", 2)
				model := make([]byte, size)
				rnd := rand.New(rand.NewPCG(9, 9))
				done := make(chan error, 64)
				for round := range 60 {
					count := 0
					for off := 0; off < size; {
						m := min((1+rnd.IntN(30))*unit, size-off)
						p := block.AlignedBuffer(m, unit)
						r := &block.Request{Off: int64(off), Vec: block.VecFrom([][]byte{p[:m/2&^511], p[m/2&^511:]})}
						switch {
						case round%2 == 0 && rnd.IntN(3) == 0:
							r.Op = block.OpWrite
							for i := range p {
								p[i] = byte(round + i>>9)
							}
							copy(model[off:], p)
						case rnd.IntN(9) == 0:
							clear(model[off : off+m])
							r = &block.Request{Op: block.OpZeroes, Off: int64(off), Len: int64(m), Flags: block.MayUnmap}
						default:
							want := model[off : off+m]
							r.Done = func(_ *block.Request, err error) {
								if err == nil && !bytes.Equal(p, want) {
									err = block.ErrIO
								}
								done <- err
							}
						}
						if r.Done == nil {
							r.Done = func(_ *block.Request, err error) { done <- err }
						}
						count++
						if rnd.IntN(4) == 0 {
							other.Submit(r)
						} else {
							d.submit(r)
						}
						off += m
					}
					for range count {
						if err := <-done; err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := n.Drain(context.Background()); err != nil {
					t.Fatal(err)
				}
				n.Undrain()
				if d.th.Quick() == 0 {
					t.Log("the host has no io_uring: nothing went the short way")
				} else if d.th.Quick() < 100 {
					t.Errorf("only %d requests went the short way", d.th.Quick())
				}
				p := make([]byte, size)
				if err := q.Do(block.OpRead, 0, 0, block.VecOf(p), 0); err != nil || !bytes.Equal(p, model) {
					t.Errorf("the disk differs (%v)", err)
				}
				d.close()
				b.Close()
				n.Unref()
			})
		}
	}
}

// BenchmarkThread reads 4 KiB at a time, 32 under way, from an iothread.
func BenchmarkThread(b *testing.B) {
	for _, driver := range []string{"raw", "qcow2"} {
		b.Run(driver, func(b *testing.B) {
			const size = 64 << 20
			name := makeFile(b, driver, size)
			_, n, be := openFile(b, driver, name, false)
			q := be.NewQueue("bench", 0)
			for off := int64(0); off < size; off += 1 << 20 {
				if err := q.Do(block.OpWrite, off, 0, block.VecOf(make([]byte, 1<<20)), 0); err != nil {
					b.Fatal(err)
				}
			}
			d := newOnThread(b, q)
			left, pos := b.N, int64(0)
			done := make(chan struct{})
			var reqs [32]block.Request
			under := len(reqs)
			for i := range reqs {
				reqs[i] = block.Request{Op: block.OpRead, Vec: block.VecOf(block.AlignedBuffer(4096, 4096))}
				reqs[i].Done = func(r *block.Request, err error) {
					if err != nil {
						b.Error(err)
					}
					if left--; left < 0 {
						if under--; under == 0 {
							close(done)
						}
						return
					}
					pos = (pos + 4096) & (size - 1)
					r.Off = pos
					q.SubmitOn(d.th, r)
				}
			}
			b.SetBytes(4096)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range reqs {
				d.submit(&reqs[i])
			}
			<-done
			b.StopTimer()
			if d.th.Quick() < uint64(b.N) {
				b.Logf("%d of %d went the short way", d.th.Quick(), b.N)
			}
			d.close()
			be.Close()
			n.Unref()
		})
	}
}
