package protocol

import (
	"encoding/json"
	"fmt"
	"testing"
)

// entity is an entry of query-qmp-schema.
type entity struct {
	Name        string
	MetaType    string `json:"meta-type"`
	JSONType    string `json:"json-type"`
	ElementType string `json:"element-type"`
	ArgType     string `json:"arg-type"`
	Values      []string
	Members     []struct {
		Name    string
		Type    string
		Default *json.RawMessage
	}
	Variants []struct{ Case, Type string }
}

type schema map[string]*entity

func schemaOf(t *testing.T, s *session) schema {
	t.Helper()
	var list []*entity
	if err := json.Unmarshal(s.result("query-qmp-schema"), &list); err != nil {
		t.Fatal(err)
	}
	all := schema{}
	for _, e := range list {
		all[e.Name] = e
	}
	return all
}

// shape describes a type without the names that schemas give to types.
func (s schema) shape(name string) string {
	e := s[name]
	switch e.MetaType {
	case "builtin":
		return e.JSONType
	case "array":
		return "[" + s.shape(e.ElementType) + "]"
	case "enum":
		return fmt.Sprint("enum ", e.Values)
	case "object":
		members := map[string]string{}
		for _, m := range e.Members {
			members[m.Name] = s.shape(m.Type)
		}
		return fmt.Sprint(members)
	}
	return e.MetaType
}

// object-add takes of each type what QEMU takes, of the same kind, and as QEMU
// some of it need not be given.
func TestObjectSchemaIsQEMUs(t *testing.T) {
	govmd, qemu := programs(t)
	a, b := start(t, govmd), start(t, qemu)
	a.result("qmp_capabilities")
	b.result("qmp_capabilities")
	ours, theirs := schemaOf(t, a), schemaOf(t, b)
	branches := map[string]string{}
	for _, v := range theirs[theirs["object-add"].ArgType].Variants {
		branches[v.Case] = v.Type
	}
	variants := ours[ours["object-add"].ArgType].Variants
	if len(variants) < 11 {
		t.Errorf("only %d types are there", len(variants))
	}
	for _, v := range variants {
		their, ok := branches[v.Case]
		if !ok {
			t.Errorf("QEMU has no %s", v.Case)
			continue
		}
		known := map[string]string{}
		for _, m := range theirs[their].Members {
			known[m.Name] = fmt.Sprint(theirs.shape(m.Type), " optional: ", m.Default != nil)
		}
		for _, m := range ours[v.Type].Members {
			got := fmt.Sprint(ours.shape(m.Type), " optional: ", m.Default != nil)
			if want := known[m.Name]; got != want {
				t.Errorf("%s.%s is %s, in QEMU %s", v.Case, m.Name, got, want)
			}
			delete(known, m.Name)
		}
		for name := range known {
			if !missing[v.Case+"."+name] {
				t.Errorf("%s has no %s", v.Case, name)
			}
		}
	}
}

// missing is what QEMU's types have and govmd's do not: deprecated switches that
// say nothing, and threads for preallocation that are objects of their own.
var missing = map[string]bool{}

func init() {
	for _, name := range []string{"rng-builtin.opened", "rng-random.opened", "secret.loaded", "tls-creds-x509.loaded"} {
		missing[name] = true
	}
	for _, kind := range []string{"ram", "file", "memfd"} {
		for _, name := range []string{"prealloc-context", "x-use-canonical-path-for-ramblock-id"} {
			missing["memory-backend-"+kind+"."+name] = true
		}
	}
}
