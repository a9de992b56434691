package memory

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// MaxNode is the number of host nodes that a Policy can name.
const MaxNode = 128

// Policy says on which of the host's nodes memory is (mbind(2)).
type Policy struct {
	Mode  PolicyMode
	Nodes []uint16 // below MaxNode
}

// PolicyMode is how the nodes of a policy are meant.
type PolicyMode int

// The modes.
const (
	PolicyDefault    PolicyMode = unix.MPOL_DEFAULT
	PolicyPreferred  PolicyMode = unix.MPOL_PREFERRED
	PolicyBind       PolicyMode = unix.MPOL_BIND
	PolicyInterleave PolicyMode = unix.MPOL_INTERLEAVE
)

// PolicyError is a policy that the host does not follow.
type PolicyError struct{ Err error }

func (e *PolicyError) Error() string {
	return fmt.Sprintf("cannot bind memory to host NUMA nodes: %v", e.Err)
}

// Unwrap returns the kernel's error.
func (e *PolicyError) Unwrap() error { return e.Err }

const wordBits = 64

// bind puts the pages where the policy says. None are allocated yet.
func (m *mapping) bind(p Policy) error {
	if p.Mode == PolicyDefault && len(p.Nodes) == 0 {
		return nil
	}
	var mask [MaxNode / wordBits]uint64
	for _, n := range p.Nodes {
		if int(n) >= MaxNode {
			return &PolicyError{unix.EINVAL}
		}
		mask[n/wordBits] |= 1 << (n % wordBits)
	}
	const strict, move = 1, 2 // MPOL_MF_STRICT, MPOL_MF_MOVE
	if err := mbind(m.all(), int(p.Mode), mask[:], strict|move); err != nil {
		return &PolicyError{err}
	}
	return nil
}
