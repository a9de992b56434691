package rtc

import (
	"errors"
	"fmt"
	"time"

	"govmd/internal/clock"
)

// Source names the clock that a real-time clock follows, as -rtc clock= does.
type Source string

// The sources.
const (
	SourceHost Source = "host" // the host's wall clock; the default
	SourceRT   Source = "rt"   // the host's monotonic clock, with which it starts
	SourceVM   Source = "vm"   // guest time: stops with the machine
)

func (d *Device) source() (*clock.Clock, error) {
	set := d.Env().Clock
	switch d.Source {
	case "", SourceHost:
		return set.Host, nil
	case SourceRT:
		return set.Realtime, nil
	case SourceVM:
		return set.Virtual, nil
	}
	return nil, fmt.Errorf("invalid option value '%s'", d.Source)
}

// ParseBase returns the moment that -rtc base= means, as what a clock shows: its
// fields in UTC. now is the current time.
func ParseBase(base string, now time.Time) (time.Time, error) {
	switch base {
	case "", "utc":
		return now.UTC(), nil
	case "localtime":
		local := now.Local()
		_, offset := local.Zone()
		return now.UTC().Add(time.Duration(offset) * time.Second), nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, base); err == nil {
			if t.Year() < 1900 || t.Year() > 2200 {
				return t, fmt.Errorf("rtc base '%s': the clock can start in the years 1900 to 2200", base)
			}
			return t, nil
		}
	}
	return time.Time{}, errors.New("invalid datetime format; valid formats: '2006-06-17T16:01:21' or '2006-06-17'")
}
