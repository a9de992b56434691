// Package img is "govmd img": the image tool, with qemu-img's commands, options and
// output.
package img

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"govmd/internal/block"
	_ "govmd/internal/block/drivers" // the formats and protocols that there are
	_ "govmd/internal/crypto"        // objects for --object
	"govmd/internal/object"
)

// command is one of the tool's commands.
type command struct {
	name, usage, help string
	options           string   // short ones, as getopt has them: "f:q"
	long              []string // long ones, with "=" after those that take a value
	run               func(t *tool) (code int, err error)
}

// commands is filled by init functions beside what they are.
var commands []command

// tool is one run of the tool.
type tool struct {
	opts     options
	out      io.Writer
	errs     io.Writer
	progress *progress
	objects  object.Collection
	graph    *block.Graph
}

// Main runs the tool and returns its exit status. name is what the user calls it.
func Main(name string, args []string, out, errs io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintf(errs, "%s: Not enough arguments\nTry '%s --help' for more information\n", name, name)
		return 1
	}
	if slices.Contains([]string{"-h", "--help", "help"}, args[0]) {
		help(name, out)
		return 0
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == args[0] })
	if i < 0 {
		fmt.Fprintf(errs, "%s: Command not found: %s\n", name, args[0])
		return 1
	}
	c := &commands[i]
	opts, err := parse(c, args[1:])
	if errors.Is(err, errHelp) {
		fmt.Fprintf(out, "usage: %s %s [--object OBJECT] %s\n%s\n", name, c.name, c.usage, c.help)
		return 0
	}
	if err != nil {
		fmt.Fprintf(errs, "%s: %s: %v\nusage: %s %s %s\n", name, c.name, err, name, c.name, c.usage)
		return 1
	}
	t := &tool{opts: opts, out: out, errs: errs}
	env := block.Env{WeakEncryption: true}
	env.UseObjects(&t.objects)
	t.graph = block.NewGraph(env)
	defer t.objects.Close()
	for _, text := range opts.values["object"] {
		if err := t.objects.Parse(text); err != nil {
			fmt.Fprintf(errs, "%s: --object %s: %v\n", name, text, err)
			return 1
		}
	}
	if opts.has("q") {
		t.out = io.Discard
	}
	t.progress = newProgress(opts.has("p") && !opts.has("q"), os.Stdout)
	code, err := c.run(t)
	t.progress.end(err == nil && code == 0)
	if err != nil {
		fmt.Fprintf(errs, "%s: %v\n", name, err)
		if code == 0 {
			code = 1
		}
	}
	return code
}

// context ends with the program: an interrupted tool is killed.
func (t *tool) context() context.Context { return context.Background() }

func help(name string, out io.Writer) {
	fmt.Fprintf(out, "usage: %s COMMAND [OPTIONS]: makes, examines and changes disk images\n\ncommands:\n", name)
	list := slices.Clone(commands)
	slices.SortFunc(list, func(a, b command) int { return strings.Compare(a.name, b.name) })
	for _, c := range list {
		fmt.Fprintf(out, "  %s %s\n      %s\n", c.name, c.usage, c.help)
	}
	fmt.Fprintf(out, "\nformats:")
	for _, n := range block.TypeNames() {
		if t := block.TypeOf(n); t.Probe != nil {
			fmt.Fprintf(out, " %s", n)
		}
	}
	fmt.Fprintln(out)
}
