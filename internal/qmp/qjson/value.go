// Package qjson reads and writes JSON as QEMU's monitor protocol has it.
//
// The dialect is RFC 8259 with strings in single quotes too, integers kept
// apart from floating-point numbers, and noncharacters refused. Input is a
// stream of values that may be split anywhere; after malformed input reading
// goes on at the next place where a value can begin. The texts of errors are
// those that QEMU's clients know.
package qjson

import (
	"math"
	"sync"
)

// Kind is the kind of a value.
type Kind uint8

// The kinds of values. An integer that fits int64 is an Int, one that fits only
// uint64 is a Uint, every other number is a Float.
const (
	Invalid Kind = iota
	Null
	Bool
	Int
	Uint
	Float
	String
	Array
	Object
)

// Doc is one complete value. Its nodes and text are flat slices, which are
// reused when the Doc is released; a Value is a position in them.
type Doc struct {
	nodes []node // nodes[0] is unused, nodes[1] is the root
	text  []byte // decoded strings and member names
}

type node struct {
	num   uint64 // bool, integer or floating-point bits; offset and length of a string
	key   span   // the member's name, in an object
	child int32  // the first element or member, or 0
	next  int32  // the next sibling, or 0
	n     int32  // how many elements or members
	kind  Kind
}

const nodeSize = 32 // bytes in a node

type span struct{ off, len uint32 }

// keepText and keepNodes bound what a released Doc keeps for reuse.
const (
	keepText  = 64 << 10
	keepNodes = 2 << 10
)

var docs = sync.Pool{New: func() any { return new(Doc) }}

func newDoc() *Doc {
	d := docs.Get().(*Doc)
	if len(d.nodes) == 0 {
		d.nodes = append(d.nodes, node{})
	}
	return d
}

// Release gives the memory of d back. No Value of it may be used afterwards.
func (d *Doc) Release() {
	d.reset()
	docs.Put(d)
}

func (d *Doc) reset() {
	if cap(d.text) > keepText {
		d.text = nil
	}
	if cap(d.nodes) > keepNodes {
		d.nodes = make([]node, 1)
	}
	d.nodes, d.text = d.nodes[:1], d.text[:0]
}

// Size returns about how many bytes of memory d takes.
func (d *Doc) Size() int { return len(d.text) + len(d.nodes)*nodeSize }

// Root returns the value that d holds.
func (d *Doc) Root() Value {
	if len(d.nodes) < 2 {
		return Value{}
	}
	return Value{d, 1}
}

// Value is a value within a Doc. The zero Value is absent: its kind is Invalid.
// It is valid until its Doc is released.
type Value struct {
	doc *Doc
	i   int32
}

// Kind returns the kind of v.
func (v Value) Kind() Kind {
	if v.doc == nil {
		return Invalid
	}
	return v.doc.nodes[v.i].kind
}

// Exists reports whether v is a value at all.
func (v Value) Exists() bool { return v.doc != nil }

// Bool returns a Bool's value, and false for any other kind.
func (v Value) Bool() bool { return v.Kind() == Bool && v.doc.nodes[v.i].num != 0 }

// Int returns the value of an Int.
func (v Value) Int() (n int64, ok bool) {
	if v.Kind() != Int {
		return 0, false
	}
	return int64(v.doc.nodes[v.i].num), true
}

// Uint returns the value of a Uint, or of an Int that is not negative.
func (v Value) Uint() (n uint64, ok bool) {
	switch v.Kind() {
	case Uint:
		return v.doc.nodes[v.i].num, true
	case Int:
		n := v.doc.nodes[v.i].num
		return n, int64(n) >= 0
	}
	return 0, false
}

// Float returns the value of any number.
func (v Value) Float() (f float64, ok bool) {
	switch v.Kind() {
	case Float:
		return math.Float64frombits(v.doc.nodes[v.i].num), true
	case Int:
		return float64(int64(v.doc.nodes[v.i].num)), true
	case Uint:
		return float64(v.doc.nodes[v.i].num), true
	}
	return 0, false
}

// Bytes returns the text of a String, nil for any other kind. It must not be
// changed and dies with the Doc.
func (v Value) Bytes() []byte {
	if v.Kind() != String {
		return nil
	}
	n := v.doc.nodes[v.i].num
	return v.doc.text[n>>32:][:uint32(n)]
}

// Text returns a copy of the text of a String.
func (v Value) Text() string { return string(v.Bytes()) }

// Len returns the number of elements of an Array or members of an Object.
func (v Value) Len() int {
	if v.doc == nil {
		return 0
	}
	return int(v.doc.nodes[v.i].n)
}

// First returns the first element or member.
func (v Value) First() Value {
	if v.doc == nil {
		return Value{}
	}
	return v.at(v.doc.nodes[v.i].child)
}

// Next returns the element or member that follows v.
func (v Value) Next() Value {
	if v.doc == nil {
		return Value{}
	}
	return v.at(v.doc.nodes[v.i].next)
}

func (v Value) at(i int32) Value {
	if i == 0 {
		return Value{}
	}
	return Value{v.doc, i}
}

// Key returns the name under which v is a member of an object. It must not be
// changed and dies with the Doc.
func (v Value) Key() []byte {
	if v.doc == nil {
		return nil
	}
	k := v.doc.nodes[v.i].key
	return v.doc.text[k.off:][:k.len]
}

// Get returns the member with the given name of an Object; a Value that does
// not exist when there is none.
func (v Value) Get(name string) Value {
	if v.Kind() != Object {
		return Value{}
	}
	for m := v.First(); m.Exists(); m = m.Next() {
		if string(m.Key()) == name {
			return m
		}
	}
	return Value{}
}
