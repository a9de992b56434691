package tracectl

import (
	"fmt"
	"io"

	"govmd/internal/qmp"
	"govmd/internal/trace"
)

// HumanCommands returns the human monitor's commands about trace points.
func (c Control) HumanCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "trace-event", Args: "name:s,option:b,vcpu:i?", Params: "name on|off [vcpu]",
		Help:     "changes status of a specific trace event (vcpu: vCPU to set, default is all)",
		Complete: complete,
		Run: func(_ *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
			return c.set(a.Str("name"), a.Bool("option"), vcpuArg(a))
		},
	}}
}

// InfoCommands returns the second words of `info` about trace points.
func (c Control) InfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "trace-events", Args: "name:s?,vcpu:i?", Params: "[name] [vcpu]",
		Help:     "show available trace-events & their state (name: event name pattern; vcpu: vCPU to query, default is any)",
		Complete: complete,
		Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
			args := getArgs{Name: a.Str("name"), VCPU: vcpuArg(a)}
			if args.Name == "" {
				args.Name = "*"
			}
			list, err := c.get(&args)
			if err != nil {
				return err
			}
			for _, e := range list {
				on := 0
				if e.State == "enabled" {
					on = 1
				}
				if _, err := fmt.Fprintf(out, "%s : state %d\n", e.Name, on); err != nil {
					return err
				}
			}
			return nil
		},
	}}
}

func vcpuArg(a qmp.HumanArgs) *int64 {
	if !a.Has("vcpu") {
		return nil
	}
	n := a.Int("vcpu", 0)
	return &n
}

// complete offers names, and then what they can be set to.
func complete(_ *qmp.Context, words []string) []string {
	switch len(words) {
	case 2:
		var names []string
		for _, p := range trace.Matching(words[1] + "*") {
			names = append(names, p.Name())
		}
		return names
	case 3:
		if words[0] == "trace-event" {
			return []string{"on", "off"}
		}
	}
	return nil
}
