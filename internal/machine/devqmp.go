package machine

import "govmd/internal/qmp"

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
			return balloonInfo{}, qmp.DeviceNotActive("balloon")
		}),
		qmp.New("balloon", func(*qmp.Context, *balloonArgs) (qmp.None, error) {
			return qmp.None{}, qmp.DeviceNotActive("balloon")
		}),
		qmp.New("query-vm-generation-id", func(*qmp.Context, *qmp.None) (generationID, error) {
			return generationID{}, qmp.Errorf("VM Generation ID device not found")
		}),
	}
}
