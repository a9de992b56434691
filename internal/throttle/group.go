package throttle

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"govmd/internal/object"
	"govmd/internal/option"
)

// Limits are the limits of a group as clients set and see them. Members that are
// not given stay as they are.
type Limits struct {
	IOPSTotal          *int64 `qmp:"iops-total"`
	IOPSTotalMax       *int64 `qmp:"iops-total-max"`
	IOPSTotalMaxLength *int64 `qmp:"iops-total-max-length"`
	IOPSRead           *int64 `qmp:"iops-read"`
	IOPSReadMax        *int64 `qmp:"iops-read-max"`
	IOPSReadMaxLength  *int64 `qmp:"iops-read-max-length"`
	IOPSWrite          *int64 `qmp:"iops-write"`
	IOPSWriteMax       *int64 `qmp:"iops-write-max"`
	IOPSWriteMaxLength *int64 `qmp:"iops-write-max-length"`
	BPSTotal           *int64 `qmp:"bps-total"`
	BPSTotalMax        *int64 `qmp:"bps-total-max"`
	BPSTotalMaxLength  *int64 `qmp:"bps-total-max-length"`
	BPSRead            *int64 `qmp:"bps-read"`
	BPSReadMax         *int64 `qmp:"bps-read-max"`
	BPSReadMaxLength   *int64 `qmp:"bps-read-max-length"`
	BPSWrite           *int64 `qmp:"bps-write"`
	BPSWriteMax        *int64 `qmp:"bps-write-max"`
	BPSWriteMaxLength  *int64 `qmp:"bps-write-max-length"`
	IOPSSize           *int64 `qmp:"iops-size"`
}

// setting ties a member of Limits to a member of Config.
type setting struct {
	name  string
	in    func(*Limits) **int64
	field func(*Config) *uint64
	most  int64 // the greatest value that it takes, 0 for no other than that of all limits
}

// maxLength is the longest burst, in seconds, and the largest request size.
const maxLength = 1<<32 - 1

var settings = func() (list []setting) {
	names := [Kinds]string{"bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"}
	members := [Kinds][3]func(*Limits) **int64{
		{func(l *Limits) **int64 { return &l.BPSTotal }, func(l *Limits) **int64 { return &l.BPSTotalMax }, func(l *Limits) **int64 { return &l.BPSTotalMaxLength }},
		{func(l *Limits) **int64 { return &l.BPSRead }, func(l *Limits) **int64 { return &l.BPSReadMax }, func(l *Limits) **int64 { return &l.BPSReadMaxLength }},
		{func(l *Limits) **int64 { return &l.BPSWrite }, func(l *Limits) **int64 { return &l.BPSWriteMax }, func(l *Limits) **int64 { return &l.BPSWriteMaxLength }},
		{func(l *Limits) **int64 { return &l.IOPSTotal }, func(l *Limits) **int64 { return &l.IOPSTotalMax }, func(l *Limits) **int64 { return &l.IOPSTotalMaxLength }},
		{func(l *Limits) **int64 { return &l.IOPSRead }, func(l *Limits) **int64 { return &l.IOPSReadMax }, func(l *Limits) **int64 { return &l.IOPSReadMaxLength }},
		{func(l *Limits) **int64 { return &l.IOPSWrite }, func(l *Limits) **int64 { return &l.IOPSWriteMax }, func(l *Limits) **int64 { return &l.IOPSWriteMaxLength }},
	}
	for k := range Kinds {
		list = append(list,
			setting{names[k], members[k][0], func(c *Config) *uint64 { return &c.Buckets[k].Avg }, 0},
			setting{names[k] + "-max", members[k][1], func(c *Config) *uint64 { return &c.Buckets[k].Max }, 0},
			setting{names[k] + "-max-length", members[k][2], func(c *Config) *uint64 { return &c.Buckets[k].Length }, maxLength})
	}
	return append(list, setting{"iops-size", func(l *Limits) **int64 { return &l.IOPSSize },
		func(c *Config) *uint64 { return &c.OpSize }, 0})
}()

// put stores a value in c. name is what errors call it.
func (s *setting) put(c *Config, name string, v int64) error {
	switch {
	case s.most > 0 && (v < 0 || v > s.most):
		return fmt.Errorf("%s value must be in the range [0, %d]", name, s.most)
	case v < 0:
		return fmt.Errorf("bps/iops/max values must be within [0, %d]", uint64(maxRate))
	}
	*s.field(c) = uint64(v)
	return nil
}

// Apply returns c with those limits that l gives, checked.
func (l *Limits) Apply(c Config) (Config, error) {
	for i := range settings {
		s := &settings[i]
		if v := *s.in(l); v != nil {
			if err := s.put(&c, s.name, *v); err != nil {
				return c, err
			}
		}
	}
	return c, c.Check()
}

// LimitsOf returns all limits of a configuration.
func LimitsOf(c *Config) Limits {
	var l Limits
	for i := range settings {
		v := int64(*settings[i].field(c))
		*settings[i].in(&l) = &v
	}
	return l
}

// Group is the object throttle-group.
type Group struct {
	object.Node
	mu      sync.Mutex // guards what follows
	cfg     Config
	changed func(Config)
}

// Config returns the limits as they are. It may be called from any goroutine.
func (g *Group) Config() Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cfg
}

// SetConfig changes the limits, which have been checked.
func (g *Group) SetConfig(c Config) {
	g.mu.Lock()
	g.cfg = c
	changed := g.changed
	g.mu.Unlock()
	if changed != nil {
		changed(c)
	}
}

// OnChange has fn called, on the control lane, when the limits change; nil ends that.
func (g *Group) OnChange(fn func(Config)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changed = fn
}

// Complete checks what the properties add up to.
func (g *Group) Complete(*object.Collection) error {
	c := g.Config()
	return c.Check()
}

// single is the property for one limit, which is set before the group is used.
func single(s *setting) object.Property {
	name := "x-" + s.name
	return object.Property{
		Name: name, Type: "int", Go: reflect.TypeFor[int64](), TooLate: "Property cannot be set after initialization",
		Parse: func(text string) (any, error) { return option.ParseInt(text) },
		Get: func(o object.Object) any {
			c := o.(*Group).Config()
			return int64(*s.field(&c))
		},
		Set: func(o object.Object, v any) error {
			n, ok := v.(int64)
			if !ok {
				return &object.TypeError{Name: name, Expected: "integer"}
			}
			if n < 0 {
				return errors.New("Property values cannot be negative")
			}
			g := o.(*Group)
			c := g.Config()
			if err := s.put(&c, name, n); err != nil {
				return err
			}
			g.SetConfig(c)
			return nil
		},
	}
}

func init() {
	var props []object.Property
	for i := range settings {
		props = append(props, single(&settings[i]))
	}
	limits := object.Value("limits", "ThrottleLimits", nil, func(g *Group, l Limits) error {
		c, err := l.Apply(g.Config())
		if err == nil {
			g.SetConfig(c)
		}
		return err
	}, "")
	limits.When = object.Always
	limits.Get = func(o object.Object) any {
		c := o.(*Group).Config()
		return LimitsOf(&c)
	}
	object.Register(object.Type{
		Name: "throttle-group", UserCreatable: true, Description: "limits that several drives share",
		New:   func() object.Object { return &Group{cfg: Unlimited()} },
		Props: append(props, limits),
	})
}
