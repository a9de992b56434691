// Package tracectl switches trace points: from clients, people and the command line.
package tracectl

import (
	"govmd/internal/qmp"
	"govmd/internal/trace"
)

// state is the protocol's TraceEventState.
type state string

// EnumValues implements qmp.Enum.
func (state) EnumValues() []string { return []string{"unavailable", "disabled", "enabled"} }

type eventInfo struct {
	Name  string `qmp:"name"`
	State state  `qmp:"state"`
	VCPU  bool   `qmp:"vcpu"`
}

type getArgs struct {
	Name string `qmp:"name"`
	VCPU *int64 `qmp:"vcpu"`
}

type setArgs struct {
	Name   string `qmp:"name"`
	Enable bool   `qmp:"enable"`
	// IgnoreUnavailable is about points that were left out of the program when it
	// was built: there are none.
	IgnoreUnavailable bool   `qmp:"ignore-unavailable,optional"`
	VCPU              *int64 `qmp:"vcpu"`
}

// Control has the commands about trace points.
type Control struct {
	// VCPUs returns how many vCPUs the machine has. It may be called from any
	// goroutine.
	VCPUs func() int
}

// Commands returns the commands about trace points.
func (c Control) Commands() []qmp.Command {
	return []qmp.Command{
		qmp.New("trace-event-get-state", func(_ *qmp.Context, a *getArgs) ([]eventInfo, error) { return c.get(a) }),
		qmp.New("trace-event-set-state", func(_ *qmp.Context, a *setArgs) (qmp.None, error) {
			return qmp.None{}, c.set(a.Name, a.Enable, a.VCPU)
		}),
	}
}

// pick returns the points that name, a name or pattern, stands for.
func (c Control) pick(name string, vcpu *int64) ([]*trace.Point, error) {
	if vcpu != nil && (*vcpu < 0 || *vcpu >= int64(c.VCPUs())) {
		return nil, qmp.Errorf("invalid vCPU index %d", *vcpu)
	}
	if trace.IsPattern(name) {
		return trace.Matching(name), nil
	}
	p := trace.Find(name)
	switch {
	case p == nil:
		return nil, qmp.Errorf("unknown event \"%s\"", name)
	case vcpu != nil && !p.PerVCPU():
		return nil, qmp.Errorf("event \"%s\" is not vCPU-specific", name)
	}
	return []*trace.Point{p}, nil
}

func (c Control) get(a *getArgs) ([]eventInfo, error) {
	points, err := c.pick(a.Name, a.VCPU)
	if err != nil {
		return nil, err
	}
	list := []eventInfo{}
	for _, p := range points {
		on := p.On()
		if a.VCPU != nil {
			if !p.PerVCPU() {
				continue
			}
			on = p.OnVCPU(int(*a.VCPU))
		}
		info := eventInfo{p.Name(), "disabled", p.PerVCPU()}
		if on {
			info.State = "enabled"
		}
		list = append(list, info)
	}
	return list, nil
}

func (c Control) set(name string, on bool, vcpu *int64) error {
	points, err := c.pick(name, vcpu)
	if err != nil {
		return err
	}
	for _, p := range points {
		switch {
		case vcpu == nil:
			p.Set(on)
		case p.PerVCPU():
			p.SetVCPU(int(*vcpu), on)
		}
	}
	return nil
}
