package qmp

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// HumanCommand is a command of the human monitor. A subsystem has those that are
// about it in its hmp.go, in what HumanCommands returns and, for the second words
// of `info`, InfoCommands; cmd/govmd adds them to the registries.
type HumanCommand struct {
	// Name, with further names after bars: "print|p".
	Name string
	// Args describes the arguments as comma-separated NAME:TYPE. Types are
	//
	//	s, B, F   a word, in quotation marks if it is to hold blanks: any, of a
	//	          block device, of a file
	//	S         the rest of the line
	//	O         option text: a word that may be missing
	//	l, i      an expression; i has to fit into 32 bits
	//	M         an expression, in MiB
	//	o         a size in MiB, or with a suffix
	//	T         a time in seconds, or with the suffix ms, us or ns
	//	b         on or off
	//	/         a format: "/4xw". Its arguments are called count, format and size
	//	-f        a flag; -fs one that a word follows
	//
	// each with a "?" after it when it is optional, a "." when a dot introduces it
	// and it is missing without.
	Args   string
	Params string // how the arguments are shown in help: "[-f] device"
	Help   string // what it does, without a full stop
	// Sub holds the second words of a command such as "info".
	Sub *HumanRegistry
	// Complete returns what the last of words, of which the first is the command,
	// can be completed to, and may return more: what does not begin like it is
	// left out. When it is nil, arguments of types B and F are completed all the
	// same. It runs on the control lane and must not wait.
	Complete func(ctx *Context, words []string) []string
	// Run carries the command out and writes what it has to say to out; an error
	// is shown after that. It runs on the control lane and must not wait, or with
	// NoLane on a goroutine where it may: the monitor that issued the command
	// waits, and no other. Then it should end when ctx is done, which means that
	// the user has lost patience, and when writing to out fails.
	Run    func(ctx *Context, args HumanArgs, out io.Writer) error
	NoLane bool
}

// ErrSessionEnds is what a human command returns that has ended the program, or
// otherwise leaves nobody to ask for the next command.
var ErrSessionEnds = errors.New("the session ends")

// HumanSession is the Session of a command of the human monitor.
type HumanSession interface {
	Session
	// CPU is the index of the vCPU that commands are about if they are about one.
	CPU() int
	SetCPU(index int)
	// History returns the lines that were entered, oldest first.
	History() []string
}

// CPU returns the index of the vCPU that a human command is about.
func (c *Context) CPU() int {
	if s, ok := c.Session.(HumanSession); ok {
		return s.CPU()
	}
	return 0
}

// HumanArgs are the arguments of a human command, by name: string, int64, bool,
// uint64 (sizes) or float64 (times). One that was not given is missing.
type HumanArgs map[string]any

// Has reports whether an argument was given.
func (a HumanArgs) Has(name string) bool {
	_, ok := a[name]
	return ok
}

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

// Size returns a size in bytes, or def.
func (a HumanArgs) Size(name string, def uint64) uint64 {
	if n, ok := a[name].(uint64); ok {
		return n
	}
	return def
}

// Seconds returns a time, or def.
func (a HumanArgs) Seconds(name string, def float64) float64 {
	if n, ok := a[name].(float64); ok {
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
		for _, name := range c.Names() {
			if _, dup := r.byName[name]; dup || name == "" {
				panic(fmt.Sprintf("qmp: human command %q is registered twice", name))
			}
			r.byName[name] = &c
		}
		r.all = append(r.all, &c)
	}
	slices.SortFunc(r.all, func(a, b *HumanCommand) int { return strings.Compare(a.Name, b.Name) })
}

// Names returns all names of the command.
func (c *HumanCommand) Names() []string { return strings.Split(c.Name, "|") }

// Lookup returns the command of that name, or nil.
func (r *HumanRegistry) Lookup(name string) *HumanCommand { return r.byName[name] }

// All returns the commands in the order of their names.
func (r *HumanRegistry) All() []*HumanCommand { return r.all }

// Names returns all names of all commands, sorted.
func (r *HumanRegistry) Names() []string { return sortedKeys(r.byName) }
