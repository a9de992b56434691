// Package maptable caches the tables by which image formats map the blocks of a disk
// to places in their file: arrays of numbers of 4 or 8 bytes, in pages that lie
// somewhere in the file.
//
// Changes stay in memory until WriteBack, which the format calls between the flushes
// that its order of writes needs. What is not changed may be forgotten and read
// again, so that memory is bounded whatever size the disk has.
package maptable

import (
	"encoding/binary"
	"sync"

	"govmd/internal/block"
)

// Config describes a table.
type Config struct {
	File  *block.Child
	Width int              // bytes of an entry: 4 or 8
	Order binary.ByteOrder // of entries
	// PageBits is log2 of the number of entries in a page, which lies in one piece.
	PageBits uint
	Entries  int64
	// Where returns where in the file a page is.
	Where func(page int64) int64
	// Copy returns where a second copy of a page is kept; nil when there is none.
	Copy func(page int64) int64
	// Limit is how many pages are kept, 0 for DefaultLimit.
	Limit int
}

// DefaultLimit is how many pages are kept.
const DefaultLimit = 1024

// Table is a table of which some pages are in memory. Its methods may be called
// from anywhere.
type Table struct {
	Config

	store    sync.Mutex // one writes back; taken before mu
	cutPages []*page    // guarded by store, as is cutData
	cutData  []byte

	mu    sync.Mutex // guards what follows; held while a page is read, which is rare
	pages map[int64]*page
	ring  []*page
	hand  int
	dirty int
}

// page is a piece of the table.
type page struct {
	no      int64
	data    []byte
	dirty   bool
	writing bool // what it had is on its way to the file
	used    bool // since the hand of the clock passed
}

// New returns a table of which nothing has been read.
func New(c Config) *Table {
	if c.Limit == 0 {
		c.Limit = DefaultLimit
	}
	return &Table{Config: c, pages: map[int64]*page{}}
}

// size returns how many bytes a page has: the last one may be shorter.
func (t *Table) size(no int64) int64 {
	return min(t.Entries-no<<t.PageBits, 1<<t.PageBits) * int64(t.Width)
}

// load returns a page. mu is held.
func (t *Table) load(no int64) (*page, error) {
	if p := t.pages[no]; p != nil {
		p.used = true
		return p, nil
	}
	p := t.room()
	p.no, p.used = no, true
	p.data = p.data[:t.size(no)]
	if err := t.File.Pread(t.Where(no), p.data); err != nil {
		return nil, err
	}
	t.pages[no] = p
	t.ring = append(t.ring, p)
	return p, nil
}

// room returns a page that is in no use, after forgetting one that is not changed
// when there are enough. mu is held.
func (t *Table) room() *page {
	if len(t.ring) >= t.Limit {
		for range 2 * len(t.ring) {
			t.hand++
			if t.hand >= len(t.ring) {
				t.hand = 0
			}
			switch p := t.ring[t.hand]; {
			case p.dirty || p.writing:
			case p.used:
				p.used = false
			default:
				last := len(t.ring) - 1
				t.ring[t.hand] = t.ring[last]
				t.ring = t.ring[:last]
				delete(t.pages, p.no)
				return p
			}
		}
	}
	return &page{data: make([]byte, t.Width<<t.PageBits)}
}

// Cached reports whether entry i is in memory, without waiting to know.
func (t *Table) Cached(i int64) bool {
	if !t.mu.TryLock() {
		return false
	}
	defer t.mu.Unlock()
	p := t.pages[i>>t.PageBits]
	if p != nil {
		p.used = true
	}
	return p != nil
}

// Get returns entry i, which is in range.
func (t *Table) Get(i int64) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.load(i >> t.PageBits)
	if err != nil {
		return 0, err
	}
	at := p.data[(i&(1<<t.PageBits-1))*int64(t.Width):]
	if t.Width == 8 {
		return t.Order.Uint64(at), nil
	}
	return uint64(t.Order.Uint32(at)), nil
}

// Set changes entry i, in memory so far.
func (t *Table) Set(i int64, v uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.load(i >> t.PageBits)
	if err != nil {
		return err
	}
	at := p.data[(i&(1<<t.PageBits-1))*int64(t.Width):]
	if t.Width == 8 {
		t.Order.PutUint64(at, v)
	} else {
		t.Order.PutUint32(at, uint32(v))
	}
	if !p.dirty {
		p.dirty = true
		t.dirty++
	}
	return nil
}

// Full reports whether so much has changed that it is time to write it back.
func (t *Table) Full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dirty > t.Limit/2
}

// Dirty reports whether anything has changed.
func (t *Table) Dirty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dirty > 0
}

// Forget drops all pages, changed ones too: another process has had the file.
func (t *Table) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.pages)
	t.ring, t.hand, t.dirty = t.ring[:0], 0, 0
}

// WriteBack writes what has changed. before is called once the entries to write are
// settled (those of a Set that comes later are not among them): it makes stable what
// the entries refer to. It is not called when nothing has changed. What could not be
// written stays changed.
func (t *Table) WriteBack(before func() error) error {
	t.store.Lock()
	defer t.store.Unlock()
	t.cut()
	if len(t.cutPages) == 0 {
		return nil
	}
	err := before()
	data := t.cutData
	for _, p := range t.cutPages {
		part := data[:len(p.data)]
		data = data[len(part):]
		if err == nil && t.Copy != nil {
			err = t.File.Pwrite(t.Copy(p.no), part)
		}
		if err == nil {
			err = t.File.Pwrite(t.Where(p.no), part)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.cutPages {
		p.writing = false
		if err != nil && !p.dirty {
			p.dirty = true
			t.dirty++
		}
	}
	return err
}

// cut sets cutPages to the changed pages and cutData to what they have, and takes
// them for unchanged from then on.
func (t *Table) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cutPages, t.cutData = t.cutPages[:0], t.cutData[:0]
	for _, p := range t.ring {
		if p.dirty {
			t.cutPages = append(t.cutPages, p)
			t.cutData = append(t.cutData, p.data...)
			p.dirty, p.writing = false, true
		}
	}
	t.dirty = 0
}

// Claim makes the bytes of the file from off up to end, of which nothing refers to
// any yet, read as zeroes, and the file reach to end. Calls do not overlap.
func Claim(file *block.Child, off, end int64) error {
	length := file.Length()
	if length > off {
		// Left over from what a crash has interrupted, or a device.
		if err := file.PwriteZeroes(off, min(length, end)-off, block.MayUnmap); err != nil {
			return err
		}
	}
	if length < end {
		// What is written last makes the rest a hole.
		return file.Pwritev(end-tail, block.Zeroes(tail), 0)
	}
	return nil
}

// tail is how much is written to make a file longer, in bytes.
const tail = 512
