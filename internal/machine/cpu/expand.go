package cpu

import (
	"fmt"
	"sort"
	"strconv"
)

// PropertyValue is a property of a model with its value: bool, uint64 or string.
type PropertyValue struct {
	Name  string
	Value any
}

// StaticProperties returns, by name, what has to be set on the model "base" to get
// this one.
func (m *Model) StaticProperties() []PropertyValue {
	family, model, stepping := m.Identity()
	list := []PropertyValue{
		{"family", uint64(family)}, {"model", uint64(model)}, {"stepping", uint64(stepping)},
		{"min-level", uint64(m.Level)}, {"min-xlevel", uint64(m.XLevel)},
		{"vendor", m.Vendor}, {"model-id", m.ModelID},
	}
	for _, name := range FeatureNames() {
		list = append(list, PropertyValue{name, m.Features.Has(name)})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// Properties returns all properties of the model, by name.
func (m *Model) Properties() []PropertyValue {
	list := append(m.StaticProperties(),
		PropertyValue{"level", uint64(m.Level)}, PropertyValue{"xlevel", uint64(m.XLevel)},
		PropertyValue{"phys-bits", uint64(m.PhysBits)}, PropertyValue{"tsc-frequency", m.TSCHz},
		PropertyValue{"pmu", m.PMU}, PropertyValue{"kvm", m.showKVM}, PropertyValue{"cpuid-0xb", m.leafB},
		PropertyValue{"l3-cache", m.l3}, PropertyValue{"host-cache-info", m.hostCache},
		PropertyValue{"kvm-pv-enforce-cpuid", m.pvEnforce})
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// jsonTypes are what QEMU's messages call the values of a property's type.
var jsonTypes = map[string]string{"bool": "boolean", "string": "string"}

// SetValue sets a property or feature from a decoded JSON value.
func (s *Spec) SetValue(name string, value any) error {
	kind := "bool" // features
	if p, ok := propsByName[canonical(name)]; ok {
		kind = p.Type
	} else if _, ok := featureBits(name); !ok {
		return fmt.Errorf("Property '%s.%s' not found", s.TypeName(), name)
	}
	switch v := value.(type) {
	case bool:
		if kind == "bool" {
			text := "off"
			if v {
				text = "on"
			}
			return s.Set(name, text)
		}
	case int64:
		if kind != "bool" && kind != "string" {
			if v < 0 {
				return fmt.Errorf("Parameter '%s' expects uint64", name)
			}
			return s.Set(name, strconv.FormatInt(v, 10))
		}
	case uint64:
		if kind != "bool" && kind != "string" {
			return s.Set(name, strconv.FormatUint(v, 10))
		}
	case string:
		if kind == "string" {
			return s.Set(name, v)
		}
	}
	if want := jsonTypes[kind]; want != "" {
		return fmt.Errorf("Invalid parameter type for '%s', expected: %s", name, want)
	}
	return fmt.Errorf("Parameter '%s' expects uint64", name)
}
