package fd

import (
	"golang.org/x/sys/unix"

	"govmd/internal/qmp"
)

type nameArgs struct {
	Name string `qmp:"fdname"`
}

type addArgs struct {
	Set    *int64  `qmp:"fdset-id"`
	Opaque *string `qmp:"opaque"`
}

type addResult struct {
	Set int64 `qmp:"fdset-id"`
	FD  int64 `qmp:"fd"`
}

type removeArgs struct {
	Set int64  `qmp:"fdset-id"`
	FD  *int64 `qmp:"fd"`
}

// Commands returns the commands about descriptors.
func (t *Table) Commands() []qmp.Command {
	return []qmp.Command{
		qmp.New("getfd", t.getfd),
		qmp.New("closefd", t.closefd),
		qmp.New("add-fd", func(ctx *qmp.Context, a *addArgs) (addResult, error) {
			fd, err := ctx.TakeFD()
			if err != nil {
				return addResult{}, err
			}
			set, err := t.Add(a.Set, fd, a.Opaque)
			return addResult{set, int64(fd)}, err
		}),
		qmp.New("remove-fd", func(_ *qmp.Context, a *removeArgs) (qmp.None, error) {
			return qmp.None{}, t.Remove(a.Set, a.FD)
		}),
		qmp.New("query-fdsets", func(*qmp.Context, *qmp.None) ([]Set, error) { return t.Sets(), nil }),
	}
}

func (t *Table) getfd(ctx *qmp.Context, a *nameArgs) (none qmp.None, err error) {
	fd, err := ctx.TakeFD()
	if err != nil {
		return none, err
	}
	return none, t.Put(ctx.Session.SessionID(), a.Name, fd)
}

func (t *Table) closefd(ctx *qmp.Context, a *nameArgs) (none qmp.None, err error) {
	fd, err := t.TakeFor(ctx, a.Name)
	if err != nil {
		return none, err
	}
	return none, unix.Close(fd)
}

// TakeFor takes the descriptor of that name from the session that issued a
// command; see Take.
func (t *Table) TakeFor(ctx *qmp.Context, name string) (fd int, err error) {
	if t == nil || ctx == nil || ctx.Session == nil {
		return -1, &NotFoundError{name}
	}
	return t.Take(ctx.Session.SessionID(), name)
}
