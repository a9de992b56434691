package luks

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"hash"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// checkEvery is how many iterations pass before a context is looked at.
const checkEvery = 1 << 14

// derive is PBKDF2 (RFC 8018, section 5.2) with HMAC: n bytes from a passphrase. It
// ends early when ctx does. The pieces of the result, each as long as a hash, do
// not depend on each other and are made at once.
func derive(ctx context.Context, fn func() hash.Hash, pass, salt []byte, iterations uint32, n int) ([]byte, error) {
	size := fn().Size()
	out := make([]byte, (n+size-1)/size*size)
	var wg sync.WaitGroup
	for i := 0; i < len(out)/size; i++ {
		wg.Go(func() {
			first := binary.BigEndian.AppendUint32(bytes.Clone(salt), uint32(i+1))
			newMAC(fn, pass).iterate(ctx, out[i*size:(i+1)*size], first, iterations)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return out[:n], nil
}

// mac is HMAC under one key, made to be computed millions of times over its own
// result.
type mac struct {
	h hash.Hash // HMAC itself

	// The hashes of the standard library can write down their state. A whole block
	// that includes the padding takes the state that follows the key to the result,
	// which makes one call where Write, Sum and Reset are several: it takes half the
	// time. Nil for other hashes.
	state        resumable
	inner, outer []byte // states after the key
	block        []byte // a value with its padding
	at           int    // where the result is in a state
	scratch      []byte
}

// resumable is a hash whose state can be written down and taken up again.
type resumable interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

func newMAC(fn func() hash.Hash, key []byte) *mac {
	m := &mac{h: hmac.New(fn, key)}
	h, ok := fn().(resumable)
	if !ok {
		return m
	}
	size, length := h.BlockSize(), h.Size()
	if len(key) > size {
		h.Write(key)
		key = h.Sum(nil)
	}
	pad := func(x byte) []byte {
		p := bytes.Repeat([]byte{x}, size)
		subtle.XORBytes(p, p, key)
		h.Reset()
		h.Write(p)
		state, err := h.AppendBinary(nil)
		if err != nil {
			return nil
		}
		return state
	}
	m.inner, m.outer, m.at = pad(0x36), pad(0x5c), 4
	m.block = make([]byte, size)
	m.block[length] = 0x80
	binary.BigEndian.PutUint64(m.block[size-8:], uint64(size+length)*8)
	m.scratch = make([]byte, 0, len(m.inner))
	// How a state is written down is the library's own affair: where it is not as
	// expected the plain way is taken.
	var probe, want [64]byte
	m.state = h
	m.next(probe[:length])
	m.state = nil
	m.next(want[:length])
	if probe == want {
		m.state = h
	}
	return m
}

// next replaces p, as long as the hash, by its HMAC.
func (m *mac) next(p []byte) {
	if m.state == nil {
		m.h.Reset()
		m.h.Write(p)
		m.h.Sum(p[:0])
		return
	}
	m.pass(m.inner, p)
	m.pass(m.outer, p)
}

func (m *mac) pass(state, p []byte) {
	copy(m.block, p)
	if m.state.UnmarshalBinary(state) != nil {
		return
	}
	m.state.Write(m.block)
	out, _ := m.state.AppendBinary(m.scratch[:0])
	copy(p, out[m.at:])
}

// iterate sets out to the exclusive or of all results of a chain that begins with first.
func (m *mac) iterate(ctx context.Context, out, first []byte, iterations uint32) {
	m.h.Reset()
	m.h.Write(first)
	u := m.h.Sum(nil)
	copy(out, u)
	for i := uint32(1); i < iterations; i++ {
		if i%checkEvery == 1 && ctx.Err() != nil {
			return
		}
		m.next(u)
		subtle.XORBytes(out, out, u)
	}
}

// rate measures how many iterations of derive for n bytes this processor makes in
// a second, one piece after the other as an attacker who has many to do would.
func rate(fn func() hash.Hash, n int) uint64 {
	var out [64]byte
	m := newMAC(fn, out[:])
	size := len(m.h.Sum(nil))
	for count := uint32(1 << 12); ; count *= 2 {
		from := threadTime()
		m.iterate(context.Background(), out[:size], out[:], count)
		if d := threadTime() - from; d >= 20*time.Millisecond || count > 1<<30 {
			return uint64(float64(count) / d.Seconds() / float64((n+size-1)/size))
		}
	}
}

// threadTime is the time that the thread has run: what others do beside does not
// make a key weaker. Without a clock for it, it is the time of day.
func threadTime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(ts.Nano())
}
