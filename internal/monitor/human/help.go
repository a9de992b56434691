package human

import (
	"io"
	"strings"

	"govmd/internal/qmp"
)

// help explains what args name, or lists all commands.
func (m *Monitor) help(args []string, out io.Writer) {
	in, prefix := m.cfg.Commands, ""
	for i, word := range args {
		cmd := in.Lookup(word)
		if cmd == nil {
			say(out, "unknown command: '%s'\n", strings.Join(args[:i+1], " "))
			return
		}
		if cmd.Sub == nil || i+1 == len(args) && len(cmd.Sub.All()) == 0 {
			helpLine(out, prefix, cmd)
			return
		}
		in, prefix = cmd.Sub, prefix+word+" "
	}
	for _, cmd := range in.All() {
		helpLine(out, prefix, cmd)
	}
}

func helpLine(out io.Writer, prefix string, cmd *qmp.HumanCommand) {
	say(out, "%s%s %s -- %s\n", prefix, cmd.Name, cmd.Params, cmd.Help)
}

// commands are the monitor's own.
func (m *Monitor) commands() []qmp.HumanCommand {
	info := &qmp.HumanRegistry{}
	info.Add(
		qmp.HumanCommand{
			Name: "history", Help: "show the command line history", NoLane: true,
			Run: func(ctx *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
				if s, ok := ctx.Session.(qmp.HumanSession); ok {
					for i, line := range s.History() {
						say(out, "%d: '%s'\n", i, line)
					}
				}
				return nil
			},
		},
		qmp.HumanCommand{
			Name: "version", Help: "show the version of govmd", NoLane: true,
			Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
				say(out, "%s\n", m.cfg.Version)
				return nil
			},
		},
	)
	return []qmp.HumanCommand{
		{
			Name: "help|?", Args: "name:S?", Params: "[cmd]", Help: "show the help", NoLane: true,
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				m.help(words(a.Str("name")), out)
				return nil
			},
		},
		{
			Name: "info", Params: "[subcommand]", Help: "show various information about the system state",
			Sub: info, NoLane: true,
			Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
				m.help([]string{"info"}, out)
				return nil
			},
		},
		{
			Name: "print|p", Args: "fmt:/,val:l", Params: "/fmt expr",
			Help: "print expression value (use $reg for CPU register access)", NoLane: true, Run: printValue,
		},
		{
			Name: "cpu", Args: "index:i", Params: "index", Help: "set the default CPU", NoLane: true,
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				i := a.Int("index", 0)
				s, ok := ctx.Session.(qmp.HumanSession)
				if !ok || m.cfg.CPUs == nil || i < 0 || i >= int64(m.cfg.CPUs()) {
					say(out, "invalid CPU index\n")
					return nil
				}
				s.SetCPU(int(i))
				return nil
			},
		},
	}
}

// AddInfo adds second words of `info`.
func (m *Monitor) AddInfo(commands ...qmp.HumanCommand) {
	m.cfg.Commands.Lookup("info").Sub.Add(commands...)
}

// printValue is `print`.
func printValue(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
	say(out, "%s\n", a.Format().Value(uint64(a.Int("val", 0))))
	return nil
}
