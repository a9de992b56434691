package block

import (
	"slices"
	"sync"

	"govmd/internal/clock"
	"govmd/internal/object"
	"govmd/internal/throttle"
)

// throttleGroup gives the members of a throttle-group their turns. Reads and
// writes have queues of their own; of the members with requests that wait, each
// has its turn in a round. One timer for each direction is armed while anybody
// waits in it.
//
// Lock order: throttleGroup.mu is a leaf; requests are resumed without it.
type throttleGroup struct {
	name   string
	object *throttle.Group
	clock  *clock.Clock

	mu      sync.Mutex // guards what follows
	state   throttle.State
	members []*ThrottleMember
	dirs    [2]direction
}

type direction struct {
	timer *clock.Timer
	armed bool
	turn  int // index of the member that is next
}

// ThrottleMember is a drive or a filter node in a throttle-group.
type ThrottleMember struct {
	graph   *Graph
	group   *throttleGroup
	release func() // of the object

	kept [2]keptList // guarded by group.mu
	off  int         // drained by so many: nothing is limited; guarded by group.mu
}

// kept is a request that waits for its turn: a queue's, or a goroutine's own.
type kept struct {
	r     *Request
	wake  chan struct{}
	bytes int64
}

func (k *kept) resume() {
	if k.r != nil {
		k.r.queue.enqueue(k.r)
	} else {
		k.wake <- struct{}{}
	}
}

// keptList is a queue that keeps its memory.
type keptList struct {
	list []kept
	head int
}

func (l *keptList) empty() bool { return l.head == len(l.list) }

func (l *keptList) push(k kept) {
	if l.head > 0 && len(l.list) == cap(l.list) {
		n := copy(l.list, l.list[l.head:])
		clear(l.list[n:])
		l.list, l.head = l.list[:n], 0
	}
	l.list = append(l.list, k)
}

func (l *keptList) pop() kept {
	k := l.list[l.head]
	l.list[l.head] = kept{}
	if l.head++; l.empty() {
		l.list, l.head = l.list[:0], 0
	}
	return k
}

// JoinThrottle makes a member of the throttle-group of that name, an object. With
// create, a group that does not exist is made for its members and goes with the
// last of them. by is who joins, for messages. It runs on the lane, and so do all
// of a member's methods but Wait.
func (g *Graph) JoinThrottle(name, by string, create bool) (*ThrottleMember, error) {
	tg := g.throttles[name]
	if tg == nil {
		var o *throttle.Group
		if g.env.ThrottleGroup != nil {
			o = g.env.ThrottleGroup(name)
		}
		switch {
		case o == nil && !create:
			return nil, Errorf(KindNotFound, "Throttle group '%s' does not exist", name)
		case g.env.Clock == nil:
			return nil, Errorf(KindUnsupported, "Throttling needs a running machine")
		case o == nil:
			made, err := object.New("throttle-group")
			if err != nil {
				return nil, err
			}
			o = made.(*throttle.Group)
		}
		tg = newThrottleGroup(name, o, g.env.Clock.Virtual)
		if g.throttles == nil {
			g.throttles = map[string]*throttleGroup{}
		}
		g.throttles[name] = tg
	}
	m := &ThrottleMember{graph: g, group: tg, release: object.Use(tg.object, by)}
	tg.mu.Lock()
	tg.members = append(tg.members, m)
	tg.mu.Unlock()
	return m, nil
}

func newThrottleGroup(name string, o *throttle.Group, c *clock.Clock) *throttleGroup {
	tg := &throttleGroup{name: name, object: o, clock: c}
	for d := range tg.dirs {
		tg.dirs[d].timer = c.NewTimer("throttle-group "+name, func() { tg.next(d) })
	}
	tg.state.Configure(o.Config(), c.Now())
	o.OnChange(tg.configure)
	return tg
}

// configure puts new limits in force: those who wait are looked at anew.
func (tg *throttleGroup) configure(c throttle.Config) {
	tg.mu.Lock()
	now := tg.clock.Now()
	tg.state.Configure(c, now)
	for d := range tg.dirs {
		if tg.dirs[d].armed {
			tg.dirs[d].timer.Set(now)
		}
	}
	tg.mu.Unlock()
}

func directionOf(write bool) int {
	if write {
		return 1
	}
	return 0
}

// waits are the channels of goroutines that wait.
var waits = sync.Pool{New: func() any { return make(chan struct{}, 1) }}

// Wait returns when a request of n bytes may go ahead.
func (m *ThrottleMember) Wait(write bool, n int64) {
	ch := waits.Get().(chan struct{})
	if !m.admit(write, kept{wake: ch, bytes: n}) {
		<-ch
	}
	waits.Put(ch)
}

// admit reports whether k may go ahead now. If not it is kept, and resumed later,
// from anywhere, in order.
func (m *ThrottleMember) admit(write bool, k kept) bool {
	tg := m.group
	tg.mu.Lock()
	defer tg.mu.Unlock()
	if m.off > 0 {
		return true
	}
	d := directionOf(write)
	dir := &tg.dirs[d]
	if !dir.armed {
		now := tg.clock.Now()
		wait := tg.state.Wait(write, now)
		if wait == 0 {
			tg.state.Account(write, k.bytes)
			return true
		}
		dir.armed = true
		dir.timer.Set(now + wait)
	}
	m.kept[d].push(k)
	return false
}

// next lets those go ahead in direction d who may now.
func (tg *throttleGroup) next(d int) {
	dir := &tg.dirs[d]
	for {
		tg.mu.Lock()
		dir.armed = false
		i := tg.waiting(d)
		if i < 0 {
			tg.mu.Unlock()
			return
		}
		write := d == 1
		now := tg.clock.Now()
		if wait := tg.state.Wait(write, now); wait > 0 {
			dir.armed = true
			dir.timer.Set(now + wait)
			tg.mu.Unlock()
			return
		}
		k := tg.members[i].kept[d].pop()
		dir.turn = i + 1
		tg.state.Account(write, k.bytes)
		dir.armed = true // whoever comes now is behind those that wait
		tg.mu.Unlock()
		k.resume()
	}
}

// waiting returns which member, in turn, is the next with a request that waits;
// -1 when none is.
func (tg *throttleGroup) waiting(d int) int {
	for i := range tg.members {
		j := (tg.dirs[d].turn + i) % len(tg.members)
		if !tg.members[j].kept[d].empty() {
			return j
		}
	}
	return -1
}

// Suspend ends the limits for this member until Restore: what waits goes ahead.
// Calls nest.
func (m *ThrottleMember) Suspend() {
	m.group.mu.Lock()
	m.off++
	var all []kept
	for d := range m.kept {
		for !m.kept[d].empty() {
			all = append(all, m.kept[d].pop())
		}
	}
	m.group.mu.Unlock()
	for i := range all {
		all[i].resume()
	}
}

// Restore ends what Suspend began.
func (m *ThrottleMember) Restore() {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.off--
}

// Group returns the group's name.
func (m *ThrottleMember) Group() string { return m.group.name }

// Config returns the group's limits.
func (m *ThrottleMember) Config() throttle.Config { return m.group.object.Config() }

// SetConfig changes the limits of the whole group. They have been checked.
func (m *ThrottleMember) SetConfig(c throttle.Config) { m.group.object.SetConfig(c) }

// Leave ends the membership: what waits goes ahead. No request is being admitted.
func (m *ThrottleMember) Leave() {
	m.Suspend()
	tg := m.group
	tg.mu.Lock()
	i := slices.Index(tg.members, m)
	tg.members = slices.Delete(tg.members, i, i+1)
	for d := range tg.dirs {
		if tg.dirs[d].turn > i {
			tg.dirs[d].turn--
		}
	}
	last := len(tg.members) == 0
	tg.mu.Unlock()
	m.release()
	if last {
		tg.object.OnChange(nil)
		delete(m.graph.throttles, tg.name)
		for d := range tg.dirs {
			tg.dirs[d].timer.Close()
		}
	}
}
