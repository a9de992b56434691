package control

import (
	"context"
	"slices"

	"govmd/internal/job"
	"govmd/internal/qmp"
)

// Action is one step of a transaction, made when its turn comes. Prepare does what
// can fail, and what later steps are to find done; then Commit or Abort is called,
// and Clean in the end. All but Prepare may be nil; after a Prepare that has failed
// none of them is called: it has put everything back itself.
type Action struct {
	Prepare func(ctx context.Context) error
	Commit  func()
	Abort   func()
	Clean   func()
}

// actions is the union of what a transaction can do.
var actions = qmp.NewUnion("TransactionAction", "type")

// maker is a registered kind of action.
type maker struct {
	make    func(c *Control, t *job.Txn, args any) Action
	grouped bool // may take part in completion-mode=grouped
}

var makers = map[string]maker{}

// RegisterAction adds a kind of action to what transactions can do. It is called
// from init.
func RegisterAction[A any](name string, fn func(c *Control, a *A) Action) {
	register(name, maker{make: func(c *Control, _ *job.Txn, args any) Action {
		return fn(c, &args.(*qmp.Data[A]).Data)
	}})
	qmp.AddBranch[qmp.Data[A]](actions, name)
}

// RegisterJobAction is RegisterAction for one that makes a job, which joins t: the
// transaction's, if it is grouped, or nil.
func RegisterJobAction[A any](name string, fn func(c *Control, t *job.Txn, a *A) Action) {
	register(name, maker{grouped: true, make: func(c *Control, t *job.Txn, args any) Action {
		return fn(c, t, &args.(*qmp.Data[A]).Data)
	}})
	qmp.AddBranch[qmp.Data[A]](actions, name)
}

// JobAction returns the action that makes a job, which begins when all of the
// transaction is prepared.
func JobAction(prepare func(ctx context.Context) (*job.Job, error)) Action {
	var j *job.Job
	return Action{
		Prepare: func(ctx context.Context) (err error) {
			j, err = prepare(ctx)
			return err
		},
		Commit: func() { j.Start() },
		Abort:  func() { j.CancelSync() },
	}
}

func register(name string, m maker) {
	if _, dup := makers[name]; dup {
		panic("control: transaction action '" + name + "' is registered twice")
	}
	makers[name] = m
}

// run carries out actions, all or none.
func run(ctx context.Context, list []Action) (err error) {
	done := 0
	for ; done < len(list); done++ {
		if err = list[done].Prepare(ctx); err != nil {
			break
		}
	}
	call := func(fn func()) {
		if fn != nil {
			fn()
		}
	}
	if err != nil {
		for _, a := range slices.Backward(list[:done]) {
			call(a.Abort)
		}
	} else {
		for _, a := range list {
			call(a.Commit)
		}
	}
	for _, a := range list[:done] {
		call(a.Clean)
	}
	return err
}

// RunOne carries out an action by itself, as its own command does.
func RunOne(ctx context.Context, a Action) error { return run(ctx, []Action{a}) }

// command makes a command of its own of an action.
func command[A any](name string, fn func(a *A) Action, more ...qmp.Option) qmp.Command {
	return qmp.New(name, func(ctx *qmp.Context, a *A) (qmp.None, error) {
		return qmp.None{}, RunOne(ctx, fn(a))
	}, more...)
}

// JobCommand makes a command of its own of an action that makes a job.
func JobCommand[A any](c *Control, name string, fn func(c *Control, t *job.Txn, a *A) Action, more ...qmp.Option) qmp.Command {
	return command(name, func(a *A) Action { return fn(c, nil, a) }, more...)
}

type transactionAction struct {
	Type   string `qmp:"type"`
	Branch any    `qmp:",branch"`
}

// QMPUnion implements qmp.Unioner.
func (transactionAction) QMPUnion() *qmp.Union { return actions }

// CompletionMode says whether the jobs of a transaction succeed or fail together.
type CompletionMode string

// EnumValues implements qmp.Enum.
func (CompletionMode) EnumValues() []string { return []string{"individual", "grouped"} }

type transactionArgs struct {
	Actions    []transactionAction `qmp:"actions"`
	Properties *struct {
		Mode *CompletionMode `qmp:"completion-mode"`
	} `qmp:"properties"`
}

func (c *Control) transaction(ctx *qmp.Context, a *transactionArgs) (none qmp.None, err error) {
	var txn *job.Txn
	if p := a.Properties; p != nil && p.Mode != nil && *p.Mode == "grouped" {
		txn = job.NewTxn()
	}
	var list []Action
	for i := range a.Actions {
		act := &a.Actions[i]
		m := makers[act.Type]
		if txn != nil && !m.grouped {
			return none, qmp.Errorf("Action '%s' does not support Transaction property completion-mode = grouped", act.Type)
		}
		list = append(list, m.make(c, txn, act.Branch))
	}
	return none, run(ctx, list)
}

type abortArgs struct{}

func (c *Control) transactionCommands() []qmp.Command {
	return []qmp.Command{qmp.New("transaction", c.transaction)}
}

func init() {
	RegisterAction("abort", func(*Control, *abortArgs) Action {
		return Action{Prepare: func(context.Context) error {
			return qmp.Errorf("Transaction aborted using Abort action")
		}}
	})
}
