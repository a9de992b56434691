package machine

import (
	"io"

	"govmd/internal/qmp"
)

var (
	errNoBalloon      = qmp.DeviceNotActive("balloon")
	errNoGenerationID = qmp.Errorf("VM Generation ID device not found")
)

type balloonInfo struct {
	Actual int64 `qmp:"actual"`
}

type balloonArgs struct {
	Value int64 `qmp:"value"`
}

type generationID struct {
	GUID string `qmp:"guid"`
}

// absentCommands are the commands to kinds of devices that no board here has:
// clients are told so in the words and with the class that they act upon.
func absentCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-balloon", func(*qmp.Context, *qmp.None) (balloonInfo, error) {
			return balloonInfo{}, errNoBalloon
		}),
		qmp.New("balloon", func(*qmp.Context, *balloonArgs) (qmp.None, error) {
			return qmp.None{}, errNoBalloon
		}),
		qmp.New("query-vm-generation-id", func(*qmp.Context, *qmp.None) (generationID, error) {
			return generationID{}, errNoGenerationID
		}),
	}
}

func absentHumanCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "balloon", Args: "value:M", Params: "target", Help: "request VM to change its memory allocation (in MB)", Run: noBalloon,
	}}
}

func noBalloon(*qmp.Context, qmp.HumanArgs, io.Writer) error { return errNoBalloon }
