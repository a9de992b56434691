package export

import (
	"govmd/internal/qmp"
)

// Options say what to export, and how: BlockExportOptions of the protocol.
type Options struct {
	Type          string  `qmp:"type"`
	ID            string  `qmp:"id"`
	FixedIOThread *bool   `qmp:"fixed-iothread"`
	IOThread      *string `qmp:"iothread"`
	NodeName      string  `qmp:"node-name"`
	Writable      *bool   `qmp:"writable"`
	Writethrough  *bool   `qmp:"writethrough"`
	Branch        any     `qmp:",branch"`
}

var types = qmp.NewUnion("BlockExportOptions", "type")

// QMPUnion implements qmp.Unioner.
func (Options) QMPUnion() *qmp.Union { return types }

func init() {
	for _, name := range []string{"fuse", "vduse-blk", "vhost-user-blk"} {
		types.Refuse(name, "exports of this type are not supported")
	}
}

// AddType makes a type of exports known, with the options T as its branch. It is
// called from init; Set.Handle makes the type available.
func AddType[T any](name string) { qmp.AddBranch[T](types, name) }

// typeName is the name of a type of exports.
type typeName string

// EnumValues implements qmp.Enum.
func (typeName) EnumValues() []string { return types.Values() }

type info struct {
	ID           string   `qmp:"id"`
	Type         typeName `qmp:"type"`
	NodeName     string   `qmp:"node-name"`
	ShuttingDown bool     `qmp:"shutting-down"`
}

func (s *Set) add(_ *qmp.Context, o *Options) (none qmp.None, err error) {
	_, err = s.Add(o)
	return none, err
}

type delArgs struct {
	ID   string `qmp:"id"`
	Mode *Mode  `qmp:"mode"`
}

// Del is what block-export-del and commands like it do.
func (s *Set) Del(id string, mode *Mode) error {
	e := s.Find(id)
	if e == nil {
		return qmp.Errorf("Export '%s' is not found", id)
	}
	m := Safe
	if mode != nil {
		m = *mode
	}
	return s.Remove(e, m)
}

func (s *Set) del(_ *qmp.Context, a *delArgs) (none qmp.None, err error) {
	return none, s.Del(a.ID, a.Mode)
}

func (s *Set) query(*qmp.Context, *qmp.None) ([]info, error) {
	list := []info{}
	for _, e := range s.list {
		list = append(list, info{e.ID, typeName(e.Type), e.Node().Name(), e.stopping})
	}
	return list, nil
}

// Commands returns the commands about exports of all types.
func (s *Set) Commands() []qmp.Command {
	return []qmp.Command{
		qmp.New("block-export-add", s.add),
		qmp.New("block-export-del", s.del),
		qmp.New("query-block-exports", s.query),
	}
}
