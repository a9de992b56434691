package virtq

import (
	"testing"
)

// FuzzRings gives a queue rings full of arbitrary bytes. Whatever they hold, the
// queue ends with an error or runs dry, and never has more out than it may.
func FuzzRings(f *testing.F) {
	f.Add([]byte{}, uint16(3), uint8(3))
	f.Add([]byte{0, 0, 4, 0, 0, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0}, uint16(1), uint8(7))
	f.Add([]byte{0, 0, 2, 0, 0, 0, 0, 0, 32, 0, 0, 0, 4, 0, 0, 0}, uint16(1), uint8(7))
	f.Add([]byte{0, 16, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 3, 0, 1, 0}, uint16(2), uint8(1))
	f.Fuzz(func(t *testing.T, rings []byte, idx uint16, feat uint8) {
		e := newEnv(t, 8, Features{Indirect: feat&1 != 0, EventIndex: feat&2 != 0, NotifyOnEmpty: feat&4 != 0})
		// The descriptors, the rings and an indirect table that they may point to.
		for _, at := range []uint64{ringBase, tables} {
			e.ring.Put(at, rings[:min(len(rings), 0x4000)])
		}
		e.ring.SetAvailIndex(idx)
		var out []*Element
		for i := 0; i < 100; i++ {
			el, err := e.q.Pop()
			if err != nil || el == nil {
				break
			}
			if len(el.Readable)+len(el.Writable) > MaxSegments+8 || el.ReadableLen()+el.WritableLen() == 0 {
				t.Fatalf("element of %d and %d segments", len(el.Readable), len(el.Writable))
			}
			_, _ = el.WriteAt([]byte("abcdefgh"), uint64(feat))
			_, _ = el.ReadAt(make([]byte, 16), uint64(feat))
			switch i % 3 {
			case 0:
				e.q.Push(el, uint32(idx))
			case 1:
				out = append(out, el)
			case 2:
				e.q.Unpop(el)
			}
			_, _ = e.q.Flush()
			_, _ = e.q.SetNotify(i%2 == 0)
		}
		s := e.q.Save()
		if len(s.InFlight) > 8 {
			t.Fatalf("%d in flight", len(s.InFlight))
		}
		e.q.Reset()
		for _, el := range out {
			e.q.Push(el, 1)
		}
		if err := e.q.Load(e.config(Features{}), s); err != nil {
			t.Fatalf("its own state is refused: %v", err)
		}
		for el, _ := e.q.Pop(); el != nil; el, _ = e.q.Pop() {
			e.q.Push(el, 1)
		}
		if e.q.outstanding != 0 || e.q.segments != 0 {
			t.Fatalf("%d elements and %d segments are counted as out", e.q.outstanding, e.q.segments)
		}
		e.q.Reset()
		if err := e.block.Close(); err != nil { // waits for what is still borrowed
			t.Fatal(err)
		}
	})
}
