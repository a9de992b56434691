package img

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// progress is a bar on a terminal, or nothing.
type progress struct {
	out         io.Writer // nil for nothing
	done, total atomic.Int64
	stop        chan struct{}
	idle        sync.WaitGroup
}

func newProgress(on bool, out io.Writer) *progress {
	p := &progress{stop: make(chan struct{})}
	if on {
		p.out = out
		p.idle.Go(p.run)
	}
	return p
}

// begin says how much there is to do.
func (p *progress) begin(total int64) {
	p.done.Store(0)
	p.total.Store(total)
}

// add says that n more are done. Any goroutine.
func (p *progress) add(n int64) { p.done.Add(n) }

func (p *progress) show() {
	percent := 0.0
	if total := p.total.Load(); total > 0 {
		percent = min(100, float64(p.done.Load())*100/float64(total))
	}
	fmt.Fprintf(p.out, "    (%.2f/100%%)\r", percent)
}

func (p *progress) run() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.show()
		case <-p.stop:
			return
		}
	}
}

// end ends the bar; complete: everything has been done.
func (p *progress) end(complete bool) {
	close(p.stop)
	p.idle.Wait()
	if p.out == nil {
		return
	}
	if complete {
		p.total.Store(1)
		p.done.Store(1)
	}
	p.show()
	fmt.Fprintln(p.out)
}

// set says how much of how much is done.
func (p *progress) set(done, total int64) {
	p.total.Store(total)
	p.done.Store(done)
}
