package fd

import (
	"io"

	"govmd/internal/qmp"
)

// HumanCommands returns the human monitor's commands about descriptors.
func (t *Table) HumanCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "getfd", Args: "fdname:s", Params: "getfd name",
			Help: "receive a file descriptor via SCM rights and assign it a name",
			Run: func(ctx *qmp.Context, args qmp.HumanArgs, _ io.Writer) error {
				_, err := t.getfd(ctx, &nameArgs{args.Str("fdname")})
				return err
			},
		},
		{
			Name: "closefd", Args: "fdname:s", Params: "closefd name",
			Help: "close a file descriptor previously passed via SCM rights",
			Run: func(ctx *qmp.Context, args qmp.HumanArgs, _ io.Writer) error {
				_, err := t.closefd(ctx, &nameArgs{args.Str("fdname")})
				return err
			},
		},
	}
}
