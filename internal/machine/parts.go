package machine

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"govmd/internal/device"
	"govmd/internal/device/fwcfg"
	"govmd/internal/device/rtc"
	"govmd/internal/object"
)

// plugFwCfg plugs the firmware configuration device.
func (m *Machine) plugFwCfg() (*fwcfg.Device, error) {
	d, err := m.create(fwcfg.TypeName)
	if err != nil {
		return nil, err
	}
	m.fwcfg = d.(*fwcfg.Device)
	return m.fwcfg, m.plugNamed("fw_cfg", nil, d)
}

// plugRTC plugs the clock, set as -rtc says; onAlarm may be nil.
func (m *Machine) plugRTC(bus *device.Bus, onAlarm func()) (*rtc.Device, error) {
	d, err := m.create(rtc.TypeName)
	if err != nil {
		return nil, err
	}
	r := d.(*rtc.Device)
	r.StartAt, r.Source, r.OnAlarm = m.RTC.Base, rtc.Source(m.RTC.Clock), onAlarm
	if m.RTC.DriftFix == "slew" {
		if err := object.SetText(r, "lost_tick_policy", string(rtc.Slew)); err != nil {
			return nil, err
		}
	}
	return r, m.plug(bus, r)
}

// Check refuses what an -rtc does not take.
func (r RTC) Check() error {
	if _, err := rtc.ParseBase(r.Base, time.Now()); err != nil {
		return fmt.Errorf("base=%s: %w", r.Base, err)
	}
	switch rtc.Source(r.Clock) {
	case rtc.SourceHost, rtc.SourceRT, rtc.SourceVM:
	default:
		return fmt.Errorf("clock: invalid option value '%s': host, rt and vm are valid", r.Clock)
	}
	if r.DriftFix != "none" && r.DriftFix != "slew" {
		return fmt.Errorf("driftfix: invalid option value '%s': none and slew are valid", r.DriftFix)
	}
	return nil
}

// gate is a pin whose way to another can be cut, as the HPET does with the
// clock's interrupt.
type gate struct {
	*device.Pin
	out  *device.Line
	mu   sync.Mutex // guards cut and high, and the order of out's levels
	cut  bool
	high bool
}

func newGate(label string, to *device.Pin) *gate {
	g := &gate{out: to.Connect(label)}
	g.Pin = device.NewPin(label, func(high bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.high = high
		g.out.SetLevel(high && !g.cut)
	})
	return g
}

func (g *gate) setCut(cut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = cut
	g.out.SetLevel(g.high && !cut)
}

// plugSerial plugs up to n serial ports, one for each character device that the
// configuration names, and reports which there are.
func (m *Machine) plugSerial(bus *device.Bus, n int) (there [4]bool, err error) {
	for i := range n {
		id := m.Config.Serial[i]
		if id == "" {
			continue
		}
		d, err := m.create("isa-serial")
		if err != nil {
			return there, err
		}
		for name, value := range map[string]string{"index": strconv.Itoa(i), "chardev": id} {
			if err := object.SetText(d, name, value); err != nil {
				return there, err
			}
		}
		if err := m.plug(bus, d); err != nil {
			return there, fmt.Errorf("serial port %d: %w", i, err)
		}
		there[i] = true
	}
	return there, nil
}
