package console

import "govmd/internal/device/virtio"

// input is the handler of the queues from character devices to the guest.
func (d *Device) input(q *virtio.Queue) {
	p := d.portOf(q)
	if p == nil || p.chr == nil || !d.Ready() {
		return
	}
	if !p.guestReads() {
		if p.rx != nil {
			q.Unpop(p.rx)
			p.rx = nil
		}
		return
	}
	pushed := false
	for p.rx != nil || p.takeBuffer(q) {
		if !p.deliver(q) {
			break
		}
		pushed = true
	}
	d.finish(q, pushed)
	if p.rx != nil {
		p.chr.AcceptInput()
	}
}

// guestReads reports whether the guest's end is open. When it is not, input on
// its way is dropped and no more is taken.
func (p *Port) guestReads() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.guestOpen {
		p.room, p.stash = 0, nil
	}
	return p.guestOpen
}

// takeBuffer pops a buffer for input.
func (p *Port) takeBuffer(q *virtio.Queue) bool {
	for {
		e := q.Pop()
		if e == nil {
			return false
		}
		if n := e.WritableLen(); n > 0 {
			p.rx = e
			p.mu.Lock()
			p.room = int(min(n, maxInput))
			p.mu.Unlock()
			return true
		}
		q.Done(e, 0)
	}
}

// deliver puts what has come in into the buffer, and reports whether there was anything.
func (p *Port) deliver(q *virtio.Queue) bool {
	p.mu.Lock()
	if len(p.stash) == 0 {
		p.mu.Unlock()
		return false
	}
	n, err := p.rx.WriteAt(p.stash, 0)
	p.stash = append(p.stash[:0], p.stash[n:]...)
	p.room = 0
	if err != nil {
		p.stash = p.stash[:0]
	}
	p.mu.Unlock()
	if err != nil {
		p.GuestErrorf("input: %v", err)
	}
	q.Push(p.rx, uint32(n))
	p.rx = nil
	return true
}

// output is the handler of the queues from the guest to character devices.
func (d *Device) output(q *virtio.Queue) {
	p := d.portOf(q)
	pushed := false
	if p == nil {
		for e := q.Pop(); e != nil; e = q.Pop() {
			q.Push(e, 0)
			pushed = true
		}
		d.finish(q, pushed)
		return
	}
	for p.tx != nil || p.takeOutput(q) {
		if !p.write(d.scratch[:]) {
			break
		}
		q.Push(p.tx, 0)
		p.tx = nil
		p.setTxDone(0)
		pushed = true
	}
	d.finish(q, pushed)
}

func (p *Port) takeOutput(q *virtio.Queue) bool {
	p.tx = q.Pop()
	return p.tx != nil
}

func (p *Port) setTxDone(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.txDone = n
}

func (p *Port) getTxDone() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.txDone
}

// write hands tx to the character device, as far as that takes it, and reports
// whether it has taken all. With nobody at the other end all is dropped.
func (p *Port) write(buf []byte) bool {
	for done := p.getTxDone(); done < p.tx.ReadableLen(); {
		if p.chr == nil || !p.hostIsOpen() {
			return true
		}
		n, err := p.tx.ReadAt(buf, done)
		if err != nil || n == 0 {
			p.GuestErrorf("output: %v", err)
			return true
		}
		k := p.chr.Write(buf[:n])
		done += uint64(k)
		p.setTxDone(done)
		if k < n {
			return false // OnWritable kicks the queue
		}
	}
	return true
}
