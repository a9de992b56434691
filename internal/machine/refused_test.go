package machine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"govmd/internal/machine/accel"
	"govmd/internal/runstate"
)

// What the host does not take at the start ends the start. Later it is told, but
// not more often than a log bears.
func TestMapRefused(t *testing.T) {
	var log strings.Builder
	image := rom(t, counter...)
	r := newRig(t, func(c *Config, b Board) {
		c.Log.SetOutput(&log)
		b.common().firmware = image
	})
	why := errors.New("no")
	r.do(func() error {
		for i := range 100 {
			r.mapRefused(&accel.MapError{Name: "bar", Addr: uint64(i), Err: why})
		}
		return nil
	})
	if n := strings.Count(log.String(), "KVM does not take guest memory 'bar'"); n < 10 || n > 20 {
		t.Errorf("%d messages of 100:\n%s", n, log.String())
	}

	m := &Machine{}
	for i := range 2 {
		m.mapRefused(&accel.MapError{Name: fmt.Sprint("ram", i), Err: why})
	}
	if err := m.mapIsWhole(); err == nil || err.Error() != "KVM does not take guest memory 'ram0' at 0x0: no" || !errors.Is(err, why) {
		t.Errorf("the start says %v", err)
	}
}

// A guest that would see memory that is not there does not go on.
func TestMapStale(t *testing.T) {
	image := rom(t, counter...)
	r := newRig(t, func(_ *Config, b Board) { b.common().firmware = image })
	r.do(r.Run.Start)
	r.mapRefused(&accel.MapError{Name: "bar", Stale: true, Err: errors.New("no")})
	r.do(func() error {
		if s := r.Run.State(); s != runstate.InternalError {
			t.Errorf("state %s", s)
		}
		return nil
	})
}
