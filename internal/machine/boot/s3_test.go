package boot

import (
	"errors"
	"testing"
)

func facs(change func([]byte)) *guest {
	g := newGuest(4096)
	b := g.b[64:128]
	clear(b)
	copy(b, "FACS")
	le.PutUint32(b[4:], 64)
	b[facsVersion] = 2
	change(b)
	return g
}

func TestWake(t *testing.T) {
	e, err := Wake(facs(func(b []byte) { le.PutUint32(b[facsVector:], 0x9a123) }), 64)
	if err != nil || e.Mode != Real || e.CS.Selector != 0x9a12 || e.CS.Base != 0x9a120 || e.RIP != 3 || e.CR0&(cr0PE|cr0PG) != 0 {
		t.Errorf("real mode: %+v, %v", e, err)
	}
	e, err = Wake(facs(func(b []byte) {
		le.PutUint32(b[facsVector:], 0x9a000)
		le.PutUint64(b[facsVector64:], 0x1234567)
	}), 64)
	if err != nil || e.Mode != Protected32 || e.RIP != 0x1234567 || e.CR0&(cr0PE|cr0PG) != cr0PE {
		t.Errorf("protected mode: %+v, %v", e, err)
	}
	// Version 0 has no long vector, whatever is in its place.
	e, err = Wake(facs(func(b []byte) {
		b[facsVersion] = 0
		le.PutUint32(b[facsVector:], 0x9a000)
		le.PutUint64(b[facsVector64:], 0x1234567)
	}), 64)
	if err != nil || e.Mode != Real {
		t.Errorf("version 0: %+v, %v", e, err)
	}
	if _, err := Wake(facs(func([]byte) {}), 64); !errors.Is(err, ErrNoVector) {
		t.Errorf("no vector: %v", err)
	}
	for name, change := range map[string]func([]byte){
		"signature":   func(b []byte) { b[0] = 'f' },
		"length":      func(b []byte) { le.PutUint32(b[4:], 10) },
		"above 1 MiB": func(b []byte) { le.PutUint32(b[facsVector:], 1<<20) },
		"above 4 GiB": func(b []byte) { le.PutUint64(b[facsVector64:], 1<<32) },
	} {
		if e, err := Wake(facs(change), 64); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if _, err := Wake(newGuest(64), 60); err == nil {
		t.Error("FACS beyond memory: accepted")
	}
}

func FuzzWake(f *testing.F) {
	f.Add(facs(func(b []byte) { le.PutUint32(b[facsVector:], 0x9a123) }).b[64:128])
	f.Add(facs(func(b []byte) { le.PutUint64(b[facsVector64:], 0x1234567) }).b[64:128])
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Wake(&guest{data}, 0)
		if err == nil && (e.RIP >= fourGiB || e.Mode == Real && e.CS.Base+e.RIP >= oneMiB) {
			t.Errorf("entry %+v", e)
		}
	})
}
