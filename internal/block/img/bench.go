package img

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"govmd/internal/block"
)

func init() {
	commands = append(commands, command{
		name: "bench", options: "c:d:f:hi:no:qs:S:t:wU", long: []string{"flush-interval=", "no-drain", "pattern=", "image-opts", "force-share"}, run: bench,
		usage: "[-q] [-c COUNT] [-d DEPTH] [-f FORMAT] [-o OFFSET] [-s SIZE] [-S STEP] [-t CACHE] [-w [--pattern=N]] [-U] FILE",
		help:  "make requests one after the other, DEPTH of them at once, and say how long it took",
	})
}

func bench(t *tool) (int, error) {
	if err := t.opts.expect(1, 1); err != nil {
		return 1, errors.New("Expecting one image file name")
	}
	number := func(name string, def int64) (n int64, err error) {
		if n, err = t.opts.size(name, def); err == nil && (n < 0 || n > 1<<40) {
			err = fmt.Errorf("Invalid value of -%s", name)
		}
		return n, err
	}
	count, err1 := number("c", 75000)
	depth, err2 := number("d", 64)
	size, err3 := number("s", 4096)
	step, err4 := number("S", size)
	off, err5 := number("o", 0)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return 1, err
	}
	if depth < 1 || depth > 4096 || size < 1 || size > 64<<20 || count < 1 {
		return 1, errors.New("Invalid count, depth (1 to 4096) or size (1 to 64M)")
	}
	if t.opts.has("flush-interval") || t.opts.has("no-drain") || t.opts.has("i") || t.opts.has("n") {
		return 1, errors.New("-i, -n, --flush-interval and --no-drain are not supported")
	}
	set, stable, err := cache(t.opts.get("t"), block.Settings{})
	if err != nil {
		return 1, err
	}
	pattern, err := number("pattern", 0)
	if err != nil || pattern > 255 {
		return 1, errors.New("Invalid pattern byte specified")
	}
	op, what, perm := block.OpRead, "read", block.PermRead
	if t.opts.has("w") {
		op, what, perm = block.OpWrite, "write", readWrite
	}
	i, err := t.open(t.opts.args[0], t.opts.get("f"), set, perm)
	if err != nil {
		return 1, err
	}
	defer i.Close()
	i.SetWriteCache(stable == 0)
	length := i.Length()
	if size > length {
		return 1, errors.New("the image is smaller than a request")
	}
	fmt.Fprintf(t.out, "Sending %d %s requests, %d bytes each, %d in parallel (starting at offset %d, step size %d)\n", count, what, size, depth, off, step)
	b := &benchmark{left: count, off: off, step: step, size: size, length: length, pattern: byte(pattern), queue: i.NewQueue("bench", int(min(depth, block.DefaultWorkers)))}
	took, err := b.run(op, int(depth))
	i.CloseQueue(b.queue)
	if err != nil {
		return 1, fmt.Errorf("Failed request: %s", block.ErrorText(err))
	}
	fmt.Fprintf(t.out, "Run completed in %.3f seconds.\n", took.Seconds())
	return 0, nil
}

// benchmark is a run of requests.
type benchmark struct {
	queue              *block.Queue
	size, step, length int64
	pattern            byte // what is written

	mu   sync.Mutex
	left int64
	off  int64
	err  error
	idle sync.WaitGroup
}

// next places a request; false when there is no more to do.
func (b *benchmark) next(r *block.Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 || b.err != nil {
		return false
	}
	b.left--
	if b.off > b.length-b.size {
		b.off = 0
	}
	r.Off = b.off
	b.off += b.step
	return true
}

func (b *benchmark) run(op block.Op, depth int) (time.Duration, error) {
	requests := make([]block.Request, depth)
	for k := range requests {
		p := block.AlignedBuffer(int(b.size), 4096)
		for i := range p {
			p[i] = b.pattern
		}
		requests[k].Op, requests[k].Vec = op, block.VecOf(p)
	}
	begin := time.Now()
	for k := range requests {
		r := &requests[k]
		r.Done = func(r *block.Request, err error) {
			if err != nil {
				b.mu.Lock()
				b.err = err
				b.mu.Unlock()
			}
			if !b.next(r) {
				b.idle.Done()
				return
			}
			b.queue.Submit(r)
		}
		if b.next(r) {
			b.idle.Add(1)
			b.queue.Submit(r)
		}
	}
	b.idle.Wait()
	return time.Since(begin), b.err
}
