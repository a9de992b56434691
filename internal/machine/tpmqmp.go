package machine

import (
	"io"

	"govmd/internal/qmp"
)

// tpmInfo is what query-tpm tells of a TPM. There is none yet, of no model and with
// no back end: clients that ask find that out.
type tpmInfo struct {
	ID      string     `qmp:"id"`
	Model   tpmModel   `qmp:"model"`
	Options tpmOptions `qmp:"options"`
}

type tpmModel string

// EnumValues lists the models that clients know.
func (tpmModel) EnumValues() []string { return []string{"tpm-tis", "tpm-crb", "tpm-spapr"} }

type tpmType string

// EnumValues lists the back ends that clients know.
func (tpmType) EnumValues() []string { return []string{"passthrough", "emulator"} }

type tpmOptions struct {
	Type   tpmType `qmp:"type"`
	Branch any     `qmp:",branch"`
}

var tpmBackends = qmp.NewUnion("TpmTypeOptions", "type")

// QMPUnion implements qmp.Unioner.
func (tpmOptions) QMPUnion() *qmp.Union { return tpmBackends }

type tpmPassthrough struct {
	Path       *string `qmp:"path"`
	CancelPath *string `qmp:"cancel-path"`
}

type tpmEmulator struct {
	Chardev string `qmp:"chardev"`
}

func init() {
	qmp.AddBranch[qmp.Data[tpmPassthrough]](tpmBackends, "passthrough")
	qmp.AddBranch[qmp.Data[tpmEmulator]](tpmBackends, "emulator")
}

func tpmCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-tpm", func(*qmp.Context, *qmp.None) ([]tpmInfo, error) { return []tpmInfo{}, nil }),
		qmp.New("query-tpm-models", func(*qmp.Context, *qmp.None) ([]tpmModel, error) { return []tpmModel{}, nil }),
		qmp.New("query-tpm-types", func(*qmp.Context, *qmp.None) ([]tpmType, error) { return []tpmType{}, nil }),
	}
}

// infoTPM says nothing where there is no TPM.
func infoTPM(*qmp.Context, qmp.HumanArgs, io.Writer) error { return nil }
