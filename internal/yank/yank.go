// Package yank lets a user break off what hangs on a network: a connection that
// does not answer is shut down, and whoever waits for it goes on with an error.
//
// Whoever has such connections registers what shuts them down. The commands do
// not use the control lane and can be issued out of band: they work while
// everything else waits.
package yank

import (
	"slices"
	"sync"

	"govmd/internal/qmp"
)

// Instance is somebody who can be yanked.
type Instance struct {
	Type   instanceType `qmp:"type"`
	Branch any          `qmp:",branch"`
}

type instanceType string

// The kinds of instances.
const (
	typeBlockNode instanceType = "block-node"
	typeChardev   instanceType = "chardev"
	typeMigration instanceType = "migration"
)

// EnumValues implements qmp.Enum.
func (instanceType) EnumValues() []string {
	return []string{string(typeBlockNode), string(typeChardev), string(typeMigration)}
}

type blockNode struct {
	NodeName string `qmp:"node-name"`
}

type chardev struct {
	ID string `qmp:"id"`
}

var instances = qmp.NewUnion("YankInstance", "type")

func init() {
	qmp.AddBranch[blockNode](instances, string(typeBlockNode))
	qmp.AddBranch[chardev](instances, string(typeChardev))
}

// QMPUnion implements qmp.Unioner.
func (Instance) QMPUnion() *qmp.Union { return instances }

// BlockNode is the node of that name.
func BlockNode(name string) Instance { return Instance{typeBlockNode, &blockNode{name}} }

// Chardev is the character device of that ID.
func Chardev(id string) Instance { return Instance{typeChardev, &chardev{id}} }

// Migration is the migration.
func Migration() Instance { return Instance{Type: typeMigration} }

func (i Instance) name() string {
	switch b := i.Branch.(type) {
	case *blockNode:
		return b.NodeName
	case *chardev:
		return b.ID
	}
	return ""
}

func (i Instance) same(other Instance) bool { return i.Type == other.Type && i.name() == other.name() }

// Registry holds who can be yanked. Its zero value is ready to use, from any
// goroutine; that of a nil Registry does nothing.
type Registry struct {
	mu      sync.Mutex
	entries []*entry
}

type entry struct {
	instance Instance
	shut     func()
}

// Register has shut called when the instance is yanked, from any goroutine and
// as often as a user likes, until unregister is called. shut must not block nor
// use the registry; it can still be at work when unregister returns. An instance
// can be registered more than once.
func (r *Registry) Register(i Instance, shut func()) (unregister func()) {
	if r == nil {
		return func() {}
	}
	e := &entry{i, shut}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, e)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.entries = slices.DeleteFunc(r.entries, func(x *entry) bool { return x == e })
	}
}

// Yank yanks the instances. When one is not registered it yanks none, and the
// error is of class DeviceNotFound.
func (r *Registry) Yank(list ...Instance) error {
	r.mu.Lock()
	var shut []func()
	for _, i := range list {
		n := len(shut)
		for _, e := range r.entries {
			if e.instance.same(i) {
				shut = append(shut, e.shut)
			}
		}
		if len(shut) == n {
			r.mu.Unlock()
			return qmp.ClassErrorf(qmp.ClassDeviceNotFound, "Instance not found")
		}
	}
	r.mu.Unlock()
	for _, fn := range shut {
		fn()
	}
	return nil
}

// Instances returns who can be yanked, the newest first, each once.
func (r *Registry) Instances() []Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Instance, 0, len(r.entries))
	for _, e := range slices.Backward(r.entries) {
		if !slices.ContainsFunc(list, e.instance.same) {
			list = append(list, e.instance)
		}
	}
	return list
}

type yankArgs struct {
	Instances []Instance `qmp:"instances"`
}

// Commands returns the commands about who can be yanked.
func (r *Registry) Commands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-yank", func(*qmp.Context, *qmp.None) ([]Instance, error) { return r.Instances(), nil }, qmp.OOB, qmp.NoLane),
		qmp.New("yank", func(_ *qmp.Context, a *yankArgs) (qmp.None, error) {
			return qmp.None{}, r.Yank(a.Instances...)
		}, qmp.OOB, qmp.NoLane),
	}
}
