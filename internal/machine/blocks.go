package machine

import (
	"govmd/internal/block"
	"govmd/internal/clock"
	"govmd/internal/qmp"
	"govmd/internal/yank"
)

// makeBlocks makes the block layer's graph, which is empty at first and ends after
// all devices.
func (m *Machine) makeBlocks(clocks *clock.Set) {
	cfg := &m.Config
	env := block.Env{
		Bus: cfg.Events, Lane: cfg.Lane, RunState: m.Run, Clock: clocks,
	}
	env.UseObjects(cfg.Objects)
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

// ready returns an error of class DeviceEncrypted for the first drive of a device
// whose image lacks its key: the guest cannot go on.
func (m *Machine) ready() error {
	for _, b := range m.Blocks.Backends() {
		if b.Device() == nil {
			continue
		}
		if n := b.Node().Locked(); n != nil {
			return qmp.DeviceEncrypted(b.Name(), n.FileName())
		}
	}
	return nil
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
