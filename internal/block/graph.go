package block

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/clock"
	"govmd/internal/crypto"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/runstate"
	"govmd/internal/sock"
	"govmd/internal/throttle"
)

// Env is what the block layer uses of the machine. All of it may be missing, as
// in an image tool: then nothing is announced, nothing stops, time is the host's.
type Env struct {
	Bus      *event.Bus
	Lane     *lane.Lane
	RunState *runstate.Controller
	Clock    *clock.Set
	// OpenFD opens a file name that may stand for a descriptor ("/dev/fdset/1");
	// nil opens by name only. It returns a descriptor that the caller owns.
	OpenFD func(name string, flags int, mode uint32) (int, error)
	// CloseFD closes what OpenFD has opened; nil just closes it.
	CloseFD func(fd int) error
	// Yankable makes it known how the connections of a node can be cut, until the
	// function that it returns is called. cut may be called from any goroutine.
	Yankable func(node string, cut func()) (unregister func())
	// Secret returns the data of the secret object of that ID.
	Secret func(id string) ([]byte, error)
	// ThrottleGroup returns the object throttle-group of that ID, nil if there is none.
	ThrottleGroup func(id string) *throttle.Group
	// TLSCreds returns the TLS credentials object of that ID, as the sock package takes it.
	TLSCreds func(id string) (any, error)
	// WeakEncryption has images with qcow2's own encryption opened, which machines
	// should not rely on: for image tools, to convert them.
	WeakEncryption bool
}

// UseObjects has images find the secrets, credentials and throttle groups among
// objects.
func (e *Env) UseObjects(objects *object.Collection) {
	e.Secret = func(id string) ([]byte, error) {
		s, err := crypto.FindSecret(objects, id)
		if err != nil {
			return nil, err
		}
		return s.Bytes(), nil
	}
	e.TLSCreds = func(id string) (any, error) {
		return object.Find[sock.TLSCreds](objects, id, "TLS credentials")
	}
	e.ThrottleGroup = func(id string) *throttle.Group {
		g, _ := objects.Find(id).(*throttle.Group)
		return g
	}
}

// Graph holds the nodes, back ends and dirty bitmaps of one machine.
type Graph struct {
	env Env

	mu       sync.Mutex // guards everything below, and the structure of nodes and edges
	nodes    map[string]*Node
	order    []*Node // in the order in which they were opened
	backends []*Backend
	nextAuto int

	throttles map[string]*throttleGroup // those with members; the lane's own
}

// NewGraph returns an empty graph.
func NewGraph(env Env) *Graph {
	return &Graph{env: env, nodes: make(map[string]*Node)}
}

// Env returns what the graph was made with.
func (g *Graph) Env() *Env { return &g.env }

// OpenFD opens a file name as Env.OpenFD does.
func (g *Graph) OpenFD(name string, flags int, mode uint32) (int, error) {
	if fn := g.env.OpenFD; fn != nil {
		return fn(name, flags, mode)
	}
	return unix.Open(name, flags, mode)
}

// CloseFD closes a descriptor that OpenFD has opened.
func (g *Graph) CloseFD(fd int) error {
	if fn := g.env.CloseFD; fn != nil {
		return fn(fd)
	}
	return unix.Close(fd)
}

// Publish announces an event, if there is anybody to hear it.
func (g *Graph) Publish(ev event.Event) {
	if g.env.Bus != nil {
		g.env.Bus.Publish(ev)
	}
}

// Node returns the node of that name, or nil.
func (g *Graph) Node(name string) *Node {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.nodes[name]
}

// Nodes returns all nodes in the order in which they were opened.
func (g *Graph) Nodes() []*Node {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.order)
}

// Lookup returns the node that a command's device or node-name means: name is
// first looked for among back ends (whose medium it then is), then among nodes,
// as QEMU's bdrv_lookup_bs has it. Either may be "".
func (g *Graph) Lookup(device, nodeName string) (*Node, error) {
	if device != "" {
		if b := g.Backend(device); b != nil {
			if n := b.Node(); n != nil {
				return n, nil
			}
			return nil, Errorf(KindNotFound, "Device '%s' has no medium", device)
		}
	}
	if nodeName != "" {
		if n := g.Node(nodeName); n != nil {
			return n, nil
		}
	}
	return nil, Errorf(KindNotFound, "Cannot find device='%s' nor node-name='%s'", device, nodeName)
}

// reserve gives n its name.
func (g *Graph) reserve(n *Node, name *string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if name == nil {
		for {
			n.name = fmt.Sprintf("#block%03d", g.nextAuto)
			g.nextAuto++
			if g.nodes[n.name] == nil {
				break
			}
		}
	} else {
		if !option.ValidID(*name) || len(*name) > 31 {
			return Errorf(KindInvalid, "Invalid node-name: '%s'", *name)
		}
		if g.backendNamed(*name) != nil {
			return Errorf(KindInUse, "node-name=%s is conflicting with a device id", *name)
		}
		if g.nodes[*name] != nil {
			return Errorf(KindInUse, "Duplicate nodes with node-name='%s'", *name)
		}
		n.name = *name
	}
	g.nodes[n.name] = n
	g.order = append(g.order, n)
	return nil
}

func (g *Graph) forget(n *Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.nodes[n.name] == n {
		delete(g.nodes, n.name)
	}
	g.order = slices.DeleteFunc(g.order, func(x *Node) bool { return x == n })
}

// Ref keeps the node open until Unref.
func (n *Node) Ref() {
	n.graph.mu.Lock()
	defer n.graph.mu.Unlock()
	n.refs++
}

// Unref gives back what Ref, Open or an edge took. The last one closes the node:
// it runs on the lane (or where the node was opened).
func (n *Node) Unref() {
	g := n.graph
	g.mu.Lock()
	n.refs--
	last := n.refs == 0 && !n.closing
	if last {
		n.closing = true
	}
	g.mu.Unlock()
	if last {
		n.close()
	}
}

func (n *Node) close() {
	traceClose.Emit(n.Name())
	_ = n.trk.waitIdle(context.Background()) // it cannot end early
	if n.drv != nil && n.writable() {
		_ = n.flush() // nobody is left to hear of it
	}
	n.discard()
}

// discard ends a node that nothing is under way on: closed, or not opened whole.
func (n *Node) discard() {
	if n.drv != nil {
		n.drv.Close()
	}
	n.graph.forget(n)
	for i := len(n.children) - 1; i >= 0; i-- {
		n.graph.detach(n.children[i])
	}
}

// SetMonitorOwned makes a reference the monitor's: blockdev-del takes it back.
func (n *Node) SetMonitorOwned(on bool) { n.monitor = on }

// MonitorOwned reports whether blockdev-add made the node.
func (n *Node) MonitorOwned() bool { return n.monitor }

// Refs returns how many references there are.
func (n *Node) Refs() int {
	n.graph.mu.Lock()
	defer n.graph.mu.Unlock()
	return n.refs
}

// CloseAll closes what the monitor owns and then reports what is still open, for
// the end of the program: devices, jobs and exports have let go before it.
func (g *Graph) CloseAll() (left []string) {
	for _, n := range g.Nodes() {
		if n.monitor {
			n.monitor = false
			n.Unref()
		}
	}
	for _, n := range g.Nodes() {
		left = append(left, n.name)
	}
	return left
}

// FlushAll flushes every node that can be written; the first error is returned.
func (g *Graph) FlushAll() (err error) {
	for _, n := range g.Nodes() {
		if !n.writable() {
			continue
		}
		if e := n.flush(); e != nil && err == nil {
			err = fmt.Errorf("flushing node '%s': %w", n.name, e)
		}
	}
	return err
}
