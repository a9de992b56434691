package maptable

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"govmd/internal/block"
	"govmd/internal/block/blocktest"
)

func newTable(t *testing.T, c Config) (*Table, *blocktest.Mem) {
	t.Helper()
	m, remove := blocktest.NewMem(t.Name())
	t.Cleanup(remove)
	m.SetBytes(make([]byte, 1<<16))
	g := block.NewGraph(block.Env{})
	n, err := g.Open(context.Background(), blocktest.Ref(t.Name()).Definition, block.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	c.File = blocktest.Backend(t, g, n, block.PermRead|block.PermWrite).Root()
	return New(c), m
}

// TestTable changes more pages than are kept, and reads them from the file.
func TestTable(t *testing.T) {
	tab, m := newTable(t, Config{Width: 4, Order: binary.BigEndian, PageBits: 2, Entries: 63, Limit: 4,
		Where: func(p int64) int64 { return 512 + p*16 }, Copy: func(p int64) int64 { return 8192 + p*16 }})
	flushed := 0
	for i := range int64(63) {
		if err := tab.Set(i, uint64(i+1)<<8); err != nil {
			t.Fatal(err)
		}
		if tab.Full() {
			if err := tab.WriteBack(func() error { flushed++; return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tab.WriteBack(func() error { return errors.New("no") }); err == nil || !tab.Dirty() {
		t.Errorf("what was not written counts as written (%v)", err)
	}
	if err := tab.WriteBack(func() error { flushed++; return nil }); err != nil || tab.Dirty() || flushed < 4 {
		t.Errorf("%v, %d times written", err, flushed)
	}
	if len(tab.ring) > 8 || len(tab.ring) != len(tab.pages) {
		t.Errorf("%d pages are kept", len(tab.ring))
	}
	data := m.Bytes()
	for i := range int64(63) {
		v, err := tab.Get(i)
		if want := uint64(i+1) << 8; err != nil || v != want || uint64(binary.BigEndian.Uint32(data[512+i*4:])) != want ||
			uint64(binary.BigEndian.Uint32(data[8192+i*4:])) != want {
			t.Fatalf("entry %d is %#x (%v)", i, v, err)
		}
	}
	if got := binary.BigEndian.Uint32(data[512+63*4:]); got != 0 {
		t.Errorf("%#x was written behind the table", got)
	}
}

func TestAllocations(t *testing.T) {
	tab, _ := newTable(t, Config{Width: 8, Order: binary.LittleEndian, PageBits: 5, Entries: 1024, Where: func(p int64) int64 { return p * 256 }})
	if n := testing.AllocsPerRun(100, func() {
		for i := range int64(1024) {
			v, err := tab.Get(i)
			if err == nil {
				err = tab.Set(i, v+1)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
