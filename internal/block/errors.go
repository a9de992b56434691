package block

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Kind says what kind of thing went wrong in a control operation.
type Kind uint8

// The kinds of error.
const (
	KindOther       Kind = iota
	KindNotFound         // no node, device, snapshot or bitmap of that name
	KindInUse            // permissions, locks, op-blockers, references
	KindInvalid          // an option or argument
	KindUnsupported      // what the image wants, or the driver cannot do
	KindCorrupt          // the image contradicts itself
	KindIO               // the host said no
	KindEncrypted        // a key is missing
)

// Error is an error of a control operation.
type Error struct {
	Kind Kind
	Text string // what a user reads, complete
	Err  error  // the cause, or nil
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error. A %w verb keeps the cause.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Text: err.Error(), Err: errors.Unwrap(err)}
}

// KindOf returns the kind of an error's first *Error, KindOther without one.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindOther
}

// Errors of I/O are error numbers, which cost nothing to make and compare:
// what the guest's device, an export's client and werror= look at is the number.
const (
	ErrIO        = unix.EIO
	ErrNoSpace   = unix.ENOSPC
	ErrNoMedium  = unix.ENOMEDIUM
	ErrInvalid   = unix.EINVAL
	ErrUnsupp    = unix.ENOTSUP // the driver cannot do it: there may be another way
	ErrReadOnly  = unix.EPERM
	ErrFault     = unix.EFAULT // the memory of a vector is gone
	ErrCancelled = unix.ECANCELED
)

// Errno returns the error number of an I/O error; EIO when it has none.
func Errno(err error) unix.Errno {
	var no unix.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &no):
		return no
	}
	return unix.EIO
}

// Malformed returns the error for an image whose field, which is at an offset of its
// file, cannot be taken as it is.
func Malformed(file *Child, off int64, field, format string, args ...any) *Error {
	return Errorf(KindCorrupt, "Image '%s' is malformed: %s (at offset %d): %s", file.Node().FileName(), field, off, fmt.Sprintf(format, args...))
}

// Unreadable returns the error for an image whose metadata cannot be read or written.
func Unreadable(file *Child, what string, err error) *Error {
	return &Error{Kind: KindIO, Text: fmt.Sprintf("Image '%s': %s: %s", file.Node().FileName(), what, text(err)), Err: err}
}
