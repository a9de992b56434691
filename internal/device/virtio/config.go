package virtio

import "encoding/binary"

// ReadConfig is the driver's read of size bytes of the configuration space.
// Beyond its end all bits are ones.
func (c *Core) ReadConfig(off uint64, size int) uint64 {
	r, ok := c.self().(ConfigReader)
	if !ok || !c.inConfig(off, size) {
		return 1<<(8*size) - 1
	}
	c.configMu.Lock()
	defer c.configMu.Unlock()
	clear(c.config)
	r.ReadConfig(c.config)
	var b [8]byte
	copy(b[:size], c.config[off:])
	return binary.LittleEndian.Uint64(b[:])
}

// WriteConfig is the driver's write to the configuration space.
func (c *Core) WriteConfig(off uint64, size int, v uint64) {
	w, ok := c.self().(ConfigWriter)
	if !ok || !c.inConfig(off, size) {
		return
	}
	c.configMu.Lock()
	defer c.configMu.Unlock()
	binary.LittleEndian.PutUint64(c.scratch[:], v)
	w.WriteConfig(int(off), c.scratch[:size])
}

func (c *Core) inConfig(off uint64, size int) bool {
	return size > 0 && size <= 8 && off < uint64(c.info.ConfigSize) && uint64(size) <= uint64(c.info.ConfigSize)-off
}

// ConfigChanged tells the driver that the device has changed its configuration
// space. Device code calls it after the change, with its own lock held or not.
func (c *Core) ConfigChanged() {
	c.generation.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live.Load() && c.status&StatusDriverOK != 0 {
		c.transport.ConfigInterrupt()
	}
}

// ConfigGeneration returns a number that is another after each change of the
// configuration space by the device (2.5.1).
func (c *Core) ConfigGeneration() uint32 { return c.generation.Load() }
