package machine

import (
	"errors"
	"fmt"

	"govmd/internal/machine/accel"
	"govmd/internal/machine/cpu"
	"govmd/internal/object"
	"govmd/internal/qmp"
)

type cpuDefinition struct {
	Name                string    `qmp:"name"`
	MigrationSafe       *bool     `qmp:"migration-safe"`
	Static              bool      `qmp:"static"`
	UnavailableFeatures *[]string `qmp:"unavailable-features"`
	TypeName            string    `qmp:"typename"`
	AliasOf             *string   `qmp:"alias-of"`
	Deprecated          bool      `qmp:"deprecated"`
}

type expansionType string

// EnumValues lists how far a model can be expanded.
func (expansionType) EnumValues() []string { return []string{"static", "full"} }

type cpuModel struct {
	Name  string      `qmp:"name"`
	Props *qmp.Object `qmp:"props"`
}

type expansionArgs struct {
	Type  expansionType `qmp:"type"`
	Model cpuModel      `qmp:"model"`
}

type expansion struct {
	Model cpuModel `qmp:"model"`
}

// cpuModelCommands returns the commands about CPU models.
func (m *Machine) cpuModelCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-cpu-definitions", func(*qmp.Context, *qmp.None) ([]cpuDefinition, error) { return m.cpuDefinitions() }),
		qmp.New("query-cpu-model-expansion", func(_ *qmp.Context, a *expansionArgs) (expansion, error) { return m.expandCPU(a) }),
	}
}

// cpuHost returns what the host's processor can be for guests; nil where nothing executes.
func (m *Machine) cpuHost() (*cpu.Host, error) {
	if a, ok := m.Accel.(*accel.KVM); ok {
		return cpu.NewHost(a.System)
	}
	return nil, nil
}

func (m *Machine) cpuDefinitions() ([]cpuDefinition, error) {
	host, err := m.cpuHost()
	if err != nil {
		return nil, err
	}
	list := []cpuDefinition{}
	for _, info := range cpu.Models() {
		spec, err := cpu.NewSpec(info.Name)
		if err != nil {
			return nil, err
		}
		d := cpuDefinition{
			Name: info.Name, TypeName: cpu.TypeName(info.Name), Static: info.Name == "base",
		}
		safe := info.Name != "host" && info.Name != "max"
		d.MigrationSafe = &safe
		if info.AliasOf != "" {
			d.AliasOf = &info.AliasOf
		}
		lacks := []string{}
		if model, _, err := spec.Resolve(host, m.topology()); err != nil {
			lacks = append(lacks, "kvm")
		} else {
			lacks = append(lacks, model.Unavailable...)
		}
		d.UnavailableFeatures = &lacks
		list = append(list, d)
	}
	return list, nil
}

// expandCPU says what a model with properties comes to on this host: the model
// "base" with each feature on or off, or the model itself with all its properties.
func (m *Machine) expandCPU(a *expansionArgs) (e expansion, err error) {
	spec, err := cpu.NewSpec(a.Model.Name)
	if err != nil {
		return e, qmp.Errorf("CPU model '%s' not found", a.Model.Name)
	}
	for _, p := range a.Model.Props.Members() {
		text, err := propText(p)
		if err == nil {
			err = spec.Set(p.Name, text)
		}
		if err != nil {
			return e, err
		}
	}
	host, err := m.cpuHost()
	if err != nil {
		return e, err
	}
	model, _, err := spec.Resolve(host, m.topology())
	if err != nil && !errors.Is(err, cpu.ErrEnforce) || model == nil {
		return e, err
	}
	props := &qmp.Object{}
	for _, name := range cpu.FeatureNames() {
		props.Add(name, model.Features.Has(name))
	}
	if a.Type == "static" {
		// What a feature does not say has to be said besides.
		family, number, stepping := model.Identity()
		props.Add("vendor", model.Vendor)
		props.Add("family", int64(family))
		props.Add("model", int64(number))
		props.Add("stepping", int64(stepping))
		props.Add("model-id", model.ModelID)
		props.Add("pmu", model.PMU)
		return expansion{cpuModel{"base", props}}, nil
	}
	shown := &VCPU{m: &Machine{model: model}}
	for _, p := range cpuProperties() {
		switch p.Name {
		case "apic-id", "node-id", "socket-id", "die-id", "core-id", "thread-id":
			continue // of a vCPU, not of a model
		}
		if _, have := props.Get(p.Name); have {
			continue
		}
		props.Add(p.Name, p.Get(object.Object(shown)))
	}
	return expansion{cpuModel{a.Model.Name, props}}, nil
}

// propText is a property's value as option text has it.
func propText(p qmp.Member) (string, error) {
	switch v := p.Value.(type) {
	case string:
		return v, nil
	case bool:
		if v {
			return "on", nil
		}
		return "off", nil
	case int64, uint64:
		return fmt.Sprint(v), nil
	}
	return "", qmp.Errorf("Invalid parameter type for '%s', expected: a boolean, number or string", p.Name)
}
