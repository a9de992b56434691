package filter

import (
	"govmd/internal/block"
)

// ThrottleOptions are the options of the driver throttle.
type ThrottleOptions struct {
	block.GenericFormat
	Group string `qmp:"throttle-group"`
}

func init() {
	block.Register[ThrottleOptions](&block.Type{Name: "throttle", Filter: true, Open: openThrottle})
}

// throttle has requests wait until their group's limits let them go ahead.
type throttle struct {
	passthrough
	graph  *block.Graph
	node   *block.Node
	member *block.ThrottleMember
}

func openThrottle(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*ThrottleOptions)
	p, err := openFile(a, o.File)
	if err != nil {
		return nil, err
	}
	d := &throttle{passthrough: p, graph: a.Graph, node: a.Node}
	if d.member, err = d.join(o.Group); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *throttle) join(group string) (*block.ThrottleMember, error) {
	return d.graph.JoinThrottle(group, "node '"+d.node.Name()+"'", false)
}

func (d *throttle) Preadv(off int64, v block.Vec, f block.Flags) error {
	d.member.Wait(false, int64(v.Len()))
	return d.file.Preadv(off, v, f)
}

func (d *throttle) Pwritev(off int64, v block.Vec, f block.Flags) error {
	d.member.Wait(true, int64(v.Len()))
	return d.file.Pwritev(off, v, f)
}

func (d *throttle) PwriteZeroes(off, n int64, f block.Flags) error {
	d.member.Wait(true, n)
	return d.file.PwriteZeroes(off, n, f)
}

func (d *throttle) Pdiscard(off, n int64) error {
	d.member.Wait(true, n)
	return d.file.Pdiscard(off, n)
}

// DrainBegin lets what waits go ahead: a drain must not take as long as limits say.
func (d *throttle) DrainBegin() { d.member.Suspend() }

func (d *throttle) DrainWait() {}

func (d *throttle) DrainEnd() { d.member.Restore() }

// PrepareReopen joins another group. The node is drained.
func (d *throttle) PrepareReopen(a *block.ReopenArgs) error {
	group := a.Opts.(*ThrottleOptions).Group
	if group == d.member.Group() {
		return nil
	}
	m, err := d.join(group)
	if err != nil {
		return err
	}
	m.Suspend() // as the drain has had it of the old one
	a.State = m
	return nil
}

func (d *throttle) CommitReopen(a *block.ReopenArgs) {
	if m, ok := a.State.(*block.ThrottleMember); ok {
		d.member.Leave()
		d.member = m
	}
}

func (d *throttle) AbortReopen(a *block.ReopenArgs) {
	if m, ok := a.State.(*block.ThrottleMember); ok {
		m.Leave()
	}
}

func (d *throttle) Close() { d.member.Leave() }
