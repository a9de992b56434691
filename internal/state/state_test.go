package state

import (
	"strings"
	"testing"
)

type timerState struct {
	Count uint32 `cbor:"count"`
	Mode  uint8  `cbor:"mode"`
}

type timer struct{ timerState }

func (d *timer) entry(id string) Entry {
	return Of(id, 1, func() timerState { return d.timerState }, func(s *timerState) error {
		d.timerState = *s
		return nil
	})
}

func registry(t *testing.T, entries ...Entry) *Registry {
	t.Helper()
	r := &Registry{}
	for _, e := range entries {
		if _, err := r.Register(e); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	a, b := &timer{timerState{7, 3}}, &timer{}
	if err := RoundTrip(registry(t, a.entry("t")), registry(t, b.entry("t"))); err != nil {
		t.Fatal(err)
	}
	if b.timerState != a.timerState {
		t.Errorf("loaded %+v, want %+v", b.timerState, a.timerState)
	}
	forgetful := Of("t", 1, func() timerState { return timerState{} }, func(*timerState) error { return nil })
	if err := RoundTrip(registry(t, a.entry("t")), registry(t, forgetful)); err == nil {
		t.Error("a state that is not loaded passes")
	}
}

func TestLoadRefuses(t *testing.T) {
	d := &timer{}
	good, err := registry(t, d.entry("t")).SaveAll()
	if err != nil {
		t.Fatal(err)
	}
	type wider struct {
		timerState
		Extra int `cbor:"extra"`
	}
	unknown := good[0]
	unknown.Data, _ = Encode(wider{})
	otherCase := good[0]
	otherCase.Data, _ = Encode(map[string]int{"Count": 1})
	newer := good[0]
	newer.Version = 2
	bad := good[0]
	bad.Data = []byte{0xbf, 0xbf}
	for name, c := range map[string]struct {
		saved []Saved
		want  string
	}{
		"missing entry":  {nil, `lacks "t"`},
		"unknown entry":  {append(good[:1:1], Saved{ID: "u"}), `has "u"`},
		"twice":          {append(good[:1:1], good[0]), "twice"},
		"unknown field":  {[]Saved{unknown}, "unknown field"},
		"other case":     {[]Saved{otherCase}, "unknown field"},
		"newer version":  {[]Saved{newer}, "version 2 is not supported"},
		"malformed data": {[]Saved{bad}, "loading t"},
	} {
		err := registry(t, d.entry("t")).LoadAll(c.saved)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

// An older state, which lacks a field, gets the declared default; a field that
// was dropped is ignored where that is declared.
type evolved struct {
	Count uint32 `cbor:"count"`
	Rate  uint32 `cbor:"rate"`
}

func (*evolved) IgnorableFields() []string { return []string{"mode"} }

func TestCompatibility(t *testing.T) {
	d := &timer{timerState{9, 1}}
	saved, err := registry(t, d.entry("t")).SaveAll()
	if err != nil {
		t.Fatal(err)
	}
	var got evolved
	e := Entry{
		ID: "t", Version: 1,
		Save: func() (any, error) { return got, nil },
		New:  func() any { return &evolved{Rate: 100} },
		Load: func(v any, _ int) error { got = *v.(*evolved); return nil },
	}
	if err := registry(t, e).LoadAll(saved); err != nil {
		t.Fatal(err)
	}
	if got != (evolved{Count: 9, Rate: 100}) {
		t.Errorf("loaded %+v", got)
	}
}

func TestOrderAndPostLoad(t *testing.T) {
	var log []string
	mk := func(id string, prio int) Entry {
		e := Of(id, 1, func() timerState { return timerState{} }, func(*timerState) error {
			log = append(log, id)
			return nil
		})
		e.Priority = prio
		e.PostLoad = func() error { log = append(log, "post "+id); return nil }
		return e
	}
	r := registry(t, mk("device", PriorityDefault), mk("cpu", PriorityLast), mk("ram", PriorityRAM))
	saved, err := r.SaveAll()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.LoadAll(saved); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(log, ","); got != "ram,device,cpu,post ram,post device,post cpu" {
		t.Error(got)
	}
}

func TestBlock(t *testing.T) {
	r := registry(t)
	unblock := r.Block(errTest("disk is busy"))
	if _, err := r.SaveAll(); err == nil || !strings.Contains(err.Error(), "disk is busy") {
		t.Error("blocked save:", err)
	}
	unblock()
	if _, err := r.SaveAll(); err != nil {
		t.Error(err)
	}
}

// Taking an entry back twice does not take what another registered since.
func TestRemove(t *testing.T) {
	var r Registry
	a, b := &timer{}, &timer{timerState{5, 5}}
	remove, err := r.Register(a.entry("t"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Register(b.entry("t")); err == nil {
		t.Error("one ID is registered twice")
	}
	remove()
	if _, err := r.Register(b.entry("t")); err != nil {
		t.Fatal(err)
	}
	remove()
	saved, err := r.SaveAll()
	if err != nil || len(saved) != 1 {
		t.Errorf("%d entries are saved, %v", len(saved), err)
	}
}

type errTest string

func (e errTest) Error() string { return string(e) }

func FuzzDecode(f *testing.F) {
	good, _ := Encode(timerState{1, 2})
	f.Add(good)
	f.Add([]byte{0xbf})
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		var s timerState
		if Decode(data, &s) == nil {
			if _, err := Encode(s); err != nil {
				t.Error(err)
			}
		}
		var e evolved
		_ = Decode(data, &e)
	})
}
