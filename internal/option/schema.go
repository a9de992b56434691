package option

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Type is what kind of value a key takes.
type Type int

// The types of values.
const (
	String Type = iota
	Bool        // on or off
	Number      // an integer that is not negative
	Size        // a number of bytes, with suffix
)

// String returns the type's name in help texts.
func (t Type) String() string {
	switch t {
	case Bool:
		return "bool (on/off)"
	case Number:
		return "num"
	case Size:
		return "size"
	}
	return "str"
}

// Key describes one key of an option.
type Key struct {
	Name    string
	Type    Type
	Help    string // one line, or ""
	Default string // as text, or ""
}

// Schema describes a group of options that share their keys ("machine",
// "drive"): what -GROUP takes and query-command-line-options reports.
type Schema struct {
	Name    string
	Implied string // the key whose value can come first without its name, or ""
	Keys    []Key
	Any     bool // keys that are not listed are taken as strings
}

// Opts is an option that its Schema has checked.
type Opts struct {
	Schema *Schema
	ID     string // of id=, or ""
	List   List   // what was given, id left out
	Help   bool   // help was asked for: the rest is not checked
}

// Parse reads and checks an option. Its errors name the key.
func (s *Schema) Parse(text string) (*Opts, error) {
	return s.Check(Parse(text, s.Implied))
}

// Check checks a list of items.
func (s *Schema) Check(list List) (*Opts, error) {
	o := &Opts{Schema: s}
	if o.Help = list.Help(); o.Help {
		return o, nil
	}
	for _, it := range list {
		if it.Key == "id" && s.key("id") == nil {
			if err := CheckID("id", it.Value); err != nil {
				return nil, err
			}
			o.ID = it.Value
			continue
		}
		k := s.key(it.Key)
		if k == nil {
			if s.Any && it.Key != "" {
				o.List = append(o.List, it)
				continue
			}
			return nil, unknown(it.Key, s.names())
		}
		if err := k.check(it.Value); err != nil {
			return nil, err
		}
		o.List = append(o.List, it)
	}
	return o, nil
}

func (s *Schema) key(name string) *Key {
	for i := range s.Keys {
		if s.Keys[i].Name == name {
			return &s.Keys[i]
		}
	}
	return nil
}

func (s *Schema) names() []string {
	names := []string{"id"}
	for _, k := range s.Keys {
		names = append(names, k.Name)
	}
	return names
}

func (k *Key) check(text string) error {
	var err error
	switch k.Type {
	case Bool:
		_, err = BoolValue(k.Name, text)
	case Number:
		_, err = NumberValue(k.Name, text)
	case Size:
		_, err = SizeValue(k.Name, text)
	}
	return err
}

// BoolValue reads a boolean; its error names the key.
func BoolValue(key, text string) (bool, error) {
	b, err := ParseBool(text)
	if err != nil {
		return false, &ValueError{key, "Parameter '" + key + "' expects 'on' or 'off'"}
	}
	return b, nil
}

// NumberValue reads an integer; its error names the key.
func NumberValue(key, text string) (uint64, error) {
	n, err := ParseUint(text)
	switch {
	case errors.Is(err, ErrRange):
		return 0, &ValueError{key, "Value '" + text + "' is too large for parameter '" + key + "'"}
	case err != nil:
		return 0, &ValueError{key, "Parameter '" + key + "' expects a number"}
	}
	return n, nil
}

// SizeValue reads a number of bytes; its error names the key.
func SizeValue(key, text string) (uint64, error) {
	n, err := ParseSize(text)
	switch {
	case errors.Is(err, ErrRange):
		return 0, &ValueError{key, "Value '" + text + "' is out of range for parameter '" + key + "'"}
	case err != nil:
		return 0, &ValueError{key, "Parameter '" + key + "' expects a non-negative number below 2^64\n" +
			"Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively."}
	}
	return n, nil
}

// HelpText is the answer to -GROUP help.
func (s *Schema) HelpText() string {
	keys := slices.Clone(s.Keys)
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(a.Name, b.Name) })
	var b strings.Builder
	fmt.Fprintf(&b, "%s options:\n", s.Name)
	for _, k := range keys {
		line := fmt.Sprintf("  %s=<%s>", k.Name, k.Type)
		if k.Help != "" {
			line = fmt.Sprintf("%-24s - %s", line, k.Help)
		}
		if k.Default != "" {
			line += " (default: " + k.Default + ")"
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}

// Has reports whether key was given.
func (o *Opts) Has(key string) bool {
	_, ok := o.List.Get(key)
	return ok
}

// Str returns the value of key as it was given, or its default.
func (o *Opts) Str(key string) string {
	if v, ok := o.List.Get(key); ok {
		return v
	}
	if k := o.Schema.key(key); k != nil {
		return k.Default
	}
	return ""
}

// Bool returns the value of a Bool, def when it was not given.
func (o *Opts) Bool(key string, def bool) bool {
	b, err := ParseBool(o.Str(key))
	if err != nil {
		return def
	}
	return b
}

// Number returns the value of a Number, def when it was not given.
func (o *Opts) Number(key string, def uint64) uint64 {
	n, err := ParseUint(o.Str(key))
	if err != nil {
		return def
	}
	return n
}

// Int is Number for a value that has to fit int; it is an error when it does not.
func (o *Opts) Int(key string, def int) (int, error) {
	if !o.Has(key) {
		return def, nil
	}
	n := o.Number(key, 0)
	if n > math.MaxInt32 {
		return 0, &ValueError{key, "Value '" + o.Str(key) + "' is too large for parameter '" + key + "'"}
	}
	return int(n), nil
}

// Size returns the value of a Size, def when it was not given.
func (o *Opts) Size(key string, def uint64) uint64 {
	n, err := ParseSize(o.Str(key))
	if err != nil {
		return def
	}
	return n
}
