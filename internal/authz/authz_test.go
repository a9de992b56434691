package authz

import (
	"testing"

	"govmd/internal/object"
)

type authz interface {
	Allows(identity string) (bool, error)
}

func TestDecisions(t *testing.T) {
	const list = `{"qom-type":"authz-list","id":"a","policy":"deny","rules":[
		{"match":"CN=bob","policy":"deny"},
		{"match":"CN=b*,O=x?","policy":"allow","format":"glob"},
		{"match":"CN=*","policy":"allow","format":"exact"}]}`
	for _, c := range []struct {
		object, identity string
		want             bool
	}{
		{"authz-simple,id=a,identity=CN=fred", "CN=fred", true},
		{"authz-simple,id=a,identity=CN=fred", "CN=Fred", false},
		{"authz-list,id=a", "x", false},
		{"authz-list,id=a,policy=allow", "x", true},
		{"authz-list,id=a,rules.0.match=x,rules.0.policy=allow", "x", true},
		{list, "CN=bob", false},
		{list, "CN=bill,O=xy", true},
		{list, "CN=bob,O=xy", true},
		{list, "CN=bill,O=x", false},
		{list, "CN=*", true},
		{list, "CN=other", false},
	} {
		var s object.Collection
		if err := s.Parse(c.object); err != nil {
			t.Fatalf("%s: %v", c.object, err)
		}
		got, err := s.Find("a").(authz).Allows(c.identity)
		if err != nil || got != c.want {
			t.Errorf("%.60s: %s is allowed: %v (%v)", c.object, c.identity, got, err)
		}
	}
}
