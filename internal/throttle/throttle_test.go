package throttle

import (
	"testing"

	"govmd/internal/object"
)

func TestRules(t *testing.T) {
	for _, c := range []struct{ limits, want string }{
		{`{}`, ""},
		{`{"iops-total":100}`, ""},
		{`{"iops-total":100,"bps-read":5,"bps-write":6}`, ""},
		{`{"bps-read":5,"bps-read-max":7,"bps-read-max-length":3}`, ""},
		{`{"iops-total":5,"iops-size":4096}`, ""},
		{`{"iops-total":100,"iops-read":5}`, "bps/iops/max total values and read/write values cannot be used at the same time"},
		{`{"bps-total-max":5,"bps-read-max":5}`, "bps/iops/max total values and read/write values cannot be used at the same time"},
		{`{"iops-total":-1}`, "bps/iops/max values must be within [0, 1000000000000000]"},
		{`{"bps-total":1000000000000001}`, "bps/iops/max values must be within [0, 1000000000000000]"},
		{`{"iops-total":10,"iops-total-max":5}`, "bps_max/iops_max cannot be lower than bps/iops"},
		{`{"iops-total-max":5}`, "bps_max/iops_max require corresponding bps/iops values"},
		{`{"iops-total":5,"iops-total-max-length":5}`, "burst length set without burst rate"},
		{`{"iops-total":5,"iops-total-max-length":0}`, "the burst length cannot be 0"},
		{`{"bps-total":5,"iops-size":5}`, "iops size requires an iops value to be set"},
		{`{"bps-total":1000000000000000,"bps-total-max":1000000000000000,"bps-total-max-length":10}`, "burst length too high for this burst rate"},
		{`{"bps-total":5,"bps-total-max":10,"bps-total-max-length":4294967296}`, "bps-total-max-length value must be in the range [0, 4294967295]"},
		{`{"bits":1}`, "Parameter 'limits.bits' is unexpected"},
	} {
		var s object.Collection
		got := ""
		if err := s.Parse(`{"qom-type":"throttle-group","id":"g","limits":` + c.limits + "}"); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.limits, got, c.want)
		}
	}
}

func TestGroup(t *testing.T) {
	var s object.Collection
	if err := s.Parse("throttle-group,id=g,x-iops-total=100,x-iops-total-max=200,x-iops-total-max-length=3"); err != nil {
		t.Fatal(err)
	}
	g := s.Find("g").(*Group)
	if got, want := g.Config().Buckets[IOPSTotal], (Bucket{100, 200, 3}); got != want {
		t.Errorf("limits %v, want %v", got, want)
	}
	var told []Config
	g.OnChange(func(c Config) { told = append(told, c) })
	n := int64(300)
	if err := object.Set(g, "limits", Limits{IOPSTotal: &n}); err == nil {
		t.Error("a limit above that of bursts is taken")
	}
	if err := object.Set(g, "limits", Limits{IOPSTotalMax: &n}); err != nil || len(told) != 1 || told[0].Buckets[IOPSTotal] != (Bucket{100, 300, 3}) {
		t.Errorf("%v; told of %v", err, told)
	}
	if err := object.Set(g, "x-iops-total", int64(1)); err == nil || err.Error() != "Property cannot be set after initialization" {
		t.Error(err)
	}
	v, err := object.Get(g, "limits")
	if l, ok := v.(Limits); !ok || *l.IOPSTotal != 100 || *l.BPSReadMaxLength != 1 || *l.IOPSSize != 0 {
		t.Errorf("limits read as %v (%v)", v, err)
	}
	if c := g.Config(); !c.Enabled() {
		t.Error("nothing is limited")
	}
	if c := Unlimited(); c.Enabled() || c.Check() != nil {
		t.Error("unlimited is limited")
	}
	for text, want := range map[string]string{
		"x-bps-read=-1":                         "Property values cannot be negative",
		"x-bps-total-max-length=0":              "the burst length cannot be 0",
		"x-bps-total-max-length=4294967296":     "x-bps-total-max-length value must be in the range [0, 4294967295]",
		"x-iops-size=1":                         "iops size requires an iops value to be set",
		"x-bps-total=1k":                        "Parameter 'x-bps-total' expects integer",
		"limits.bps-total=1,limits.iops-size=1": "iops size requires an iops value to be set",
	} {
		if err := s.Parse("throttle-group,id=h," + text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
