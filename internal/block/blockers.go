package block

import "slices"

// Operation names something that may be refused on a node while something else is
// going on (a job, an export), with the reason.
type Operation string

// The operations that commands check.
const (
	OperationBackupSource     Operation = "backup-source"
	OperationBackupTarget     Operation = "backup-target"
	OperationChange           Operation = "change"
	OperationCommitSource     Operation = "commit-source"
	OperationCommitTarget     Operation = "commit-target"
	OperationDriveDel         Operation = "drive-del"
	OperationEject            Operation = "eject"
	OperationExternalSnapshot Operation = "external-snapshot"
	OperationInternalSnapshot Operation = "internal-snapshot"
	OperationInternalDelete   Operation = "internal-snapshot-delete"
	OperationMirrorSource     Operation = "mirror-source"
	OperationMirrorTarget     Operation = "mirror-target"
	OperationResize           Operation = "resize"
	OperationStream           Operation = "stream"
	OperationReplace          Operation = "replace"
	OperationDataplane        Operation = "dataplane"
)

// blocker is a reason for which operations are refused; nil ops: all.
type blocker struct {
	owner  any
	ops    []Operation
	except bool // all but ops
	reason string
}

// Block refuses operations (none: all) on the node, for reason, until Unblock is
// called with the same owner.
func (n *Node) Block(owner any, reason string, ops ...Operation) {
	n.blockers = append(n.blockers, blocker{owner: owner, ops: ops, except: len(ops) == 0, reason: reason})
}

// BlockAllBut refuses all operations but those named.
func (n *Node) BlockAllBut(owner any, reason string, ops ...Operation) {
	n.blockers = append(n.blockers, blocker{owner: owner, ops: ops, except: true, reason: reason})
}

// Unblock ends what owner has blocked.
func (n *Node) Unblock(owner any) {
	n.blockers = slices.DeleteFunc(n.blockers, func(b blocker) bool { return b.owner == owner })
}

// Blocked returns why an operation is refused on the node, or nil.
func (n *Node) Blocked(op Operation) error {
	for _, b := range n.blockers {
		if slices.Contains(b.ops, op) != b.except {
			return Errorf(KindInUse, "Node '%s' is busy: %s", n.shownName(), b.reason)
		}
	}
	return nil
}

// shownName is the name of the device that the node is the root of, or its own.
func (n *Node) shownName() string {
	if name := n.DeviceName(); name != "" {
		return name
	}
	return n.name
}

// DeviceName returns the name of the drive that the node is the medium of, "" if
// there is none or it has no name.
func (n *Node) DeviceName() string {
	for _, c := range n.Parents() {
		if b := BackendOf(c); b != nil && b.name != "" {
			return b.name
		}
	}
	return ""
}
