package block

import "strings"

// Perm is a set of things that a parent does, or lets others do, to a node.
type Perm uint8

// The permissions.
const (
	PermRead      Perm = 1 << iota // consistent-read: what is read is what a guest would see
	PermWrite                      // write
	PermUnchanged                  // write-unchanged: writes that change nothing visible
	PermResize                     // resize

	PermAll = PermRead | PermWrite | PermUnchanged | PermResize
)

var permNames = [...]string{"consistent-read", "write", "write-unchanged", "resize"}

// Names returns the permissions' names as the protocol has them.
func (p Perm) Names() []string {
	list := []string{}
	for i, n := range permNames {
		if p&(1<<i) != 0 {
			list = append(list, n)
		}
	}
	return list
}

func (p Perm) String() string { return strings.Join(p.Names(), ", ") }

// Role is what a child is to its parent.
type Role uint8

// The roles; a child can have several.
const (
	RoleData     Role = 1 << iota // guest-visible data
	RoleMetadata                  // the format's own
	RoleFiltered                  // the parent shows what the child holds
	RoleCOW                       // what the parent does not have is here: a backing file
	RolePrimary                   // the one that stands for the parent

	// RoleImage is that of a format's "file".
	RoleImage = RoleData | RoleMetadata | RolePrimary
)

// DefaultChildPerm returns what a node that is used with perm, and whose users
// share shared, needs of a child in role and shares of it.
func DefaultChildPerm(n *Node, role Role, perm, shared Perm) (Perm, Perm) {
	switch {
	case role&RoleFiltered != 0:
		return perm, shared | PermUnchanged
	case role&RoleCOW != 0:
		// Others may change a backing file only when our users can bear it.
		s := PermRead | PermUnchanged
		if shared&PermWrite != 0 || n.inactive {
			s |= PermWrite | PermResize
		}
		return perm & PermRead, s
	}
	if role&RoleMetadata != 0 {
		// Metadata change without a guest's write, and must not under our hands.
		if n.writable() {
			perm |= PermWrite | PermResize
		}
		if !n.set.NoIO {
			perm |= PermRead
		}
		s := shared & (PermRead | PermUnchanged)
		if n.inactive {
			s |= PermWrite | PermResize
		}
		return perm, s
	}
	// Data alone, in a file of its own.
	if perm&PermWrite != 0 {
		perm |= PermResize
	}
	return perm, shared &^ PermResize
}
