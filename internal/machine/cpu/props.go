//lint:file-ignore ST1005 clients know this wording

package cpu

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	"govmd/internal/option"
)

// Property describes a property of CPUs.
type Property struct {
	Name, Type, Description string
	Feature                 bool
	set                     func(*Spec, string) error
}

// property table; features are added to it by Properties.
var plainProps = []Property{
	boolProp("check", "warn about features that the host lacks", func(p *props) **bool { return &p.check }),
	boolProp("cpuid-0xb", "tell the topology in leaf 0xb", func(p *props) **bool { return &p.leafB }),
	boolProp("enforce", "refuse to start when the host lacks a feature", func(p *props) **bool { return &p.enforce }),
	boolProp("fill-mtrr-mask", "let variable MTRRs mask all physical address bits", func(p *props) **bool { return &p.fillMTRRMask }),
	boolProp("full-cpuid-auto-level", "raise the levels as features need it", func(p *props) **bool { return &p.autoLevel }),
	boolProp("host-cache-info", "show the host's caches", func(p *props) **bool { return &p.hostCacheInfo }),
	boolProp("host-phys-bits", "have as many physical address bits as the host", func(p *props) **bool { return &p.hostPhysBits }),
	uintProp("host-phys-bits-limit", "uint8", math.MaxUint8, "most that host-phys-bits gives", func(p *props) **uint64 { return &p.hostPhysBitsLimit }),
	boolProp("kvm", "show the guest that it runs on KVM", func(p *props) **bool { return &p.kvm }),
	boolProp("kvm-pv-enforce-cpuid", "refuse paravirtual interfaces that CPUID does not show", func(p *props) **bool { return &p.pvEnforce }),
	boolProp("l3-cache", "show a third-level cache", func(p *props) **bool { return &p.l3Cache }),
	boolProp("legacy-cache", "accepted for compatibility", func(p *props) **bool { return &p.legacyCache }),
	uintProp("level", "uint32", math.MaxUint32, "highest basic leaf", func(p *props) **uint64 { return &p.level }),
	boolProp("migratable", "leave out what another host cannot continue", func(p *props) **bool { return &p.migratable }),
	uintProp("min-level", "uint32", math.MaxUint32, "least value of level", func(p *props) **uint64 { return &p.minLevel }),
	uintProp("min-xlevel", "uint32", math.MaxUint32, "least value of xlevel", func(p *props) **uint64 { return &p.minXLevel }),
	strProp("model-id", "name of the processor", func(p *props) **string { return &p.modelID }),
	uintProp("phys-bits", "uint32", math.MaxUint32, "number of physical address bits", func(p *props) **uint64 { return &p.physBits }),
	boolProp("pmu", "give performance counters", func(p *props) **bool { return &p.pmu }),
	boolProp("vmware-cpuid-freq", "tell the TSC frequency in leaf 0x40000010", func(p *props) **bool { return &p.vmwareFreq }),
	uintProp("xlevel", "uint32", math.MaxUint32, "highest extended leaf", func(p *props) **uint64 { return &p.xlevel }),
	rangeProp("family", 15+255, func(p *props) **uint64 { return &p.family }),
	rangeProp("model", 255, func(p *props) **uint64 { return &p.model }),
	rangeProp("stepping", 15, func(p *props) **uint64 { return &p.stepping }),
	uintProp("tsc-frequency", "int", math.MaxInt64, "of the guest's TSC, in Hz", func(p *props) **uint64 { return &p.tscFrequency }),
	{Name: "tsc-freq", Type: "string", Description: "tsc-frequency with a decimal suffix", set: setTSCFreq},
	{Name: "vendor", Type: "string", Description: "12 characters, as in leaf 0", set: setVendor},
}

func boolProp(name, desc string, field func(*props) **bool) Property {
	return Property{Name: name, Type: "bool", Description: desc, set: func(s *Spec, text string) error {
		v, err := option.BoolValue(name, text)
		*field(&s.props) = &v
		return err
	}}
}

func parseUint(name, text string) (uint64, error) {
	v, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("Parameter '%s' expects uint64", name)
	}
	return v, nil
}

func uintProp(name, typ string, max uint64, desc string, field func(*props) **uint64) Property {
	return Property{Name: name, Type: typ, Description: desc, set: func(s *Spec, text string) error {
		v, err := parseUint(name, text)
		if err == nil && v > max {
			err = fmt.Errorf("Parameter '%s' expects %s", name, typ)
		}
		*field(&s.props) = &v
		return err
	}}
}

func rangeProp(name string, max uint64, field func(*props) **uint64) Property {
	return Property{Name: name, Type: "int", Description: "as in leaf 1", set: func(s *Spec, text string) error {
		v, err := parseUint(name, text)
		if err == nil && v > max {
			err = fmt.Errorf("Property .%s doesn't take value %d (minimum: 0, maximum: %d)", name, v, max)
		}
		*field(&s.props) = &v
		return err
	}}
}

func strProp(name, desc string, field func(*props) **string) Property {
	return Property{Name: name, Type: "string", Description: desc, set: func(s *Spec, text string) error {
		*field(&s.props) = &text
		return nil
	}}
}

func setVendor(s *Spec, text string) error {
	if len(text) != 12 {
		return fmt.Errorf("Property '.vendor' doesn't take value '%s'", text)
	}
	s.props.vendor = &text
	return nil
}

// setTSCFreq reads a frequency with a suffix k, M, G or T, powers of 1000.
func setTSCFreq(s *Spec, text string) error {
	bad := fmt.Errorf("bad numerical value %s", text)
	unit := 1.0
	number := text
	if n := len(text); n > 0 {
		if i := strings.IndexByte("kmgt", text[n-1]|0x20); i >= 0 {
			unit = math.Pow(1000, float64(i+1))
			number = text[:n-1]
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || !(f >= 0 && f*unit < math.MaxInt64) {
		return bad
	}
	v := uint64(math.Round(f * unit))
	s.props.tscFrequency = &v
	return nil
}

var propsByName = func() map[string]*Property {
	m := map[string]*Property{}
	for i := range plainProps {
		m[plainProps[i].Name] = &plainProps[i]
	}
	return m
}()

// Properties returns all properties of CPUs, features included, by name.
func Properties() []Property {
	list := append([]Property(nil), plainProps...)
	for _, name := range FeatureNames() {
		list = append(list, Property{Name: name, Type: "bool", Feature: true})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// Set sets a property or feature from option text. The error does not name the
// model's type unless the property is unknown.
func (s *Spec) Set(name, text string) error {
	key := canonical(name)
	if p, ok := propsByName[key]; ok {
		return p.set(s, text)
	}
	if bits, ok := byName[key]; ok {
		on, err := option.BoolValue(name, text)
		if err != nil {
			return err
		}
		s.setFeature(bits, on)
		return nil
	}
	known := FeatureNames()
	for _, p := range plainProps {
		known = append(known, p.Name)
	}
	return fmt.Errorf("Property '%s.%s' not found%s", s.TypeName(), name, option.DidYouMean(key, known))
}
