package ctl

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are what is set by words that begin with a dash. They may stand
// anywhere before "--".
type options struct {
	json, help, version bool
	timeout             time.Duration // 0 for none
	wait                time.Duration
	force, follow       bool
	chardev, escape     string
	history             string
	all, given          []string // as given; and those of them that belong to a verb
}

// answerTime is how long a machine may take to answer unless told otherwise.
const answerTime = 30 * time.Second

type optionDef struct {
	name, arg string // arg is "" for an option without one
	verb      bool   // belongs to single verbs
	set       func(o *options, arg string) error
}

var optionDefs = []optionDef{
	{"--json", "", false, func(o *options, _ string) error { o.json = true; return nil }},
	{"--timeout", "SECONDS", false, func(o *options, s string) (err error) { o.timeout, err = seconds(s); return }},
	{"--help", "", false, func(o *options, _ string) error { o.help = true; return nil }},
	{"--version", "", false, func(o *options, _ string) error { o.version = true; return nil }},
	{"--wait", "SECONDS", true, func(o *options, s string) (err error) { o.wait, err = seconds(s); return }},
	{"--force", "", true, func(o *options, _ string) error { o.force = true; return nil }},
	{"--follow", "", true, func(o *options, _ string) error { o.follow = true; return nil }},
	{"--chardev", "ID", true, func(o *options, s string) error { o.chardev = s; return nil }},
	{"--escape", "KEY", true, func(o *options, s string) error { o.escape = s; return nil }},
	{"--history", "FILE", true, func(o *options, s string) error { o.history = s; return nil }},
}

// seconds reads a time limit.
func seconds(s string) (time.Duration, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0 && n <= 1e9) {
		return 0, fail(Usage, "'%s' is no number of seconds", s)
	}
	return time.Duration(n * float64(time.Second)), nil
}

// parseOptions takes the options out of the arguments.
func (p *program) parseOptions(args []string) (words []string, err error) {
	p.opts = options{timeout: answerTime, escape: "^]"}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if word == "--" {
			return append(words, args...), nil
		}
		if !strings.HasPrefix(word, "-") || word == "-" {
			words = append(words, word)
			continue
		}
		name, value, hasValue := strings.Cut(word, "=")
		if name == "-h" {
			name = "--help"
		}
		i := slices.IndexFunc(optionDefs, func(d optionDef) bool { return d.name == name })
		if i < 0 {
			return nil, fail(Usage, "unknown option '%s'; --help lists those that there are", name)
		}
		def := &optionDefs[i]
		switch {
		case def.arg == "" && hasValue:
			return nil, fail(Usage, "%s takes no value", name)
		case def.arg != "" && !hasValue && len(args) == 0:
			return nil, fail(Usage, "%s requires an argument: %s", name, def.arg)
		case def.arg != "" && !hasValue:
			value, args = args[0], args[1:]
		}
		if err := def.set(&p.opts, value); err != nil {
			return nil, err
		}
		p.opts.all = append(p.opts.all, name)
		if def.verb {
			p.opts.given = append(p.opts.given, name)
		}
	}
	return words, nil
}

// check refuses options that are another verb's.
func (o *options) check(verb string, takes []string) error {
	for _, name := range o.given {
		if !slices.Contains(takes, name) {
			return fail(Usage, "%s does not go with %s", name, verb)
		}
	}
	return nil
}
