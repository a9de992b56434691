package main

import (
	"math"
	"testing"

	"govmd/internal/object"
	"govmd/internal/qmp"
)

// values are one of each kind that a client can send, in and out of range.
func values() []any {
	inner := &qmp.Object{}
	inner.Add("match", "x")
	return []any{
		nil, true, int64(0), int64(-1), int64(math.MaxInt64), uint64(math.MaxUint64), 0.5, math.Inf(1), "", "x", "on", "1k",
		[]any{}, []any{int64(1)}, []any{"x"}, []any{inner}, inner, &qmp.Object{},
	}
}

// Every property of every type takes or refuses every value, and can be read
// again; nothing of that can be a surprise to the program.
func TestPropertiesOfAllTypes(t *testing.T) {
	types := object.Creatable()
	if len(types) < 11 {
		t.Fatalf("only %d types are there", len(types))
	}
	for _, typ := range types {
		for _, p := range typ.Unique() {
			for _, v := range values() {
				o, err := object.New(typ.Name)
				if err != nil {
					t.Fatal(err)
				}
				err = object.Set(o, p.Name, v)
				if p.When == object.Never && err == nil {
					t.Errorf("%s.%s is read-only, and takes %v", typ.Name, p.Name, v)
				}
				if text, ok := v.(string); ok {
					_ = object.SetText(o, p.Name, text)
				}
				if _, err := object.Get(o, p.Name); err != nil {
					t.Errorf("%s.%s cannot be read: %v", typ.Name, p.Name, err)
				}
			}
			if p.Set != nil && p.When != object.Never && p.Go == nil {
				t.Errorf("%s.%s is not among the options of object-add", typ.Name, p.Name)
			}
		}
	}
}

// Whatever follows -object, it is understood or refused.
func FuzzObjectOption(f *testing.F) {
	for _, text := range []string{
		"memory-backend-ram,id=m,size=1G,host-nodes=0-3,policy=bind", "secret,id=s,data=x,format=base64",
		"authz-list,id=a,rules.0.match=x,rules.0.policy=allow", `{"qom-type":"throttle-group","id":"g","limits":{"bps-total":1}}`,
		"iothread,id=i,poll-max-ns=9223372036854775808", "tls-creds-psk,id=p",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		kv, err := object.ParseOption(text)
		if err != nil {
			return
		}
		mode := qmp.Keyval
		if kv.JSON {
			mode = qmp.JSON
		}
		var o object.Options
		if err := qmp.Decode(kv.Doc.Root(), mode, &o); err == nil && object.Lookup(o.Type) == nil {
			t.Errorf("there is no type %q", o.Type)
		}
	})
}
