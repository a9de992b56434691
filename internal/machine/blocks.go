package machine

import (
	"govmd/internal/block"
	"govmd/internal/clock"
	"govmd/internal/crypto"
	"govmd/internal/object"
	"govmd/internal/sock"
	"govmd/internal/throttle"
	"govmd/internal/yank"
)

// makeBlocks makes the block layer's graph, which is empty at first and ends after
// all devices.
func (m *Machine) makeBlocks(clocks *clock.Set) {
	cfg := &m.Config
	env := block.Env{
		Bus: cfg.Events, Lane: cfg.Lane, RunState: m.Run, Clock: clocks,
		Secret: func(id string) ([]byte, error) {
			s, err := crypto.FindSecret(cfg.Objects, id)
			if err != nil {
				return nil, err
			}
			return s.Bytes(), nil
		},
		TLSCreds: func(id string) (any, error) {
			return object.Find[sock.TLSCreds](cfg.Objects, id, "TLS credentials")
		},
		ThrottleGroup: func(id string) *throttle.Group {
			g, _ := cfg.Objects.Find(id).(*throttle.Group)
			return g
		},
	}
	if cfg.Yanks != nil {
		env.Yankable = func(node string, cut func()) func() { return cfg.Yanks.Register(yank.BlockNode(node), cut) }
	}
	if cfg.Files != nil {
		env.OpenFD, env.CloseFD = cfg.Files.OpenFD, cfg.Files.CloseFD
	}
	m.Blocks = block.NewGraph(env)
	m.Env.Blocks = m.Blocks
	m.onClose(m.closeBlocks)
}

// closeBlocks writes back and closes all images. No device is left that uses one.
func (m *Machine) closeBlocks() {
	if err := m.Blocks.FlushAll(); err != nil {
		m.log().Errorf("%v", err)
	}
	for _, b := range m.Blocks.Backends() {
		b.Close()
	}
	for _, name := range m.Blocks.CloseAll() {
		m.log().Errorf("node '%s' is still in use at the end", name)
	}
}
