package qjson

import (
	"bytes"
	"math"
	"slices"
)

// Builder makes a Doc value by value. Within an object each value or Begin is
// preceded by Key. The zero Builder is ready to use.
type Builder struct {
	doc   *Doc
	stack []frame // the containers that are open
	key   span
}

type frame struct{ node, last int32 }

func (b *Builder) begin() *Doc {
	if b.doc == nil {
		b.doc = newDoc()
	}
	return b.doc
}

// Key names the member that comes next.
func (b *Builder) Key(name []byte) {
	d := b.begin()
	b.key = span{uint32(len(d.text)), uint32(len(name))}
	d.text = append(d.text, name...)
}

// add appends a node and links it to its container.
func (b *Builder) add(k Kind, num uint64) int32 {
	d := b.begin()
	i := int32(len(d.nodes))
	d.nodes = append(d.nodes, node{kind: k, num: num, key: b.key})
	b.key = span{}
	if len(b.stack) > 0 {
		f := &b.stack[len(b.stack)-1]
		if f.last == 0 {
			d.nodes[f.node].child = i
		} else {
			d.nodes[f.last].next = i
		}
		f.last = i
		d.nodes[f.node].n++
	}
	return i
}

// Null adds null.
func (b *Builder) Null() { b.add(Null, 0) }

// Bool adds true or false.
func (b *Builder) Bool(v bool) {
	var n uint64
	if v {
		n = 1
	}
	b.add(Bool, n)
}

// Int adds an integer.
func (b *Builder) Int(v int64) { b.add(Int, uint64(v)) }

// Uint adds an integer: an Int when it fits int64.
func (b *Builder) Uint(v uint64) {
	if v <= math.MaxInt64 {
		b.add(Int, v)
	} else {
		b.add(Uint, v)
	}
}

// Float adds a floating-point number.
func (b *Builder) Float(v float64) { b.add(Float, math.Float64bits(v)) }

// String adds a string.
func (b *Builder) String(s []byte) {
	d := b.begin()
	off := len(d.text)
	d.text = append(d.text, s...)
	b.add(String, uint64(off)<<32|uint64(len(s)))
}

// Add adds a copy of v, which is of another Doc, with its key if it has one.
func (b *Builder) Add(v Value) {
	if key := v.Key(); key != nil {
		b.Key(key)
	}
	switch v.Kind() {
	case String:
		b.String(v.Bytes())
	case Array, Object:
		b.Begin(v.Kind())
		for m := v.First(); m.Exists(); m = m.Next() {
			b.Add(m)
		}
		b.End()
	default:
		b.add(v.Kind(), v.doc.nodes[v.i].num)
	}
}

// Begin opens an Array or Object.
func (b *Builder) Begin(k Kind) {
	i := b.add(k, 0)
	b.stack = append(b.stack, frame{node: i})
}

// End closes the container that was opened last.
func (b *Builder) End() { b.stack = b.stack[:len(b.stack)-1] }

// Finish returns what was built; the Builder starts afresh.
func (b *Builder) Finish() *Doc {
	d := b.begin()
	b.doc = nil
	b.stack = b.stack[:0]
	return d
}

// abandon throws away what was built so far.
func (b *Builder) abandon() {
	if b.doc != nil {
		b.doc.reset()
	}
	b.stack = b.stack[:0]
	b.key = span{}
	if cap(b.stack) > 64 {
		b.stack = nil
	}
}

// smallObject is how many members are compared one by one.
const smallObject = 16

// duplicate reports whether the member added last has the name of an earlier
// one. Objects of more than smallObject members are left to duplicates.
func (b *Builder) duplicate() bool {
	f := b.stack[len(b.stack)-1]
	if b.doc.nodes[f.node].n > smallObject {
		return false
	}
	last := Value{b.doc, f.last}
	for m := (Value{b.doc, f.node}).First(); m.i != last.i; m = m.Next() {
		if bytes.Equal(m.Key(), last.Key()) {
			return true
		}
	}
	return false
}

// duplicates reports whether two members of the object that is open have one name.
func (b *Builder) duplicates() bool {
	f := b.stack[len(b.stack)-1]
	n := b.doc.nodes[f.node].n
	if n <= smallObject {
		return false
	}
	all := make([]Value, 0, n)
	for m := (Value{b.doc, f.node}).First(); m.Exists(); m = m.Next() {
		all = append(all, m)
	}
	slices.SortFunc(all, func(x, y Value) int { return bytes.Compare(x.Key(), y.Key()) })
	for i := 1; i < len(all); i++ {
		if bytes.Equal(all[i-1].Key(), all[i].Key()) {
			return true
		}
	}
	return false
}
