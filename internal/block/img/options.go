package img

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"govmd/internal/option"
	"govmd/internal/qmp"
)

var errHelp = errors.New("help is wanted")

// options are what a command was given.
type options struct {
	values map[string][]string // by the option's name, without dashes
	order  []given
	args   []string
}

// given is an option as it was given.
type given struct{ name, value string }

// put notes an option.
func (o *options) put(name, value string) {
	o.values[name] = append(o.values[name], value)
	o.order = append(o.order, given{name, value})
}

func (o *options) has(name string) bool { return len(o.values[name]) > 0 }

// get returns the last value of an option, "" when it was not given.
func (o *options) get(name string) string {
	if v := o.values[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// format returns an option that names a format, raw when it was not given.
func (o *options) format(name string) string {
	if f := o.get(name); f != "" {
		return f
	}
	return "raw"
}

// json reports whether the output is to be JSON.
func (o *options) json() (bool, error) {
	switch v := o.get("output"); v {
	case "", "human":
		return false, nil
	case "json":
		return true, nil
	}
	return false, errors.New("--output must be used with human or json as argument.")
}

// size returns an option that is a number of bytes, def when it was not given.
func (o *options) size(name string, def int64) (int64, error) {
	if !o.has(name) {
		return def, nil
	}
	n, err := parseSize(o.get(name))
	if err != nil {
		return 0, fmt.Errorf("Invalid value of -%s: %w", name, err)
	}
	return n, nil
}

func parseSize(s string) (int64, error) {
	n, err := option.ParseSize(s)
	if err == nil && n > 1<<63-1 {
		err = option.ErrRange
	}
	if err != nil {
		return 0, fmt.Errorf("'%s' is no size: a number with an optional suffix k, M, G, T, P or E", s)
	}
	return int64(n), nil
}

// expect checks how many arguments there are besides options.
func (o *options) expect(least, most int) error {
	if n := len(o.args); n < least || n > most {
		return fmt.Errorf("Expecting %d arguments besides options, not %d", least, n)
	}
	return nil
}

// parse reads a command line as getopt_long does: options may come after other
// arguments, short ones may be joined.
func parse(c *command, args []string) (options, error) {
	o := options{values: map[string][]string{}}
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			o.args = append(o.args, args[i+1:]...)
			return o, nil
		case strings.HasPrefix(a, "--"):
			name, value, joined := strings.Cut(a[2:], "=")
			if name == "help" {
				return o, errHelp
			}
			takes := name == "object" || slices.Contains(c.long, name+"=")
			switch {
			case !takes && !slices.Contains(c.long, name):
				return o, fmt.Errorf("unrecognized option '--%s'", name)
			case !takes && joined:
				return o, fmt.Errorf("option '--%s' doesn't allow an argument", name)
			case takes && !joined:
				if i++; i == len(args) {
					return o, fmt.Errorf("option '--%s' requires an argument", name)
				}
				value = args[i]
			}
			o.put(name, value)
		case len(a) > 1 && a[0] == '-' && (a[1] < '0' || a[1] > '9'):
			for j := 1; j < len(a); j++ {
				name := a[j : j+1]
				if name == "h" {
					return o, errHelp
				}
				at := strings.Index(c.options, name)
				if at < 0 || name == ":" {
					return o, fmt.Errorf("unrecognized option '-%s'", name)
				}
				if at+1 == len(c.options) || c.options[at+1] != ':' {
					o.put(name, "")
					continue
				}
				value := a[j+1:]
				if value == "" {
					if i++; i == len(args) {
						return o, fmt.Errorf("option requires an argument -- '%s'", name)
					}
					value = args[i]
				}
				o.put(name, value)
				break
			}
		default:
			o.args = append(o.args, a)
		}
	}
	return o, nil
}

// creation returns the keys of -o options, as text.
func (o *options) creation() *qmp.Object {
	keys := &qmp.Object{}
	for _, text := range o.values["o"] {
		for _, it := range option.Parse(text, "") {
			keys.Set(it.Key, it.Value)
		}
	}
	return keys
}
