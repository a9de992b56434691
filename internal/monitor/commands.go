package monitor

import (
	"sync"

	"govmd/internal/qmp"
)

// The level of the protocol: that of QEMU 7.2.0.
const (
	qemuMajor = 7
	qemuMinor = 2
	qemuMicro = 0
)

type versionTriple struct {
	Micro int `qmp:"micro"`
	Minor int `qmp:"minor"`
	Major int `qmp:"major"`
}

type versionInfo struct {
	QEMU    versionTriple `qmp:"qemu"`
	Package string        `qmp:"package"`
}

type nameInfo struct {
	Name string `qmp:"name"`
}

type capability string

// EnumValues implements qmp.Enum.
func (capability) EnumValues() []string { return []string{"oob"} }

type capabilityArgs struct {
	Enable []capability `qmp:"enable,optional"`
}

func (m *Monitor) versionInfo() versionInfo {
	return versionInfo{versionTriple{qemuMicro, qemuMinor, qemuMajor}, m.cfg.Package}
}

// Commands returns the commands about the protocol itself.
func (m *Monitor) Commands() []qmp.Command {
	schema := sync.OnceValue(m.cfg.Registry.Schema)
	return []qmp.Command{
		qmp.New("qmp_capabilities", negotiate, qmp.NoLane, qmp.Preconfig),
		qmp.New("query-version", func(*qmp.Context, *qmp.None) (versionInfo, error) {
			return m.versionInfo(), nil
		}, qmp.NoLane, qmp.Preconfig),
		qmp.New("query-commands", func(c *qmp.Context, _ *qmp.None) ([]nameInfo, error) {
			return nameInfos(c.Registry.Names()), nil
		}, qmp.NoLane, qmp.Preconfig),
		qmp.New("query-events", func(c *qmp.Context, _ *qmp.None) ([]nameInfo, error) {
			return nameInfos(c.Registry.EventNames()), nil
		}, qmp.NoLane, qmp.Preconfig, qmp.Deprecated),
		qmp.New("query-qmp-schema", func(*qmp.Context, *qmp.None) (qmp.Raw, error) {
			return schema(), nil
		}, qmp.NoLane, qmp.Preconfig),
	}
}

func nameInfos(names []string) []nameInfo {
	list := make([]nameInfo, len(names))
	for i, n := range names {
		list[i].Name = n
	}
	return list
}

// negotiate is qmp_capabilities, which ends the negotiation.
func negotiate(c *qmp.Context, a *capabilityArgs) (qmp.None, error) {
	r, ok := c.Session.(*request)
	if !ok {
		return qmp.None{}, qmp.Errorf("qmp_capabilities is for monitors only")
	}
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.negotiated {
		return qmp.None{}, errNegotiated
	}
	s.negotiated = true
	s.oob = len(a.Enable) > 0 // there is only one capability
	return qmp.None{}, nil
}

var (
	errNegotiated = qmp.ClassErrorf(qmp.ClassCommandNotFound,
		"Capabilities negotiation is already complete, command ignored")
	errNegotiating = qmp.ClassErrorf(qmp.ClassCommandNotFound,
		"Expecting capabilities negotiation with 'qmp_capabilities'")
)
