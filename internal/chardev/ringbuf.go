package chardev

import (
	"context"
	"errors"
	"sync"
)

// defaultRing is the size of a ring buffer that was given none.
const defaultRing = 64 << 10

// maxRing bounds the size of a ring buffer.
const maxRing = 1 << 30

// ringBackend keeps the newest output until a client asks for it.
type ringBackend struct {
	cfg RingConfig

	mu   sync.Mutex // guards what follows; taken after the device's
	data []byte     // grows up to cfg.Size
	from int        // where the oldest byte is
	n    int        // bytes kept
}

func (b *ringBackend) start(_ context.Context, c *Chardev) error {
	if b.cfg.Size == 0 {
		b.cfg.Size = defaultRing
	}
	switch {
	case b.cfg.Size&(b.cfg.Size-1) != 0:
		return errors.New("size of ringbuf chardev must be power of two")
	case b.cfg.Size > maxRing:
		return errors.New("size of ringbuf chardev must not be above 1 GiB")
	}
	b.data = make([]byte, b.cfg.Size)
	c.setConnected(true)
	return nil
}

func (b *ringBackend) stop() {}

func (b *ringBackend) describe() string {
	if b.cfg.Memory {
		return "memory"
	}
	return "ringbuf"
}

// output implements direct.
func (b *ringBackend) output(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := len(b.data)
	if len(p) >= size {
		p = p[len(p)-size:]
		b.from, b.n = 0, 0
	}
	at := (b.from + b.n) & (size - 1)
	k := copy(b.data[at:], p)
	copy(b.data, p[k:])
	if b.n += len(p); b.n > size {
		b.from = (b.from + b.n - size) & (size - 1)
		b.n = size
	}
}

// read takes up to max of the oldest bytes.
func (b *ringBackend) read(max uint64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.n
	if max < uint64(n) {
		n = int(max)
	}
	p := make([]byte, n)
	k := copy(p, b.data[b.from:])
	copy(p[k:], b.data)
	b.from = (b.from + n) & (len(b.data) - 1)
	b.n -= n
	return p
}
