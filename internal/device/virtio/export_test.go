package virtio

// Epoch returns the number of resets, as Notify takes it before it looks at the ring.
func (c *Core) Epoch() uint32 { return c.epoch.Load() }

// Interrupt is what Notify does when it has looked.
func (c *Core) Interrupt(epoch uint32, queue int) { c.interrupt(epoch, queue) }
