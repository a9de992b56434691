package object

import (
	"fmt"
	"strings"
)

// Node is an object's place in the tree. Objects embed it.
type Node struct {
	typ      *Type
	self     Object
	parent   *Node
	name     string
	children []*Node
	extra    []Property // of this instance alone
	frozen   bool       // realized: configuration may no longer change
	users    []*user
}

// Lister is an object, such as a registry, whose children are objects that it
// makes up when it is asked for them.
type Lister interface{ ListChildren() []Object }

// Properter is an object with properties that come and go. They are asked for
// whenever the object is looked at.
type Properter interface{ ListProperties() []Property }

// Obj returns n itself, which makes what embeds a Node an Object.
func (n *Node) Obj() *Node { return n }

// Type returns the object's type; nil for plain containers.
func (n *Node) Type() *Type { return n.typ }

// TypeName returns the name of the object's type.
func (n *Node) TypeName() string {
	if n.typ == nil {
		return "container"
	}
	return n.typ.Name
}

// Object returns the object of which n is the node.
func (n *Node) Object() Object {
	if n.self == nil {
		return n
	}
	return n.self
}

// Name returns the last component of the object's path.
func (n *Node) Name() string { return n.name }

// Parent returns the object above, or nil.
func (n *Node) Parent() Object {
	if n.parent == nil {
		return nil
	}
	return n.parent.Object()
}

// Children returns the objects directly below, in the order in which they were added.
func (n *Node) Children() []Object {
	nodes := n.nodes()
	list := make([]Object, len(nodes))
	for i, c := range nodes {
		list[i] = c.Object()
	}
	return list
}

// nodes returns the children, with those that the object makes up.
func (n *Node) nodes() []*Node {
	l, ok := n.self.(Lister)
	if !ok {
		return n.children
	}
	list := n.children[:len(n.children):len(n.children)]
	for _, o := range l.ListChildren() {
		c := o.Obj()
		c.parent = n
		list = append(list, c)
	}
	return list
}

// Adopt makes o, which was not created by New, an object of the named type; of
// none when there is no such type.
func Adopt(o Object, typeName string) {
	n := o.Obj()
	n.typ, n.self = Lookup(typeName), o
}

// Made returns a Node of the given name and type for an object that a Lister
// makes up.
func Made(name string, t *Type) Node { return Node{name: name, typ: t} }

// Freeze ends the time in which BeforeRealize properties may be set; Thaw
// brings it back after unrealizing.
func (n *Node) Freeze() { n.frozen = true }

// Thaw lets configuration change again.
func (n *Node) Thaw() { n.frozen = false }

// AddProperty gives this one object a property beside those of its type.
func (n *Node) AddProperty(p Property) { n.extra = append(n.extra, p) }

// Properties returns the properties of the object: its type's, then its own.
func (n *Node) Properties() []Property {
	var list []Property
	if n.typ != nil {
		list = n.typ.Properties()
	}
	list = append(list, n.extra...)
	if p, ok := n.self.(Properter); ok {
		list = append(list, p.ListProperties()...)
	}
	return list
}

// Unique returns the properties of n, each name once: the nearest type's wins.
func (n *Node) Unique() []Property { return unique(n.Properties()) }

// Add places child below parent under the given name. A name that ends in "[*]"
// gets the first free number.
func Add(parent, child Object, name string) error {
	p, c := parent.Obj(), child.Obj()
	if c.parent != nil {
		return fmt.Errorf("object '%s' has a parent already", c.Path())
	}
	if name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("'%s' cannot name an object: names are not empty and have no slash", name)
	}
	for up := p; up != nil; up = up.parent {
		if up == c {
			return fmt.Errorf("object '%s' cannot be placed below itself", p.Path())
		}
	}
	if stem, ok := strings.CutSuffix(name, "[*]"); ok {
		for i := 0; ; i++ {
			name = fmt.Sprintf("%s[%d]", stem, i)
			if p.child(name) == nil {
				break
			}
		}
	}
	if p.child(name) != nil {
		return fmt.Errorf("attempt to add duplicate property '%s' to object (type '%s')", name, p.TypeName())
	}
	if c.self == nil {
		c.self = child
	}
	c.parent, c.name = p, name
	p.children = append(p.children, c)
	if traceAdd.On() {
		traceAdd.Emit(c.TypeName(), c.Path())
	}
	return nil
}

// Remove takes the object out of the tree, with all that is below it.
func Remove(o Object) {
	c := o.Obj()
	if c.parent == nil {
		return
	}
	if traceRemove.On() {
		traceRemove.Emit(c.TypeName(), c.Path())
	}
	list := c.parent.children
	for i, x := range list {
		if x == c {
			c.parent.children = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	c.parent = nil
}

func (n *Node) child(name string) *Node {
	for _, c := range n.nodes() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Child returns the object directly below of that name, or nil.
func (n *Node) Child(name string) Object {
	if c := n.child(name); c != nil {
		return c.Object()
	}
	return nil
}

// Path returns the canonical path, "/" for the root and for what has no place.
func (n *Node) Path() string {
	if n.parent == nil {
		return "/"
	}
	up := n.parent.Path()
	if up == "/" {
		return "/" + n.name
	}
	return up + "/" + n.name
}

// Container returns the object at the given path below n, making plain
// containers for what is missing.
func (n *Node) Container(path string) Object {
	at := n
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		next := at.child(name)
		if next == nil {
			next = &Node{}
			_ = Add(at, next, name) // the name is free and the node new
		}
		at = next
	}
	return at.Object()
}

// Resolve finds an object by absolute path, or by a partial path that matches
// the end of exactly one object's path. ambiguous reports a partial path that
// matches several.
func (n *Node) Resolve(path string) (o Object, ambiguous bool) {
	if path == "" {
		return nil, false
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if strings.HasPrefix(path, "/") {
		return n.descend(parts), false
	}
	var found []Object
	n.walk(func(at *Node) {
		if m := at.descend(parts); m != nil {
			found = append(found, m)
		}
	})
	switch len(found) {
	case 0:
		return nil, false
	case 1:
		return found[0], false
	}
	return nil, true
}

func (n *Node) descend(parts []string) Object {
	at := n
	for _, name := range parts {
		if name == "" {
			continue
		}
		if at = at.child(name); at == nil {
			return nil
		}
	}
	return at.Object()
}

func (n *Node) walk(fn func(*Node)) {
	fn(n)
	for _, c := range n.nodes() {
		c.walk(fn)
	}
}

// Walk calls fn for the object and all below it, parents first.
func Walk(o Object, fn func(Object)) {
	o.Obj().walk(func(n *Node) { fn(n.Object()) })
}
