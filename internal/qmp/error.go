package qmp

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Class is the class of an error, which clients may act upon.
type Class string

// The classes.
const (
	ClassGeneric         Class = "GenericError"
	ClassCommandNotFound Class = "CommandNotFound"
	ClassDeviceNotActive Class = "DeviceNotActive"
	ClassDeviceNotFound  Class = "DeviceNotFound"
	ClassDeviceEncrypted Class = "DeviceEncrypted"
	ClassKVMMissingCap   Class = "KVMMissingCap"
)

// Error is an error as a client is sent it.
type Error struct {
	Class Class
	Desc  string
	Cause error // what it was made from, or nil
}

func (e *Error) Error() string { return e.Desc }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf returns an error of class GenericError. A %w verb keeps the cause.
func Errorf(format string, args ...any) *Error { return ClassErrorf(ClassGeneric, format, args...) }

// ClassErrorf returns an error of the given class.
func ClassErrorf(class Class, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Class: class, Desc: err.Error(), Cause: errors.Unwrap(err)}
}

// CommandNotFound is the error for a command that does not exist.
func CommandNotFound(name string) *Error {
	return ClassErrorf(ClassCommandNotFound, "The command %s has not been found", name)
}

// DeviceNotFound is the error for a device, by id, that does not exist.
func DeviceNotFound(id string) *Error {
	return ClassErrorf(ClassDeviceNotFound, "Device '%s' not found", id)
}

// DeviceNotActive is the error for a kind of device ("balloon") that the machine
// does not have or whose driver is not running.
func DeviceNotActive(kind string) *Error {
	return ClassErrorf(ClassDeviceNotActive, "No %s device has been activated", kind)
}

// DeviceEncrypted is the error for a device whose image lacks its key.
func DeviceEncrypted(device, filename string) *Error {
	return ClassErrorf(ClassDeviceEncrypted, "'%s' (%s) is encrypted", device, filename)
}

// KVMMissingCap is the error for what the host's KVM cannot do.
func KVMMissingCap(capability, feature string) *Error {
	return ClassErrorf(ClassKVMMissingCap, "Using KVM without %s, %s unavailable", capability, feature)
}

// MissingParameter is the error for an argument that must be given.
func MissingParameter(name string) *Error { return Errorf("Parameter '%s' is missing", name) }

// InvalidValue is the error for an argument whose value is not what it expects
// ("a number between 1 and 10").
func InvalidValue(name, expected string) *Error {
	return Errorf("Parameter '%s' expects %s", name, expected)
}

// AsError returns err as a client is sent it.
func AsError(err error) *Error {
	if e := (*Error)(nil); errors.As(err, &e) {
		if e.Desc == err.Error() {
			return e
		}
		return &Error{Class: e.Class, Desc: err.Error(), Cause: err}
	}
	return &Error{Class: ClassGeneric, Desc: err.Error(), Cause: err}
}

// Strerror is the text of a system call's error as C programs, and so those who
// read QEMU's messages, know it: "No such file or directory".
func Strerror(err error) string {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return err.Error()
	}
	text := no.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
