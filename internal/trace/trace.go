// Package trace is the program's trace points: named places in the code that
// report what passes there while somebody wants to know.
//
// A trace point is a package variable of a type that fits what it reports:
//
//	var traceSelect = trace.New1[uint16]("fw_cfg_select", "key %#x")
//
//	traceSelect.Emit(key)
//
// While it is disabled, Emit is one predictable branch and allocates nothing.
// Arguments must be at hand: what has to be computed goes behind On.
//
// Trace points belong to the process, not to a machine, and are the one thing in
// it that does: their state is a diagnostic of the program, and nothing depends
// on it. They are made when the program starts, and listed in docs/tracing.md.
package trace

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"govmd/internal/glob"
)

// MaxVCPUs is how many vCPUs can be told apart: per-vCPU points of those with a
// higher index are enabled together with the highest one that can.
const MaxVCPUs = 1024

// Point is what all trace points have in common.
type Point struct {
	on      atomic.Bool // for any vCPU
	name    string
	format  string
	perVCPU bool
	// vcpus says which vCPUs a per-vCPU point is enabled for; nil: all or none, as on.
	vcpus atomic.Pointer[vcpuSet]
}

type vcpuSet [MaxVCPUs / 64]uint64

func (s *vcpuSet) has(n int) bool {
	n = clampVCPU(n)
	return s[n/64]>>(n%64)&1 != 0
}

func clampVCPU(n int) int { return max(0, min(n, MaxVCPUs-1)) }

// Name returns the point's name: SUBSYSTEM_THING.
func (p *Point) Name() string { return p.name }

// PerVCPU reports whether the point can be enabled for single vCPUs.
func (p *Point) PerVCPU() bool { return p.perVCPU }

// On reports whether the point is enabled, for a per-vCPU one for any vCPU.
func (p *Point) On() bool { return p.on.Load() }

// OnVCPU reports whether a per-vCPU point is enabled for a vCPU, by index.
func (p *Point) OnVCPU(vcpu int) bool {
	if !p.on.Load() {
		return false
	}
	set := p.vcpus.Load()
	return set == nil || set.has(vcpu)
}

// points are all trace points. They are made by package variables' initialisers
// and do not change afterwards; mu guards what is switched.
var (
	mu     sync.Mutex
	points []*Point // sorted by name
)

func (p *Point) register(name, format string, perVCPU bool) {
	p.name, p.format, p.perVCPU = name, format, perVCPU
	mu.Lock()
	defer mu.Unlock()
	i, taken := search(name)
	if taken || !validName(name) {
		panic(fmt.Sprintf("trace: %q is registered twice, or no name for a trace point", name))
	}
	points = slices.Insert(points, i, p)
}

// search returns where in points the one of that name is, or belongs.
func search(name string) (at int, found bool) {
	return slices.BinarySearchFunc(points, name, func(p *Point, name string) int { return strings.Compare(p.name, name) })
}

// validName reports whether name has the form subsystem_thing.
func validName(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return strings.Contains(strings.Trim(name, "_"), "_")
}

// Find returns the trace point of that name, or nil.
func Find(name string) *Point {
	mu.Lock()
	defer mu.Unlock()
	i, ok := search(name)
	if !ok {
		return nil
	}
	return points[i]
}

// Matching returns the trace points whose names match a pattern, sorted. In a
// pattern * stands for any characters and ? for one. Unlike Find's, the name in
// a pattern without these need not exist.
func Matching(pattern string) []*Point {
	mu.Lock()
	defer mu.Unlock()
	var list []*Point
	for _, p := range points {
		if glob.Match(pattern, p.name) {
			list = append(list, p)
		}
	}
	return list
}

// IsPattern reports whether text can match more than one name.
func IsPattern(text string) bool { return strings.ContainsAny(text, "*?") }

// Set enables or disables the point, a per-vCPU one for all vCPUs.
func (p *Point) Set(on bool) {
	mu.Lock()
	defer mu.Unlock()
	p.vcpus.Store(nil)
	p.on.Store(on)
}

// SetVCPU enables or disables a per-vCPU point for one vCPU, by index.
func (p *Point) SetVCPU(vcpu int, on bool) {
	mu.Lock()
	defer mu.Unlock()
	var set vcpuSet
	switch old := p.vcpus.Load(); {
	case old != nil:
		set = *old
	case p.on.Load():
		for i := range set {
			set[i] = ^uint64(0)
		}
	}
	vcpu = clampVCPU(vcpu)
	if on {
		set[vcpu/64] |= 1 << (vcpu % 64)
	} else {
		set[vcpu/64] &^= 1 << (vcpu % 64)
	}
	p.vcpus.Store(&set)
	p.on.Store(set != vcpuSet{})
}
