package qcow2

import (
	"sync"
	"time"
)

// cleaner drops cached tables that have not been used for an interval.
type cleaner struct {
	stop chan struct{}
	done sync.WaitGroup
}

// defaultClean is the interval when the options say nothing.
const defaultClean = 600 * time.Second

// start begins cleaning, unless the interval is 0.
func (c *cleaner) start(q *image) {
	d := defaultClean
	if q.opts.CacheCleanInterval != nil {
		d = time.Duration(*q.opts.CacheCleanInterval) * time.Second
	}
	if d == 0 {
		return
	}
	stop := make(chan struct{})
	c.stop = stop
	c.done.Add(1)
	go func() {
		defer c.done.Done()
		t := time.NewTicker(d)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				q.mu.Lock()
				q.l2.clean()
				q.rb.clean()
				q.mu.Unlock()
			case <-stop:
				return
			}
		}
	}()
}

// end ends it and waits.
func (c *cleaner) end() {
	if c.stop != nil {
		close(c.stop)
		c.done.Wait()
		c.stop = nil
	}
}
