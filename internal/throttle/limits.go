// Package throttle holds what limits storage in bytes and requests a second: the
// limits, their rules, and the object throttle-group, whose members share them.
package throttle

import (
	"errors"
	"fmt"
)

// Kind is one of the things that are limited.
type Kind int

// The kinds.
const (
	BPSTotal Kind = iota
	BPSRead
	BPSWrite
	IOPSTotal
	IOPSRead
	IOPSWrite
	Kinds // how many there are
)

// Bucket is the limit of one kind: what flows out of a leaky bucket.
type Bucket struct {
	Avg    uint64 // units a second, 0 for no limit
	Max    uint64 // units a second in bursts, 0 for a tenth of Avg above it
	Length uint64 // seconds that a burst may last
}

// Config is a set of limits. The zero Config is not valid: Unlimited is.
type Config struct {
	Buckets [Kinds]Bucket
	// OpSize is how many bytes count as one request: a larger one counts as
	// several. 0 has each count as one.
	OpSize uint64
}

// maxRate bounds what a limit can be, so that arithmetic with it stays in range.
const maxRate = 1_000_000_000_000_000

// Unlimited returns a configuration that limits nothing.
func Unlimited() Config {
	var c Config
	for i := range c.Buckets {
		c.Buckets[i].Length = 1
	}
	return c
}

// Enabled reports whether anything is limited.
func (c *Config) Enabled() bool {
	for _, b := range c.Buckets {
		if b.Avg > 0 {
			return true
		}
	}
	return false
}

// Check returns an error for limits that contradict each other or are out of range.
func (c *Config) Check() error {
	for _, total := range []Kind{BPSTotal, IOPSTotal} {
		t, r, w := c.Buckets[total], c.Buckets[total+1], c.Buckets[total+2]
		if t.Avg > 0 && (r.Avg > 0 || w.Avg > 0) || t.Max > 0 && (r.Max > 0 || w.Max > 0) {
			return errors.New("bps/iops/max total values and read/write values cannot be used at the same time")
		}
	}
	if c.OpSize > 0 && c.Buckets[IOPSTotal].Avg == 0 && c.Buckets[IOPSRead].Avg == 0 && c.Buckets[IOPSWrite].Avg == 0 {
		return errors.New("iops size requires an iops value to be set")
	}
	for _, b := range c.Buckets {
		if err := b.check(); err != nil {
			return err
		}
	}
	return nil
}

func (b Bucket) check() error {
	switch {
	case b.Avg > maxRate || b.Max > maxRate:
		return fmt.Errorf("bps/iops/max values must be within [0, %d]", uint64(maxRate))
	case b.Length == 0:
		return errors.New("the burst length cannot be 0")
	case b.Length > 1 && b.Max == 0:
		return errors.New("burst length set without burst rate")
	case b.Max > 0 && b.Length > maxRate/b.Max:
		return errors.New("burst length too high for this burst rate")
	case b.Max > 0 && b.Avg == 0:
		return errors.New("bps_max/iops_max require corresponding bps/iops values")
	case b.Max > 0 && b.Max < b.Avg:
		return errors.New("bps_max/iops_max cannot be lower than bps/iops")
	}
	return nil
}
