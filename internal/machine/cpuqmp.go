package machine

import (
	"errors"

	"govmd/internal/kvm"
	"govmd/internal/machine/accel"
	"govmd/internal/machine/cpu"
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

// cpuHost returns what the host's processor can be for guests; nil where nothing
// executes. The machine "none" has no accelerator, but is asked what there would be:
// that is what management programs start it for.
func (m *Machine) cpuHost() (*cpu.Host, error) {
	if a, ok := m.Accel.(*accel.KVM); ok {
		return cpu.NewHost(a.System)
	}
	if m.Accel != nil || m.Config.Accel == "qtest" {
		return nil, nil
	}
	sys, err := kvm.Open(kvmDevice)
	if err != nil {
		return nil, nil // models that need KVM are told to be unavailable
	}
	h, err := cpu.NewHost(sys)
	return h, errors.Join(err, sys.Close())
}

const kvmDevice = "/dev/kvm"

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
		switch model, _, err := spec.Resolve(host, cpu.Topology{}); {
		case errors.Is(err, cpu.ErrNeedsKVM):
			lacks = append(lacks, "kvm")
		case err != nil:
			return nil, err
		default:
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
		if err := spec.SetValue(p.Name, p.Value); err != nil {
			return e, err
		}
	}
	host, err := m.cpuHost()
	if err != nil {
		return e, err
	}
	model, _, err := spec.Resolve(host, cpu.Topology{})
	if err != nil && !errors.Is(err, cpu.ErrEnforce) || model == nil {
		return e, err
	}
	name, values := a.Model.Name, model.Properties()
	if a.Type == "static" {
		name, values = "base", model.StaticProperties()
	}
	props := &qmp.Object{}
	for _, v := range values {
		props.Add(v.Name, v.Value)
	}
	return expansion{cpuModel{name, props}}, nil
}
