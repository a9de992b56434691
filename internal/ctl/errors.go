package ctl

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Kind is what sort of failure an Error is. Its number is the exit status.
type Kind int

// The kinds of failures, which scripts can rely on.
const (
	Refused     Kind = 1 // the machine answered with an error
	Usage       Kind = 2 // the command line is wrong
	Unreachable Kind = 3 // there is no such machine, or no access to it
	TimedOut    Kind = 4 // no answer, or not what was waited for, in time
	Broken      Kind = 5 // the connection ended early, or what came is no QMP
	NotRunning  Kind = 6 // status: the machine is there, its guest does not run
)

// Error is why a command failed.
type Error struct {
	Kind Kind
	Err  error // nil for NotRunning, of which there is nothing to say
}

func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

func fail(kind Kind, format string, args ...any) error {
	return &Error{kind, fmt.Errorf(format, args...)}
}

// CommandError is the monitor's refusal of a command.
type CommandError struct {
	Class string // such as GenericError
	Desc  string
}

func (e *CommandError) Error() string { return e.Desc }

// connError says what became of a connection.
func connError(err error) error {
	var ours *Error
	var netErr net.Error
	switch {
	case errors.As(err, &ours):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return fail(TimedOut, "no answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return &Error{Broken, errEnded}
	}
	return fail(Broken, "%w: %w", errEnded, err)
}

// errEnded is wrapped by the error for a connection that ended: the machine is
// gone, or its monitor serves somebody else now.
var errEnded = errors.New("the connection ended")

// exitStatus returns what the process ends with.
func exitStatus(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return int(e.Kind)
	}
	return int(Refused)
}
