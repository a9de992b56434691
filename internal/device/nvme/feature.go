package nvme

import (
	"encoding/binary"
	"time"

	"govmd/internal/block"
)

// Features (section 5.21.1).
const (
	featureArbitration = 0x01
	featurePower       = 0x02
	featureTemperature = 0x04
	featureRecovery    = 0x05
	featureWriteCache  = 0x06
	featureQueues      = 0x07
	featureCoalescing  = 0x08
	featureVector      = 0x09
	featureAtomicity   = 0x0a
	featureEvents      = 0x0b
	featureTimestamp   = 0x0e

	noArbitrationLimit = 7
	vectorUncoalesced  = 1 << 16

	// What selects a value.
	selectCurrent = 0
	selectSupport = 3

	changeable = 4 // what is supported: that it can be changed
)

// The temperature that a disk without any has, and where it warns, in kelvin.
const (
	temperature = 0x143
	warning     = 0x157
	critical    = 0x175
)

// features are those that can be changed.
type features struct {
	over, under uint16 // thresholds of the temperature
	events      uint32
	timestamp   int64 // ms: what the host has set, less the time of the clock then
	stamped     bool
}

func defaults() features { return features{over: warning} }

// now is the clock's time in milliseconds.
func (d *Device) now() int64 { return d.Env().Clock.Virtual.Now() / int64(time.Millisecond) }

// queuesResult is how many queues of both kinds there are, less one.
func (d *Device) queuesResult() uint32 { return (d.ioQueues - 1) | (d.ioQueues-1)<<16 }

func (d *Device) getFeature(r *request) (status uint16, result uint32) {
	c := &r.command
	id, sel := byte(c.dword(10)), c.dword(10)>>8&7
	switch {
	case sel > selectSupport:
		return statusInvalidField, 0
	case id == featureRecovery && c.nsid() != namespaceID:
		return statusInvalidNamespace, 0
	case id == featureTimestamp:
		return d.getTimestamp(r, sel)
	}
	f, cache := defaults(), d.cache
	if sel == selectCurrent {
		d.mu.Lock()
		f = d.features
		d.mu.Unlock()
		cache = d.backend.WriteCache()
	}
	can := true
	switch id {
	case featureArbitration:
		result, can = noArbitrationLimit, false
	case featurePower, featureRecovery, featureCoalescing, featureAtomicity:
		can = false
	case featureTemperature:
		p := f.threshold(c.dword(11))
		if p == nil {
			return statusInvalidField, 0
		}
		result = uint32(*p)
	case featureWriteCache:
		if cache {
			result = 1
		}
	case featureQueues:
		result = d.queuesResult()
	case featureVector:
		if c.dword(11)&0xffff >= uint32(len(d.pending)) {
			return statusInvalidField, 0
		}
		result, can = c.dword(11)&0xffff|vectorUncoalesced, false
	case featureEvents:
		result = f.events
	default:
		return statusInvalidField, 0
	}
	if sel == selectSupport {
		result = 0
		if can {
			result = changeable
		}
	}
	return statusOK, result
}

func (d *Device) setFeature(r *request) (status uint16, result uint32) {
	c := &r.command
	v := c.dword(11)
	if c.dword(10)>>31 != 0 {
		return statusNotSaveable, 0
	}
	switch byte(c.dword(10)) {
	case featureArbitration, featurePower, featureRecovery, featureCoalescing, featureVector, featureAtomicity:
		return statusNotChangeable, 0
	case featureTemperature:
		return d.setThreshold(v), 0
	case featureWriteCache:
		d.backend.SetWriteCache(v&1 != 0)
		if v&1 == 0 && !d.backend.ReadOnly() { // what it holds is flushed
			r.Op = block.OpFlush
			return r.submit(), 0
		}
	case featureQueues:
		if v&0xffff == 0xffff || v>>16 == 0xffff {
			return statusInvalidField, 0
		}
		for _, q := range d.cqs[1:] {
			if q != nil {
				return statusSequence, 0
			}
		}
		return statusOK, d.queuesResult()
	case featureEvents:
		d.mu.Lock()
		d.features.events = v
		d.mu.Unlock()
	case featureTimestamp:
		var p [8]byte
		if status := r.receive(p[:]); status != statusOK {
			return status, 0
		}
		d.mu.Lock()
		d.features.timestamp, d.features.stamped = int64(binary.LittleEndian.Uint64(p[:])&(1<<48-1))-d.now(), true
		d.mu.Unlock()
	default:
		return statusInvalidField, 0
	}
	return statusOK, 0
}

// threshold returns the threshold of the temperature that v selects, nil when there is
// none: there is one sensor.
func (f *features) threshold(v uint32) *uint16 {
	switch v >> 16 & 0x3f {
	case 0:
		return &f.over
	case 1 << 4:
		return &f.under
	}
	return nil
}

// setThreshold sets a threshold of the temperature, and warns if that is beyond.
func (d *Device) setThreshold(v uint32) uint16 {
	d.mu.Lock()
	p := d.features.threshold(v)
	if p == nil {
		d.mu.Unlock()
		return statusInvalidField
	}
	*p = uint16(v)
	beyond := d.features.beyond()
	d.mu.Unlock()
	if beyond {
		d.event(eventSMART, smartTemperature, logSMART)
	}
	return statusOK
}

// beyond reports whether the temperature is beyond a threshold.
func (f *features) beyond() bool { return temperature >= f.over || temperature <= f.under }

// getTimestamp tells the time that the host has set, and how (section 5.21.1.14).
func (d *Device) getTimestamp(r *request, sel uint32) (status uint16, result uint32) {
	if sel == selectSupport {
		return statusOK, changeable
	}
	var p [8]byte
	if sel == selectCurrent {
		d.mu.Lock()
		binary.LittleEndian.PutUint64(p[:], uint64(d.now()+d.features.timestamp)&(1<<48-1))
		if d.features.stamped {
			p[6] = 1 << 1
		}
		d.mu.Unlock()
	}
	return r.send(p[:]), 0
}
