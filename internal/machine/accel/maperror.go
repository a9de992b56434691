package accel

import "fmt"

// MapError is a change of the guest's memory map that the host's KVM does not take.
type MapError struct {
	Name string // of the region
	Addr uint64 // of the guest's
	// Stale says that the guest would still see what is there no longer: its vCPUs
	// execute nothing more until Resume finds that put right. Otherwise what KVM
	// lacks is served by exits: the guest can read and write it, slowly, and not
	// execute it.
	Stale bool
	Err   error
}

// Error names the memory and what KVM says.
func (e *MapError) Error() string {
	what := "KVM does not take"
	if e.Stale {
		what = "KVM does not give up"
	}
	return fmt.Sprintf("%s guest memory '%s' at 0x%x: %v", what, e.Name, e.Addr, e.Err)
}

// Unwrap returns what KVM says.
func (e *MapError) Unwrap() error { return e.Err }
