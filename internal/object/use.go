package object

import (
	"slices"
	"strings"
)

// user is one who depends on an object.
type user struct{ name string }

// Use notes that somebody ("device 'rng0'") depends on o, so that it is not
// deleted, until release is called.
func Use(o Object, by string) (release func()) {
	n, u := o.Obj(), &user{by}
	n.users = append(n.users, u)
	return func() {
		if i := slices.Index(n.users, u); i >= 0 {
			n.users = slices.Delete(n.users, i, i+1)
		}
	}
}

// Users returns those who depend on the object: "device 'rng0' and iothread 'x'".
// It is "" when nobody does.
func (n *Node) Users() string {
	var names []string
	for _, u := range n.users {
		names = append(names, u.name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 1 {
		last := len(names) - 1
		return strings.Join(names[:last], ", ") + " and " + names[last]
	}
	return strings.Join(names, "")
}
