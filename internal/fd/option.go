package fd

import (
	"errors"
	"math"

	"golang.org/x/sys/unix"

	"govmd/internal/option"
)

// Schema is the option -add-fd.
var Schema = &option.Schema{Name: "add-fd", Keys: []option.Key{
	{Name: "fd", Type: option.Number, Help: "file descriptor of which a duplicate is added to fd set"},
	{Name: "set", Type: option.Number, Help: "ID of the fd set to add fd to"},
	{Name: "opaque", Help: "free-form string used to describe fd"},
}}

// Inherited is a descriptor that the program was started with and the set that it
// is to be in.
type Inherited struct {
	FD, Set int
	Opaque  *string
}

// FromOptions reads a checked -add-fd.
func FromOptions(o *option.Opts) (Inherited, error) {
	number := func(key string) (int, bool) {
		n := o.Number(key, math.MaxUint64)
		return int(int32(n)), o.Has(key) && n <= math.MaxInt32
	}
	var in Inherited
	var ok bool
	if in.FD, ok = number("fd"); !ok {
		return in, errors.New("fd option is required and must be non-negative")
	}
	if in.FD <= 2 {
		return in, errors.New("fd cannot be a standard I/O stream")
	}
	if err := CheckInherited(in.FD); err != nil {
		return in, err
	}
	if in.Set, ok = number("set"); !ok {
		return in, errors.New("set option is required and must be non-negative")
	}
	if o.Has("opaque") {
		text := o.Str("opaque")
		in.Opaque = &text
	}
	return in, nil
}

// ErrInherited is that the program was not started with a descriptor.
var ErrInherited = errors.New("fd is not valid or already in use")

// CheckInherited returns an error unless fd is a descriptor that the program was
// started with: those of its own are closed on exec.
func CheckInherited(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return ErrInherited
	}
	return nil
}

// AddInherited adds a duplicate of a descriptor that the program was started with
// to a set. CloseInherited, to be called after the last of them, closes the
// originals, of which one can be in several sets.
func (t *Table) AddInherited(in Inherited) error {
	if err := CheckInherited(in.FD); err != nil {
		return err
	}
	dup, err := unix.FcntlInt(uintptr(in.FD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	set := int64(in.Set)
	if _, err = t.Add(&set, dup, in.Opaque); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inherited = append(t.inherited, in.FD)
	return nil
}

// CloseInherited closes what AddInherited has made duplicates of.
func (t *Table) CloseInherited() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closeInherited()
}

func (t *Table) closeInherited() {
	for _, fd := range t.inherited {
		if CheckInherited(fd) == nil { // not closed yet, when it was given twice
			_ = unix.Close(fd)
		}
	}
	t.inherited = nil
}
