package qmp

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// HumanCommand is a command of the human monitor.
type HumanCommand struct {
	// Name, with further names after bars: "print|p".
	Name string
	// Args describes the arguments as QEMU does: comma-separated NAME:TYPE with
	// types such as s (word), S (rest of the line), B (block device), F (file),
	// i, l (integers), o (size), b (on or off), -f (flag), a "?" after what is
	// optional.
	Args   string
	Params string // how the arguments are shown in help: "[-f] device"
	Help   string // one line
	// Sub holds the second words of a command such as "info".
	Sub *HumanRegistry
	// Complete returns what the last of words can be completed to; nil when
	// nothing is known.
	Complete func(ctx *Context, words []string) []string
	// Run carries the command out, on the control lane unless NoLane, and writes
	// what it has to say to out.
	Run    func(ctx *Context, args HumanArgs, out io.Writer) error
	NoLane bool
}

// HumanArgs are the arguments of a human command, by name: string, int64, bool
// or uint64 (sizes). One that was not given is missing.
type HumanArgs map[string]any

// Str returns a string argument; "" when it was not given.
func (a HumanArgs) Str(name string) string {
	s, _ := a[name].(string)
	return s
}

// Int returns an integer argument, or def.
func (a HumanArgs) Int(name string, def int64) int64 {
	if n, ok := a[name].(int64); ok {
		return n
	}
	return def
}

// Bool reports whether a flag was given or a switch is on.
func (a HumanArgs) Bool(name string) bool {
	b, _ := a[name].(bool)
	return b
}

// HumanRegistry holds human commands. It is filled before monitors use it.
type HumanRegistry struct {
	byName map[string]*HumanCommand
	all    []*HumanCommand
}

// Add adds commands. It panics when a name is taken.
func (r *HumanRegistry) Add(commands ...HumanCommand) {
	if r.byName == nil {
		r.byName = make(map[string]*HumanCommand)
	}
	for i := range commands {
		c := commands[i]
		for _, name := range strings.Split(c.Name, "|") {
			if _, dup := r.byName[name]; dup || name == "" {
				panic(fmt.Sprintf("qmp: human command %q is registered twice", name))
			}
			r.byName[name] = &c
		}
		r.all = append(r.all, &c)
	}
	slices.SortFunc(r.all, func(a, b *HumanCommand) int { return strings.Compare(a.Name, b.Name) })
}

// Lookup returns the command of that name, or nil.
func (r *HumanRegistry) Lookup(name string) *HumanCommand { return r.byName[name] }

// All returns the commands in the order of their names.
func (r *HumanRegistry) All() []*HumanCommand { return r.all }
