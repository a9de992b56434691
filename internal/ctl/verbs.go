package ctl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"govmd/internal/option"
)

// status shows the run state. The exit status tells a guest that runs from one
// that does not.
func (p *program) status(path string, _ []string) error {
	c, err := p.dial(path)
	if err != nil {
		return err
	}
	defer c.Close()
	result, err := c.Execute("query-status", nil)
	if err != nil {
		return err
	}
	text := clean(result.Get("status").Text(), false)
	if p.opts.json {
		text = string(result.Append(nil))
	}
	if err := p.print(text + "\n"); err != nil {
		return err
	}
	if !result.Get("running").Bool() {
		return &Error{Kind: NotRunning}
	}
	return nil
}

// powerdown presses the power button. With --wait it waits until the guest has
// powered off, and with --force ends the machine of a guest that did not.
func (p *program) powerdown(path string, _ []string) error {
	if p.opts.force && !slices.Contains(p.opts.given, "--wait") {
		return fail(Usage, "--force comes after a time: it goes with --wait")
	}
	c, err := p.dial(path)
	if err != nil {
		return err
	}
	defer c.Close()
	if p.opts.force {
		deaf, err := c.deaf()
		if err != nil {
			return err
		}
		if deaf {
			return p.quitBy(c)
		}
	}
	if _, err := c.Execute("system_powerdown", nil); err != nil || p.opts.wait == 0 && !p.opts.force {
		return err
	}
	c.SetDeadline(time.Now().Add(p.opts.wait))
	err = c.awaitOff()
	var e *Error
	if !errors.As(err, &e) || e.Kind != TimedOut {
		return err
	}
	if !p.opts.force {
		return fail(TimedOut, "the guest has not powered off in %v", p.opts.wait)
	}
	fmt.Fprintf(p.stderr, "%s: the guest has not powered off in %v: ending the machine\n", p.name, p.opts.wait)
	return p.quitBy(c)
}

// deaf reports whether the guest cannot hear the power button.
func (c *Client) deaf() (bool, error) {
	result, err := c.Execute("query-status", nil)
	return err == nil && !result.Get("running").Bool() && result.Get("status").Text() != "suspended", err
}

// awaitOff waits until the machine has ended, or has been powered off and waits
// (-no-shutdown).
func (c *Client) awaitOff() error {
	off := false
	for {
		e, err := c.Event()
		switch {
		case errors.Is(err, errEnded):
			return nil
		case err != nil:
			return err
		case e.Name == "SHUTDOWN":
			off = true
		case e.Name == "STOP" && off:
			return nil
		}
	}
}

// quit ends the machine, and itself when that is done.
func (p *program) quit(path string, _ []string) error {
	c, err := p.dial(path)
	if err != nil {
		return err
	}
	defer c.Close()
	return p.quitBy(c)
}

func (p *program) quitBy(c *Client) error {
	c.SetDeadline(p.deadline())
	if _, err := c.Execute("quit", nil); err != nil && !errors.Is(err, errEnded) {
		return err
	}
	for {
		if _, err := c.Event(); errors.Is(err, errEnded) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// showEvents shows one event, or with --follow all until the machine ends.
func (p *program) showEvents(path string, names []string) error {
	c, err := p.dial(eventsPath(path))
	if err != nil {
		return err
	}
	defer c.Close()
	if len(names) > 0 {
		s, err := c.schema()
		if err != nil {
			return err
		}
		for _, name := range names {
			if s != nil && s.events[name] == nil {
				return fail(Usage, "there is no event '%s'%s", name, option.DidYouMean(name, sortedKeys(s.events)))
			}
		}
	}
	if p.opts.follow && !slices.Contains(p.opts.all, "--timeout") {
		c.SetDeadline(time.Time{})
	}
	for {
		e, err := c.Event()
		if p.opts.follow && errors.Is(err, errEnded) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(names) > 0 && !slices.Contains(names, e.Name) {
			continue
		}
		if err := p.print(p.eventText(e)); err != nil || !p.opts.follow {
			return err
		}
	}
}

func (p *program) eventText(e Event) string {
	if p.opts.json {
		return string(e.Raw.Append(nil)) + "\n"
	}
	text := clean(e.Name, false)
	if !e.Time.IsZero() {
		text = e.Time.Format("2006-01-02T15:04:05.000000Z07:00") + " " + text
	}
	if data := flatten(e.Data); data != "" {
		text += " " + data
	}
	return text + "\n"
}

// arguments turns key=value words, or one that is a JSON object, into the
// arguments of a command.
func (c *Client) arguments(command string, args []string) ([]byte, error) {
	if len(args) == 0 {
		return nil, nil
	}
	if len(args) == 1 && strings.HasPrefix(args[0], "{") {
		text, err := appendJSON(nil, args[0], "arguments")
		if err != nil {
			return nil, &Error{Usage, err}
		}
		return text, nil
	}
	root, err := parseArgs(args)
	if err != nil {
		return nil, err
	}
	s, err := c.schema()
	if err != nil {
		return nil, err
	}
	typ := ""
	if s != nil && s.commands[command] != nil {
		typ = s.commands[command].arg
	}
	text, err := encoder{s}.appendObject(nil, root, s.typ(typ), "")
	if err != nil {
		return nil, &Error{Usage, fmt.Errorf("%s: %w", command, err)}
	}
	return text, nil
}

// hint adds to the refusal of an unknown command which one may have been meant.
func (c *Client) hint(command string, err error) error {
	var refused *CommandError
	if !errors.As(err, &refused) || refused.Class != "CommandNotFound" {
		return err
	}
	s, e := c.schema()
	if e != nil || s == nil || s.commands[command] != nil {
		return err
	}
	return &Error{Refused, fmt.Errorf("%w%s", refused, option.DidYouMean(command, slices.Concat(sortedKeys(s.commands), verbNames())))}
}

func verbNames() []string {
	var names []string
	for _, v := range verbs {
		names = append(names, v.name)
	}
	return names
}

// describe lists commands, or what a command takes and gives.
func (p *program) describe(path string, args []string) error {
	if len(args) > 1 {
		return fail(Usage, "help takes one command")
	}
	c, err := p.dial(path)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.schema()
	if err != nil {
		return err
	}
	if s == nil {
		return fail(Refused, "the machine does not describe its commands")
	}
	if len(args) == 0 {
		return p.print(join(sortedKeys(s.commands), "\n") + "\n")
	}
	command := s.commands[args[0]]
	if command == nil {
		return fail(Refused, "there is no command '%s'%s", args[0], option.DidYouMean(args[0], sortedKeys(s.commands)))
	}
	return p.print(s.help(args[0], command))
}

// help returns what there is to know about a command.
func (s *schema) help(name string, command *entity) string {
	var b strings.Builder
	fmt.Fprintln(&b, clean(name, false))
	line := func(m member, indent string) {
		note := ""
		if m.optional {
			note = " (optional)"
		}
		fmt.Fprintf(&b, "%s%s=%s%s\n", indent, clean(m.name, false), s.describe(m.typ), note)
	}
	arg := s.typ(command.arg)
	for _, m := range arg.members {
		line(m, "  ")
	}
	for _, v := range arg.variants {
		members := s.typ(v.typ).members
		if len(members) == 0 {
			continue
		}
		fmt.Fprintf(&b, "  with %s=%s:\n", clean(arg.tag, false), clean(v.value, false))
		for _, m := range members {
			line(m, "    ")
		}
	}
	if ret := s.typ(command.ret); ret.meta != "object" || len(ret.members) > 0 {
		fmt.Fprintf(&b, "returns %s\n", s.returns(command.ret, maxNesting))
	}
	return b.String()
}

// returns describes the type of a result.
func (s *schema) returns(typ string, depth int) string {
	t := s.typ(typ)
	switch {
	case t.meta == "array" && depth > 0:
		return "a list of " + s.returns(t.element, depth-1)
	case t.meta == "object":
		var names []string
		for _, m := range t.members {
			names = append(names, m.name)
		}
		return "an object: " + join(names, ", ")
	}
	return s.describe(typ)
}
