package machine

import (
	"context"
	"encoding/binary"
	"errors"

	"govmd/internal/kvm"
)

// Bits of control registers and of page table entries (SDM volume 3, chapter 4).
const (
	cr0Paging = 1 << 31
	cr4PSE    = 1 << 4
	cr4PAE    = 1 << 5
	cr4LA57   = 1 << 12
	eferLong  = 1 << 10

	ptePresent = 1 << 0
	pteWrite   = 1 << 1
	pteUser    = 1 << 2
	pteLarge   = 1 << 7
	pteAddress = 0x000ffffffffff000
)

// maxTables bounds how many tables are read: those of a guest that means harm can
// refer to each other without end.
const maxTables = 1 << 18

var errTooManyTables = errors.New("there are too many page tables: the rest is not shown")

// paging is how a processor translates addresses: the tables' levels, the last first.
type paging struct {
	root      uint64
	levels    []pageLevel
	entrySize int
	canonical uint // how many bits of an address count; those above are as the last of them
	maxTables int
}

// pageLevel is a level of tables: which bits of an address select an entry, and
// whether an entry can map memory itself.
type pageLevel struct {
	shift, bits uint
	large       bool
	bare        bool // entries say nothing of who may access
}

// pagingOf returns nil where paging is off.
func pagingOf(s *kvm.Sregs) *paging {
	switch {
	case s.CR0&cr0Paging == 0:
		return nil
	case s.CR4&cr4PAE == 0:
		return &paging{root: s.CR3 & 0xfffff000, entrySize: 4, canonical: 64, maxTables: maxTables, levels: []pageLevel{
			{shift: 12, bits: 10}, {shift: 22, bits: 10, large: s.CR4&cr4PSE != 0},
		}}
	case s.EFER&eferLong == 0:
		return &paging{root: s.CR3 & 0xffffffe0, entrySize: 8, canonical: 64, maxTables: maxTables, levels: []pageLevel{
			{shift: 12, bits: 9}, {shift: 21, bits: 9, large: true}, {shift: 30, bits: 2, bare: true},
		}}
	}
	p := &paging{root: s.CR3 & pteAddress, entrySize: 8, canonical: 48, maxTables: maxTables, levels: []pageLevel{
		{shift: 12, bits: 9}, {shift: 21, bits: 9, large: true}, {shift: 30, bits: 9, large: true}, {shift: 39, bits: 9},
	}}
	if s.CR4&cr4LA57 != 0 {
		p.canonical = 57
		p.levels = append(p.levels, pageLevel{shift: 48, bits: 9})
	}
	return p
}

// mapping is a page that is mapped.
type mapping struct {
	virtual, size uint64 // the address without what makes it canonical
	physical      uint64
	entry         uint64 // the last one
	access        uint64 // pteWrite and pteUser, as all levels allow
}

// extended returns an address in its canonical form.
func (p *paging) extended(addr uint64) uint64 {
	unused := 64 - p.canonical
	return uint64(int64(addr<<unused) >> unused)
}

// walk calls visit for the pages in the order of their addresses. Tables are read by
// read; one that cannot be read maps nothing.
func (p *paging) walk(ctx context.Context, read func(addr uint64, b []byte) error, visit func(mapping) error) error {
	w := &tableWalk{paging: p, ctx: ctx, read: read, visit: visit}
	return w.table(len(p.levels)-1, p.root, 0, pteWrite|pteUser)
}

type tableWalk struct {
	*paging
	ctx    context.Context
	read   func(addr uint64, b []byte) error
	visit  func(mapping) error
	tables int
}

func (w *tableWalk) table(n int, at, virtual, access uint64) error {
	if w.tables++; w.tables > w.maxTables {
		return errTooManyTables
	}
	if w.ctx.Err() != nil {
		return errInterrupted
	}
	l := w.levels[n]
	buf := make([]byte, w.entrySize<<l.bits)
	if w.read(at, buf) != nil {
		return nil // the guest's mistake: there is nothing there
	}
	for i := range uint64(1) << l.bits {
		e := w.entry(buf, i)
		if e&ptePresent == 0 {
			continue
		}
		m := mapping{virtual: virtual | i<<l.shift, size: 1 << l.shift, entry: e, access: access}
		if !l.bare {
			m.access &= e
		}
		m.physical = e & pteAddress &^ (m.size - 1)
		var err error
		if n == 0 || l.large && e&pteLarge != 0 {
			err = w.visit(m)
		} else {
			err = w.table(n-1, e&pteAddress, m.virtual, m.access)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *tableWalk) entry(buf []byte, i uint64) uint64 {
	if w.entrySize == 4 {
		return uint64(binary.LittleEndian.Uint32(buf[4*i:]))
	}
	return binary.LittleEndian.Uint64(buf[8*i:])
}
