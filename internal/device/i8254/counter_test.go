package i8254

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// clocked is the data sheet's description of a counter, one clock pulse at a time.
type clocked struct {
	mode, access  uint8
	bcd           bool
	gate, out     bool
	cr, ce        int64
	loaded, null  bool
	load, trigger bool // at the next pulse
	armed         bool // a strobe or a terminal count is to come
	left          int64
	low           uint8
	half          bool
}

func (s *clocked) modulus() int64 {
	if s.bcd {
		return 10000
	}
	return 1 << 16
}

func (s *clocked) control(access, mode uint8, bcd bool) {
	*s = clocked{mode: mode, access: access, bcd: bcd, gate: s.gate, out: mode != 0, null: true}
}

func (s *clocked) write(v uint8) {
	n := int64(v)
	switch {
	case s.access == accessHigh:
		n <<= 8
	case s.access == accessBoth && !s.half:
		s.low, s.half = v, true
		if s.mode == 0 {
			s.out, s.load = false, false
		}
		return
	case s.access == accessBoth:
		n, s.half = n<<8|int64(s.low), false
	}
	if s.bcd {
		n = n>>12*1000 + n>>8&15*100 + n>>4&15*10 + n&15
	}
	if n == 0 {
		n = s.modulus()
	}
	s.cr, s.null = n, true
	switch s.mode {
	case 0, 4:
		s.load = true
		if s.mode == 0 {
			s.out = false
		}
	case 2, 3:
		s.load = s.load || !s.loaded
	}
}

func (s *clocked) setGate(high bool) {
	rise := high && !s.gate
	s.gate = high
	switch s.mode {
	case 1, 5:
		s.trigger = s.trigger || rise && s.cr != 0
	case 2, 3:
		if rise && s.cr != 0 {
			s.trigger = true
		}
		if !high {
			s.trigger = false
			s.load = s.load && !s.loaded
			s.out = true
		}
	}
}

func (s *clocked) take() {
	s.ce, s.loaded, s.null = s.cr, true, false
	s.load, s.trigger, s.armed = false, false, true
}

// half begins a half of mode 3.
func (s *clocked) begin(high bool) {
	s.take()
	s.out = high || s.cr == 1
	s.left = s.cr / 2
	if high {
		s.left = (s.cr + 1) / 2
	}
	s.ce = s.cr &^ 1
}

func (s *clocked) pulse() {
	if s.load || s.trigger {
		s.out = s.mode != 0 && s.mode != 1
		if s.mode == 3 {
			s.begin(true)
		} else {
			s.take()
		}
		return
	}
	if !s.loaded || !s.gate && s.mode != 1 && s.mode != 5 || s.mode == 0 && s.half {
		return
	}
	switch s.mode {
	case 2:
		if s.ce--; s.ce == 0 {
			s.take()
		}
		s.out = s.ce != 1 || s.cr == 1
	case 3:
		s.ce -= 2
		if s.left--; s.left == 0 {
			s.begin(!s.out)
		}
	default:
		s.ce = (s.ce - 1 + s.modulus()) % s.modulus()
		end := s.ce == 0 && s.armed
		s.armed = s.armed && !end
		if s.mode >= 4 {
			s.out = !end
		} else if end {
			s.out = true
		}
	}
}

func (s *clocked) value() uint16 {
	v := s.ce % s.modulus()
	if s.bcd {
		v = v%10 | v/10%10<<4 | v/100%10<<8 | v/1000<<12
	}
	return uint16(v)
}

// TestAgainstClockedModel compares the counter, which computes where it is, with
// one that counts, over random programs. Counts of 1 are left to another test:
// modes 2 and 3 do not define them.
func TestAgainstClockedModel(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		c, s := counter{access: accessBoth, gate: true, loadAt: never}, clocked{access: accessBoth, gate: true}
		now := int64(r.IntN(1000))
		log := ""
		note := func(format string, args ...any) { log += fmt.Sprintf("\n%d: "+format, append([]any{now}, args...)...) }
		for range 200 {
			switch r.IntN(8) {
			case 0:
				access, mode, bcd := uint8(1+r.IntN(3)), uint8(r.IntN(6)), r.IntN(4) == 0
				note("control access %d mode %d bcd %v", access, mode, bcd)
				c.control(now, access, mode, bcd)
				s.control(access, mode, bcd)
			case 1, 2:
				v := uint8(2 + r.IntN(8))
				if c.access == accessHigh || c.access == accessBoth && c.halfWrite {
					v = uint8(r.IntN(3) / 2)
					if c.access == accessHigh {
						v = 1
					}
				}
				note("write %#x", v)
				c.write(now, v)
				s.write(v)
			case 3:
				high := r.IntN(2) == 0
				note("gate %v", high)
				c.setGate(now, high)
				s.setGate(high)
			default:
				n := r.IntN(20)
				if r.IntN(10) == 0 {
					n = r.IntN(700)
				}
				for range n {
					next, was := c.nextChange(now), s.out
					now++
					s.pulse()
					if s.out != was && next != now {
						t.Fatalf("seed %d: output changes at %d, expected %d%s", seed, now, next, log)
					}
				}
				note("advanced")
			}
			if got := c.output(now); got != s.out {
				t.Fatalf("seed %d: output %v, want %v%s", seed, got, s.out, log)
			}
			if c.loaded != s.loaded || c.null != s.null {
				t.Fatalf("seed %d: loaded %v null %v, want %v %v%s", seed, c.loaded, c.null, s.loaded, s.null, log)
			}
			if got := c.value(now); s.loaded && got != s.value() {
				t.Fatalf("seed %d: count %#x, want %#x%s", seed, got, s.value(), log)
			}
		}
	}
}

// A count of 1 is illegal in the periodic modes: the output stays high.
func TestCountOfOne(t *testing.T) {
	for _, mode := range []uint8{2, 3} {
		c := counter{gate: true, loadAt: never}
		c.control(0, accessLow, mode, false)
		c.write(0, 1)
		for now := range int64(10) {
			if !c.output(now) {
				t.Errorf("mode %d: low at %d", mode, now)
			}
		}
		if n := c.nextChange(10); n != never {
			t.Errorf("mode %d: a change at %d", mode, n)
		}
		c.write(10, 4)
		if c.output(20); c.count != 4 {
			t.Errorf("mode %d: the next count was not taken", mode)
		}
	}
}

func TestWholeRange(t *testing.T) {
	for _, bcd := range []bool{false, true} {
		c := counter{gate: true, loadAt: never}
		c.control(0, accessBoth, 0, bcd)
		c.write(0, 0)
		c.write(0, 0)
		m := c.modulus()
		if v := c.value(0); v != 0 {
			t.Errorf("bcd %v: %#x before the load", bcd, v)
		}
		c.catchUp(1)
		want := map[bool][2]uint16{false: {0xffff, 0x0001}, true: {0x9999, 0x0001}}[bcd]
		if a, b := c.value(2), c.value(m); a != want[0] || b != want[1] {
			t.Errorf("bcd %v: %#x, %#x, want %#x", bcd, a, b, want)
		}
		if c.output(m) || !c.output(m+1) || c.value(m+2) != want[0] {
			t.Errorf("bcd %v: not at the end after %d ticks", bcd, m+1)
		}
	}
}
