package main

import (
	"govmd/internal/fd"
)

// fdSetup is an inherited descriptor and the option that names it.
type fdSetup struct {
	fd.Inherited
	given string
}

func applyAddFD(s *setup, given, text string) error {
	o, err := s.parse(fd.Schema, given, text)
	if err != nil || o.Help {
		return err
	}
	in, err := fd.FromOptions(o)
	if err != nil {
		return err
	}
	s.fds = append(s.fds, fdSetup{in, given})
	return nil
}

// addFDs makes the sets of descriptors that the program was started with.
func (v *vm) addFDs() error {
	v.fds.SetRunning(func() bool { return false }) // there is no machine yet
	v.onClose(v.fds.Close)
	for _, f := range v.setup.fds {
		if err := v.fds.AddInherited(f.Inherited); err != nil {
			return &usageError{f.given, err}
		}
	}
	v.fds.CloseInherited()
	return nil
}
