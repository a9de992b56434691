package cpu

import (
	"fmt"
	"strings"

	"govmd/internal/option"
)

// Spec is a CPU model with what was asked to be different: the option -cpu,
// read but not yet matched with a host.
type Spec struct {
	def      *definition
	explicit Features // features that were set on or off
	value    Features // what they were set to

	props props
}

// props are the properties that are not features; nil ones were not set.
type props struct {
	level, xlevel, minLevel, minXLevel *uint64
	family, model, stepping            *uint64
	physBits, hostPhysBitsLimit        *uint64
	tscFrequency                       *uint64 // Hz
	vendor, modelID                    *string
	hostPhysBits, pmu, migratable      *bool
	kvm, check, enforce                *bool
	l3Cache, hostCacheInfo, leafB      *bool
	autoLevel, pvEnforce, fillMTRRMask *bool
	legacyCache                        *bool // accepted; the caches are the same either way
	vmwareFreq                         *bool
}

// Parse reads the option -cpu: a model's name, then properties as "name=value"
// or "name" for on, and features to add or take away as "+name" and "-name",
// which count after all others. Warnings are without the word "warning".
func Parse(text string) (spec *Spec, warnings []string, err error) {
	parts := strings.Split(text, ",")
	if parts[0] == "" {
		return nil, nil, fmt.Errorf("-cpu option cannot be empty")
	}
	if spec, err = NewSpec(parts[0]); err != nil {
		var names []string
		for _, m := range Models() {
			names = append(names, m.Name)
		}
		return nil, nil, fmt.Errorf("%w%s", err, option.DidYouMean(parts[0], names))
	}
	var plus, minus []string
	given := map[string]string{}
	for _, p := range parts[1:] {
		switch {
		case p == "":
		case p[0] == '+':
			plus = append(plus, p[1:])
		case p[0] == '-':
			minus = append(minus, p[1:])
		default:
			name, value, ok := strings.Cut(p, "=")
			if !ok {
				value = "on"
			}
			given[canonical(name)] = value
			if err := spec.Set(name, value); err != nil {
				return nil, nil, fmt.Errorf("can't apply global %s.%s=%s: %w", spec.TypeName(), name, value, err)
			}
		}
	}
	for i, list := range [][]string{plus, minus} {
		for _, name := range list {
			if value, both := given[canonical(name)]; both {
				warnings = append(warnings, fmt.Sprintf("Ambiguous CPU model string. Don't mix both \"%s%s\" and \"%s=%s\"",
					[]string{"+", "-"}[i], name, name, value))
			}
			if err := spec.Set(name, []string{"on", "off"}[i]); err != nil {
				return nil, nil, err
			}
		}
	}
	return spec, warnings, nil
}

// NewSpec returns the plain model of that name.
func NewSpec(model string) (*Spec, error) {
	d := findDefinition(model)
	if d == nil {
		return nil, fmt.Errorf("unable to find CPU model '%s'", model)
	}
	return &Spec{def: d}, nil
}

// Model returns the model's name.
func (s *Spec) Model() string { return s.def.name }

// TypeName returns the object type of the spec's CPUs.
func (s *Spec) TypeName() string { return TypeName(s.def.name) }

// setFeature turns features on or off.
func (s *Spec) setFeature(bits []bit, on bool) {
	for _, b := range bits {
		s.explicit.set(b, true)
		s.value.set(b, on)
	}
}
