package iothread

import (
	"io"

	"govmd/internal/object"
	"govmd/internal/qmp"
)

// InfoCommands returns the second words of `info` about the threads among objects.
func InfoCommands(objects *object.Collection) []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "iothreads", Help: "show iothreads",
		Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			_, err := io.WriteString(out, text(objects))
			return err
		},
	}}
}
