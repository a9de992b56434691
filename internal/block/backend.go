package block

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// Device is what a back end calls of the device that it is attached to. Each
// method is called on the lane, holding no lock of the block layer, unless it
// says otherwise.
type Device interface {
	// BlockDeviceName is the device's ID or QOM path, for messages and queries.
	BlockDeviceName() string
	// MediumChanged: a medium is in the drive (or not any more). A device with a
	// tray, which is open then, need not do anything yet: the guest sees what is in
	// the drive when the tray closes.
	MediumChanged(present bool)
	// MediumResized: the medium has another size. It may be called from anywhere.
	MediumResized()
}

// UserDevice is a device whose user knows it by another name than its own: an ID
// that is that of what it is a part of.
type UserDevice interface {
	Device
	BlockUserID() string // "" for none
}

// MediaDevice is a device without a tray whose medium can be changed: a floppy drive.
type MediaDevice interface {
	Device
	RemovableMedium()
}

// TrayDevice is a device with removable media and a tray.
type TrayDevice interface {
	Device
	// MoveTray opens or closes the tray, as the user does from outside: a lock of the
	// guest's does not matter. It announces that with Backend.PublishTray when the
	// tray was elsewhere before.
	MoveTray(open bool)
	// TrayOpen and MediumLocked may be called from anywhere.
	TrayOpen() bool
	MediumLocked() bool
	// EjectRequest asks the guest to let the medium go (or, with force, tells the
	// device that it goes).
	EjectRequest(force bool)
}

// DrainDevice is a device that has to know of drains: it stops looking at its
// rings. Both return at once.
type DrainDevice interface {
	DrainedBegin()
	DrainedEnd()
}

// Backend is the device's side of the block layer: what may be in the drive, what
// happens on errors, and accounts. Its medium is the node at its root. All methods
// run on the lane unless they say otherwise.
type Backend struct {
	graph *Graph
	name  string // "" when it has none (a device with drive=NODE)
	root  atomic.Pointer[Child]

	dev      Device // nil: none is attached
	perm     Perm
	shared   Perm
	writable atomic.Bool // the device writes
	queues   []*Queue

	policy    atomic.Pointer[Policy]
	ioStatus  atomic.Int32
	useStatus atomic.Bool
	cache     atomic.Bool // write-back, as the guest sees it
	throttle  atomic.Pointer[ThrottleMember]
	acct      Stats
	legacy    *LegacyDrive
	retained  Settings

	parkMu sync.Mutex
	parked fifo // waiting for cont
	unhook func()
}

// LegacyDrive is what -drive says and a device asks for.
type LegacyDrive struct {
	ID        string
	Interface string // "ide", "virtio", "none", …
	Bus, Unit int
	Media     string // "disk" or "cdrom"
	Serial    string
	Given     string // the option, for messages
}

// NewBackend returns a back end without a medium. name is "" or unique among
// back ends and nodes.
func (g *Graph) NewBackend(name string) (*Backend, error) {
	b := &Backend{graph: g, name: name, perm: 0, shared: PermAll}
	b.cache.Store(true)
	b.policy.Store(&Policy{Read: OnErrorReport, Write: OnErrorEnospc})
	b.acct.init(g.env.Clock)
	g.mu.Lock()
	defer g.mu.Unlock()
	if name != "" {
		if g.backendNamed(name) != nil {
			return nil, Errorf(KindInUse, "Device with id '%s' already exists", name)
		}
		if g.nodes[name] != nil {
			return nil, Errorf(KindInUse, "Device name '%s' conflicts with an existing node name", name)
		}
	}
	g.backends = append(g.backends, b)
	if rs := g.env.RunState; rs != nil {
		b.unhook = rs.AddNotifier(runStatePriority, b.runStateChanged)
	}
	return b, nil
}

func (g *Graph) backendNamed(name string) *Backend {
	for _, b := range g.backends {
		if b.name == name {
			return b
		}
	}
	return nil
}

// Backend returns the back end of that name, or nil.
func (g *Graph) Backend(name string) *Backend {
	g.mu.Lock()
	defer g.mu.Unlock()
	if name == "" {
		return nil
	}
	return g.backendNamed(name)
}

// Backends returns all back ends, in the order in which they were made.
func (g *Graph) Backends() []*Backend {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.backends)
}

// Close lets the medium go and ends the back end. The device has been detached.
func (b *Backend) Close() {
	b.CancelParked()
	b.RemoveMedium()
	for len(b.queues) > 0 {
		b.CloseQueue(b.queues[0])
	}
	if b.unhook != nil {
		b.unhook()
	}
	b.graph.mu.Lock()
	b.graph.backends = slices.DeleteFunc(b.graph.backends, func(x *Backend) bool { return x == b })
	b.graph.mu.Unlock()
}

// Name returns the back end's name, "" if it has none.
func (b *Backend) Name() string { return b.name }

// Graph returns the graph that the back end belongs to.
func (b *Backend) Graph() *Graph { return b.graph }

// Node returns the medium, or nil. It may be called from anywhere.
func (b *Backend) Node() *Node {
	if c := b.root.Load(); c != nil {
		return c.Node()
	}
	return nil
}

// Root returns the edge to the medium, or nil. It may be called from anywhere.
func (b *Backend) Root() *Child { return b.root.Load() }

// Legacy returns what -drive said, or nil.
func (b *Backend) Legacy() *LegacyDrive { return b.legacy }

// LegacyDrive returns the drive that -drive has put in a place, or nil.
func (g *Graph) LegacyDrive(iface string, bus, unit int) *Backend {
	for _, b := range g.Backends() {
		if l := b.legacy; l != nil && l.Interface == iface && l.Bus == bus && l.Unit == unit {
			return b
		}
	}
	return nil
}

// SetLegacy stores what -drive said.
func (b *Backend) SetLegacy(l *LegacyDrive) { b.legacy = l }

// Attach connects a device: there is at most one.
func (b *Backend) Attach(d Device) error {
	if b.dev != nil {
		return Errorf(KindInUse, "Drive '%s' is already in use by another device", b.displayName())
	}
	b.dev = d
	return nil
}

// Detach disconnects the device, which has ended its requests.
func (b *Backend) Detach() {
	b.CancelParked()
	b.dev = nil
	_ = b.SetPerms(0, PermAll) // to want less is never refused
}

// Device returns the attached device, or nil.
func (b *Backend) Device() Device { return b.dev }

// DeviceName returns the name of the attached device, or "".
func (b *Backend) DeviceName() string {
	if b.dev == nil {
		return ""
	}
	return b.dev.BlockDeviceName()
}

func (b *Backend) displayName() string {
	if b.name != "" {
		return b.name
	}
	if n := b.DeviceName(); n != "" {
		return n
	}
	if n := b.Node(); n != nil {
		return n.name
	}
	return "(unnamed)"
}

// SetPerms says what the device does to its medium, and lets others do, now and
// for media to come.
func (b *Backend) SetPerms(perm, shared Perm) error {
	if c := b.root.Load(); c != nil {
		if err := c.SetPerms(perm, shared); err != nil {
			return err
		}
	}
	b.perm, b.shared = perm, shared
	b.writable.Store(perm&PermWrite != 0)
	return nil
}

// InsertMedium puts a node into the drive, which is empty. It takes a reference.
func (b *Backend) InsertMedium(n *Node) error {
	if b.root.Load() != nil {
		return Errorf(KindInUse, "There already is a medium in device '%s'", b.displayName())
	}
	c, err := b.graph.Attach(backendParent{b}, "root", RoleFiltered|RolePrimary, n, b.perm, b.shared)
	if err != nil {
		return err
	}
	b.root.Store(c)
	b.retained = n.set
	if b.dev != nil {
		b.dev.MediumChanged(true)
	}
	return nil
}

// RemoveMedium takes the node out of the drive, if there is one, once nothing is
// under way.
func (b *Backend) RemoveMedium() {
	c := b.root.Load()
	if c == nil {
		return
	}
	p := backendParent{b}
	p.DrainBegin(c)
	_ = p.DrainWait(context.Background(), c) // it cannot end early
	b.root.Store(nil)
	p.DrainEnd(c)
	b.graph.Detach(c)
	if b.dev != nil {
		b.dev.MediumChanged(false)
	}
}

// Retained returns the generic settings with which the next medium is opened
// unless it is told otherwise: those of the last one, or what SetRetained has set.
func (b *Backend) Retained() Settings { return b.retained }

// SetRetained sets them, for a drive that begins empty.
func (b *Backend) SetRetained(s Settings) { b.retained = s }

// Inserted reports whether there is a medium. It may be called from anywhere.
func (b *Backend) Inserted() bool { return b.root.Load() != nil }

// Length returns the medium's size in bytes, 0 without one: whole sectors of 512
// bytes, the last of which may be partly beyond the end of an image file. It may be
// called from anywhere.
func (b *Backend) Length() int64 {
	if n := b.Node(); n != nil {
		return sectors(n.Length())
	}
	return 0
}

func sectors(n int64) int64 { return (n + 511) &^ 511 }

// ReadOnly reports whether the medium cannot be written. It may be called from anywhere.
func (b *Backend) ReadOnly() bool {
	n := b.Node()
	return n != nil && n.ReadOnly()
}

// WriteCache reports whether writes are stable only after a flush, as the guest
// sees it; with SetWriteCache(false) each write is flushed (FUA). Both may be
// called from anywhere.
func (b *Backend) WriteCache() bool { return b.cache.Load() }

// SetWriteCache sets it.
func (b *Backend) SetWriteCache(on bool) { b.cache.Store(on) }

// Stats returns the accounts. They may be used from anywhere.
func (b *Backend) Stats() *Stats { return &b.acct }

// BackendOf returns the drive that uses a node through c, nil if something else does.
func BackendOf(c *Child) *Backend {
	if p, ok := c.parent.(backendParent); ok {
		return p.b
	}
	return nil
}

// backendParent is a back end as the parent of its root.
type backendParent struct{ b *Backend }

func (p backendParent) ParentName() string {
	if p.b.name == "" && p.b.DeviceName() != "" {
		return "block device '" + p.b.DeviceName() + "'"
	}
	return "block device '" + p.b.displayName() + "'"
}

func (p backendParent) DrainBegin(*Child) {
	if d, ok := p.b.dev.(DrainDevice); ok {
		d.DrainedBegin()
	}
	for _, q := range p.b.queues {
		q.Hold()
	}
	if t := p.b.Throttle(); t != nil {
		t.Suspend()
	}
}

func (p backendParent) DrainWait(ctx context.Context, _ *Child) error { return p.b.Wait(ctx) }

func (p backendParent) DrainEnd(*Child) {
	if t := p.b.Throttle(); t != nil {
		t.Restore()
	}
	for _, q := range p.b.queues {
		q.Release()
	}
	if d, ok := p.b.dev.(DrainDevice); ok {
		d.DrainedEnd()
	}
}

func (p backendParent) ChildResized(*Child) {
	if p.b.dev != nil {
		p.b.dev.MediumResized()
	}
}

func (p backendParent) Inactivate(c *Child) error {
	return c.SetPerms(0, PermAll)
}

func (p backendParent) Activate(c *Child) error { return c.SetPerms(p.b.perm, p.b.shared) }
