package fd

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// set is descriptors of one file, mostly, opened in different ways.
type set struct {
	id      int
	members []*member
	dups    []dup // descriptors that were opened from it and not closed yet
}

// dup is a descriptor that was opened from a set, and the file that it stands for.
type dup struct {
	fd       int
	dev, ino uint64
}

func identify(fd int) dup {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return dup{fd: fd}
	}
	return dup{fd, st.Dev, st.Ino}
}

// closed reports whether its owner has closed it without telling.
func (d dup) closed() bool { return identify(d.fd) != d }

type member struct {
	fd      int
	opaque  *string
	removed bool // and to be closed when the machine runs
}

func (s *set) empty() bool { return len(s.members) == 0 && len(s.dups) == 0 }

// Limits of sets and of the descriptors in all of them.
const (
	maxSets    = 1024
	maxMembers = 4096
)

// errSetID is that the number of a set is negative.
var errSetID = fmt.Errorf("Parameter 'fdset-id' expects a non-negative value")

// Add adds a descriptor to the set id, or with nil to a new one, and returns its
// number. The table owns the descriptor, also when there is an error.
func (t *Table) Add(id *int64, fd int, opaque *string) (set int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.setFor(id)
	if err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	s.members = append(s.members, &member{fd: fd, opaque: opaque})
	traceSetAdd.Emit(s.id, fd)
	return int64(s.id), nil
}

func (t *Table) setFor(id *int64) (*set, error) {
	total := 0
	for _, s := range t.sets {
		total += len(s.members)
	}
	if total >= maxMembers {
		return nil, fmt.Errorf("no more than %d file descriptors can be in sets: 'remove-fd' makes room", maxMembers)
	}
	want, at := 0, 0
	if id == nil {
		for want < len(t.sets) && t.sets[want].id == want { // the least that is free
			want++
		}
		at = want
	} else {
		if *id < 0 || *id > math.MaxInt32 {
			return nil, errSetID
		}
		want = int(*id)
		var found bool
		if at, found = t.index(want); found {
			return t.sets[at], nil
		}
	}
	if len(t.sets) == maxSets {
		return nil, fmt.Errorf("no more than %d sets of file descriptors can be there: 'remove-fd' makes room", maxSets)
	}
	s := &set{id: want}
	t.sets = slices.Insert(t.sets, at, s)
	return s, nil
}

func (t *Table) index(id int) (int, bool) {
	return slices.BinarySearchFunc(t.sets, id, func(s *set, id int) int { return cmp.Compare(s.id, id) })
}

// Remove takes a descriptor, or with nil all, out of a set and closes it, as
// soon as the machine runs. Files that were opened from the set stay open.
func (t *Table) Remove(id int64, fd *int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	what := fmt.Sprintf("fdset-id:%d", id)
	if fd != nil {
		what += fmt.Sprintf(", fd:%d", *fd)
	}
	at, found := -1, false
	if id >= 0 && id <= math.MaxInt32 {
		at, found = t.index(int(id))
	}
	if !found {
		return &NotFoundError{what}
	}
	found = fd == nil
	for _, m := range t.sets[at].members {
		if fd == nil || int64(m.fd) == *fd {
			m.removed, found = true, true
		}
	}
	if !found {
		return &NotFoundError{what}
	}
	traceSetRemove.Emit(what)
	t.clean(t.sets[at])
	return nil
}

// clean closes what was removed of sets and, without a monitor, what nobody uses.
func (t *Table) clean(sets ...*set) {
	if t.running != nil && !t.running() {
		return
	}
	for _, s := range sets {
		s.dups = slices.DeleteFunc(s.dups, dup.closed)
		unused := len(t.sessions) == 0 && len(s.dups) == 0
		s.members = slices.DeleteFunc(s.members, func(m *member) bool {
			if m.removed || unused {
				_ = unix.Close(m.fd)
				return true
			}
			return false
		})
	}
	t.sets = slices.DeleteFunc(t.sets, (*set).empty)
}

// Member is a descriptor of a set.
type Member struct {
	FD     int64   `qmp:"fd"`
	Opaque *string `qmp:"opaque"`
}

// Set is a set of descriptors.
type Set struct {
	ID  int64    `qmp:"fdset-id"`
	FDs []Member `qmp:"fds"`
}

// Sets returns all sets, the highest number first.
func (t *Table) Sets() []Set {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Set, 0, len(t.sets))
	for _, s := range slices.Backward(t.sets) {
		v := Set{ID: int64(s.id), FDs: []Member{}}
		for _, m := range s.members {
			v.FDs = append(v.FDs, Member{int64(m.fd), m.opaque})
		}
		list = append(list, v)
	}
	return list
}
