// Package authz holds the objects that decide who may use a service:
// authz-simple for one identity, authz-list for rules.
package authz

import (
	"sync"

	"govmd/internal/glob"
	"govmd/internal/object"
)

// Simple allows one identity.
type Simple struct {
	object.Node
	mu       sync.RWMutex // guards what follows
	identity string
}

// Allows reports whether identity is the one that is allowed.
func (s *Simple) Allows(identity string) (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return identity == s.identity, nil
}

// Policy is what a rule, or a list without one that matches, decides.
type Policy string

// The policies.
const (
	Deny  Policy = "deny"
	Allow Policy = "allow"
)

// EnumValues lists the policies.
func (Policy) EnumValues() []string { return []string{string(Deny), string(Allow)} }

// Format is how a rule matches.
type Format string

// The formats.
const (
	Exact Format = "exact"
	Glob  Format = "glob"
)

// EnumValues lists the formats.
func (Format) EnumValues() []string { return []string{string(Exact), string(Glob)} }

// Rule is one of a list's.
type Rule struct {
	Match  string  `qmp:"match"`
	Policy Policy  `qmp:"policy"`
	Format *Format `qmp:"format"` // nil is exact
}

// List decides by the first of its rules that matches, else by its policy.
type List struct {
	object.Node
	mu     sync.RWMutex // guards what follows
	policy Policy
	rules  []Rule
}

// Allows reports what the rules say of identity.
func (l *List) Allows(identity string) (bool, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, r := range l.rules {
		matches := r.Match == identity
		if r.Format != nil && *r.Format == Glob {
			matches = glob.Match(r.Match, identity)
		}
		if matches {
			return r.Policy == Allow, nil
		}
	}
	return l.policy == Allow, nil
}

func (s *Simple) lock() *sync.RWMutex { return &s.mu }
func (l *List) lock() *sync.RWMutex   { return &l.mu }

// live is p as a property that may change while connections are being decided on.
func live(p object.Property) object.Property {
	set := p.Set
	p.When = object.Always
	p.Set = func(o object.Object, v any) error {
		mu := o.(interface{ lock() *sync.RWMutex }).lock()
		mu.Lock()
		defer mu.Unlock()
		return set(o, v)
	}
	return p
}

func init() {
	object.Register(object.Type{Name: "authz", Abstract: true})
	object.Register(object.Type{
		Name: "authz-simple", Parent: "authz", UserCreatable: true, Description: "allows one identity",
		New: func() object.Object { return &Simple{} },
		Props: []object.Property{
			object.Mandatory(object.As("string", live(object.Str("identity", func(s *Simple) *string { return &s.identity }, "", "")))),
		},
	})
	rules := object.Value("rules", "QAuthZListRule", func(l *List) *[]Rule { return &l.rules }, nil, "")
	object.Register(object.Type{
		Name: "authz-list", Parent: "authz", UserCreatable: true, Description: "allows identities by rules",
		New: func() object.Object { return &List{} },
		Props: []object.Property{
			live(object.Enum("policy", "QAuthZListPolicy", []Policy{Deny, Allow}, func(l *List) *Policy { return &l.policy }, Deny, "")),
			live(rules),
		},
	})
}
