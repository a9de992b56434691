package ctl

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// program is one run of govmctl.
type program struct {
	name           string // what it is called in messages
	version        string
	stdin          *os.File
	stdout, stderr io.Writer
	getenv         func(string) string
	opts           options
}

// Main does what the arguments, without the program's name, ask for and returns
// the exit status.
func Main(name, version string, args []string) int {
	p := &program{
		name: name, version: version,
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv,
	}
	return p.run(args)
}

func (p *program) run(args []string) int {
	err := p.dispatch(args)
	if err != nil && err.Error() != "" {
		fmt.Fprintf(p.stderr, "%s: %s\n", p.name, clean(err.Error(), false))
	}
	return exitStatus(err)
}

func (p *program) dispatch(args []string) error {
	if len(args) > 0 && args[0] == "--complete" {
		return p.printCompletions(args[1:])
	}
	words, err := p.parseOptions(args)
	if err != nil {
		return err
	}
	switch {
	case p.opts.help:
		return p.print(usage)
	case p.opts.version:
		return p.print("govmctl version " + p.version + "\n")
	case len(words) == 1 && words[0] == "list":
		return p.print(strings.Join(append(p.machines(), ""), "\n"))
	case len(words) == 0:
		return fail(Usage, "which machine? --help says how this is used")
	case len(words) == 1:
		return fail(Usage, "what is '%s' to do? --help says what there is", words[0])
	}
	path, err := p.resolve(words[0])
	if err != nil {
		return err
	}
	if v := findVerb(words[1]); v != nil {
		if err := p.opts.check(v.name, v.options); err != nil {
			return err
		}
		if len(words) > 2 && !v.args {
			return fail(Usage, "%s takes no argument '%s'", v.name, words[2])
		}
		return v.run(p, path, words[2:])
	}
	if err := p.opts.check(words[1], nil); err != nil {
		return err
	}
	return p.command(path, words[1], words[2:])
}

func (p *program) print(text string) error {
	if _, err := io.WriteString(p.stdout, text); err != nil {
		return fail(Refused, "writing the output: %w", err)
	}
	return nil
}

// dial connects to a machine; what is then asked of it is answered before the time
// limit.
func (p *program) dial(path string) (*Client, error) { return Dial(path, p.deadline()) }

func (p *program) deadline() time.Time {
	if p.opts.timeout == 0 {
		return time.Time{}
	}
	return time.Now().Add(p.opts.timeout)
}

// verb is a command that is more than one QMP command, or has a better name than it.
// What it does is said in usage.
type verb struct {
	name    string
	options []string // those that it takes beside --json and --timeout
	args    bool
	run     func(p *program, path string, args []string) error
}

var verbs []verb

func init() {
	verbs = []verb{
		{"status", nil, false, (*program).status},
		{"stop", nil, false, simple("stop")},
		{"cont", nil, false, simple("cont")},
		{"powerdown", []string{"--wait", "--force"}, false, (*program).powerdown},
		{"reset", nil, false, simple("system_reset")},
		{"quit", nil, false, (*program).quit},
		{"events", []string{"--follow"}, true, (*program).showEvents},
		{"console", []string{"--chardev", "--escape", "--history"}, false, (*program).console},
		{"help", nil, true, (*program).describe},
	}
}

func findVerb(name string) *verb {
	for i := range verbs {
		if verbs[i].name == name {
			return &verbs[i]
		}
	}
	return nil
}

// simple is a verb that stands for a QMP command without arguments.
func simple(command string) func(*program, string, []string) error {
	return func(p *program, path string, _ []string) error { return p.command(path, command, nil) }
}

// command runs a QMP command and shows its result.
func (p *program) command(path, name string, args []string) error {
	c, err := p.dial(path)
	if err != nil {
		return err
	}
	defer c.Close()
	text, err := c.arguments(name, args)
	if err != nil {
		return err
	}
	result, err := c.Execute(name, text)
	if err != nil {
		return c.hint(name, err)
	}
	if p.opts.json {
		return p.print(string(result.Append(nil)) + "\n")
	}
	return p.print(render(result))
}

// schema asks for the schema; it is nil where there is none to be had.
func (c *Client) schema() (*schema, error) {
	list, err := c.Execute("query-qmp-schema", nil)
	var refused *CommandError
	if errors.As(err, &refused) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return readSchema(list), nil
}
