package virtio

import (
	"govmd/internal/device/virtio/virtq"
)

// OfferFeatures adds to what the driver is offered. Transports call it when the
// device has been plugged.
func (c *Core) OfferFeatures(bits uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offered |= bits
}

// Offered returns the features that the driver is offered, by a modern
// transport or a legacy one.
func (c *Core) Offered(modern bool) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if modern {
		return c.offered &^ legacyOnly
	}
	return c.offered & (1<<32 - 1)
}

// Features returns the features in force.
func (c *Core) Features() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.features
}

// Has reports whether the numbered feature is in force.
func (c *Core) Has(bit uint) bool { return c.Features()>>bit&1 != 0 }

// Wanted returns what the driver has written.
func (c *Core) Wanted() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted
}

// SetWanted is a modern driver's choice of features, which comes into force
// with FEATURES_OK. After that it is ignored.
func (c *Core) SetWanted(bits uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status&StatusFeaturesOK == 0 {
		c.wanted = bits
	}
}

// SetLegacyFeatures is a legacy driver's choice, which is in force at once.
func (c *Core) SetLegacyFeatures(bits uint32) {
	c.mu.Lock()
	if c.status&StatusFeaturesOK != 0 {
		c.mu.Unlock()
		return
	}
	if bits>>FeatureBad&1 != 0 {
		bits = 0 // it accepts whatever it sees: it means none of it
	}
	c.wanted = uint64(bits)
	c.enforceLocked(uint64(bits) & c.offered)
	features := c.features
	ch := c.updateLocked()
	c.mu.Unlock()
	c.follow(ch)
	if u, ok := c.self().(FeatureUser); ok {
		u.FeaturesChanged(features)
	}
}

// acceptLocked is FEATURES_OK: it reports whether the driver's choice is one
// that the device can work with, and if so puts it in force.
func (c *Core) acceptLocked() bool {
	offered := c.offered &^ legacyOnly
	switch {
	case c.wanted&^offered != 0: // it wants what was not offered
		return false
	case c.wanted>>FeatureVersion1&1 == 0 && c.offered>>FeatureVersion1&1 != 0:
		return false // 6.1: a driver must accept it
	case offered>>FeatureAccessPlatform&1 != 0 && c.wanted>>FeatureAccessPlatform&1 == 0:
		return false // it would use addresses that are not the device's
	}
	c.enforceLocked(c.wanted)
	return true
}

func (c *Core) enforceLocked(bits uint64) {
	c.features = bits
	f := c.ringFeatures()
	for _, q := range c.queues {
		if q.regs.Enabled {
			q.ring.SetFeatures(f)
		}
	}
}

func (c *Core) ringFeatures() virtq.Features {
	has := func(bit uint) bool { return c.features>>bit&1 != 0 }
	return virtq.Features{
		Indirect:      has(FeatureIndirect),
		EventIndex:    has(FeatureEventIndex),
		NotifyOnEmpty: has(FeatureNotifyOnEmpty) && !has(FeatureVersion1),
	}
}
