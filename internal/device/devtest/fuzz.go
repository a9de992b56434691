package devtest

import (
	"math/rand/v2"
	"testing"
	"time"

	"govmd/internal/chardev"
	"govmd/internal/memory"
	"govmd/internal/state"
)

// Range is a part of an address space that a fuzz test accesses.
type Range struct {
	Space string // "I/O" or "memory"
	Addr  uint64
	Size  uint64
}

// Ports is a range of n ports.
func Ports(port uint16, n uint64) Range { return Range{"I/O", uint64(port), n} }

// MMIO is a range of guest-physical memory.
func MMIO(addr, size uint64) Range { return Range{"memory", addr, size} }

// maxSteps bounds what one input does, so that the fuzzer explores many.
const maxSteps = 4096

// FuzzIO drives the machine that mk builds with random accesses to the given
// ranges, lets random guest time pass, and feeds its character devices. Then
// it saves the state, loads it into a second machine, resets and unplugs all
// devices. Nothing of that may panic, hang or fail.
func FuzzIO(f *testing.F, mk func(*Machine), ranges ...Range) {
	if len(ranges) == 0 {
		f.Fatal("nothing to access")
	}
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, to := New(t), New(t)
		mk(m)
		mk(to)
		m.Drive(data, ranges...)
		roundTrip(t, m, to)
		to.Drive(data[len(data)/2:], ranges...)
		m.ResetAll()
		for _, d := range m.roots() {
			m.Unplug(d)
		}
		m.Advance(time.Minute)
	})
}

// FuzzState loads damaged states into the machine that mk builds and drives it
// afterwards: a load may fail, but nothing may panic or hang.
func FuzzState(f *testing.F, mk func(*Machine), ranges ...Range) {
	if len(ranges) == 0 {
		f.Fatal("nothing to access")
	}
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		from, to := New(t), New(t)
		mk(from)
		mk(to)
		p := &program{data: data}
		from.Drive(p.take(int(p.next())), ranges...)
		saved, err := from.save()
		if err != nil {
			t.Fatal(err)
		}
		for i := range saved {
			var v map[string]any
			if err := state.Decode(saved[i].Data, &v); err != nil {
				t.Fatal(err)
			}
			if saved[i].Data, err = state.Encode(p.damage(v)); err != nil {
				t.Fatal(err)
			}
		}
		to.Do(func() { _ = to.Env.State.LoadAll(saved) })
		to.Drive(p.data, ranges...)
		to.ResetAll()
		to.Drive(p.data, ranges...)
	})
}

func seeds(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		p := make([]byte, 1500)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		f.Add(p)
	}
}

// program reads a fuzzer's input as a sequence of numbers; past its end all are 0.
type program struct{ data []byte }

func (p *program) next() byte {
	if len(p.data) == 0 {
		return 0
	}
	b := p.data[0]
	p.data = p.data[1:]
	return b
}

func (p *program) take(n int) []byte {
	n = min(n, len(p.data))
	b := p.data[:n]
	p.data = p.data[n:]
	return b
}

func (p *program) word(n int) (v uint64) {
	for range n {
		v = v<<8 | uint64(p.next())
	}
	return v
}

// Drive does what a fuzzer's input says.
func (m *Machine) Drive(data []byte, ranges ...Range) {
	p := &program{data: data}
	for i := 0; i < maxSteps && len(p.data) > 0; i++ {
		m.step(p, ranges)
	}
}

// step does one thing, and returns what it has read.
func (m *Machine) step(p *program, ranges []Range) (v uint64) {
	op := p.next()
	if n := len(m.actions); n > 0 && op&15 >= 10 && op&15 <= 11 {
		return m.actions[int(op>>4)%n](p.word)
	}
	switch op & 15 {
	case 12: // up to 255 ns, 65 us, 17 ms or 4 s of guest time
		m.Advance(time.Duration(p.word(1) << (8 * (op >> 4 & 3))))
	case 13:
		for _, c := range m.chardevs {
			c.Input(p.take(int(op>>4) + 1)...)
		}
	case 14:
		for _, c := range m.chardevs {
			c.SetRoom(int(op>>4) - 1)
		}
	case 15:
		switch op >> 4 {
		case 0:
			m.ResetAll()
		case 1, 2, 3:
			for _, c := range m.chardevs {
				c.Event([]chardev.Event{chardev.Opened, chardev.Closed, chardev.Break}[op>>4-1])
			}
		}
	default:
		r := ranges[int(p.next())%len(ranges)]
		off := p.word(offsetBytes(r.Size)) % r.Size
		size := 1 << (op >> 2 & 3)
		if op&2 != 0 { // most registers are as wide as they are far apart
			off &^= uint64(size - 1)
		}
		s := m.space(r)
		if s == m.Env.IO && size == 8 {
			size = 4
		}
		if op&1 != 0 {
			v = m.read(s, r.Addr+off, size)
		} else {
			m.write(s, r.Addr+off, size, p.word(size))
		}
	}
	return v
}

func (m *Machine) space(r Range) *memory.Space {
	if r.Space == "I/O" {
		return m.Env.IO
	}
	return m.Env.Mem
}

func offsetBytes(size uint64) int {
	n := 1
	for s := size - 1; s > 0xff; s >>= 8 {
		n++
	}
	return n
}

// damage changes numbers, strings and lists somewhere below v.
func (p *program) damage(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(v) {
			v[k] = p.damage(v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = p.damage(v[i])
		}
		if p.next()&15 == 1 {
			return v[:int(p.next())%(len(v)+1)]
		}
		return v
	case uint64:
		if p.next()&1 == 0 {
			return v
		}
		return p.word(1 << (p.next() & 3))
	case int64:
		if p.next()&1 == 0 {
			return v
		}
		return int64(p.word(1 << (p.next() & 3)))
	case bool:
		return v != (p.next()&1 != 0)
	case []byte:
		switch p.next() & 3 {
		case 1:
			return v[:int(p.next())%(len(v)+1)]
		case 2:
			for i := range v {
				v[i] ^= p.next()
			}
		case 3:
			return append(v, p.take(4)...)
		}
		return v
	case string:
		if p.next()&3 == 1 {
			return string(p.take(3))
		}
		return v
	}
	return v
}
