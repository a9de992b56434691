// Package create has the job of blockdev-create, which makes an image.
package create

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/job"
	"govmd/internal/qmp"
)

type args struct {
	JobID   string              `qmp:"job-id"`
	Options block.CreateOptions `qmp:"options"`
}

// creation is the job.
type creation struct {
	graph   *block.Graph
	typ     *block.Type
	options *block.CreateOptions
	made    func() error // what has come of it, if it has been done on the lane; else nil
}

// Type implements job.Driver.
func (*creation) Type() job.Type { return job.TypeCreate }

// Run implements job.Driver.
func (c *creation) Run(ctx context.Context, j *job.Job) error {
	j.SetRemaining(1)
	var err error
	if c.made != nil {
		err = c.made()
	} else {
		err = c.make(ctx)
	}
	j.Advance(1)
	return err
}

func (c *creation) make(ctx context.Context) error {
	return c.typ.Create(ctx, c.graph, c.options.Branch)
}

// start is blockdev-create. The job stays until it is dismissed.
func start(ctx context.Context, g *block.Graph, jobs *job.Manager, a *args) error {
	c := &creation{graph: g, typ: block.TypeOf(a.Options.Driver), options: &a.Options}
	if c.typ == nil || c.typ.Create == nil {
		return qmp.Errorf("Driver does not support blockdev-create")
	}
	j, err := jobs.New(c, job.Options{ID: a.JobID, ManualDismiss: true})
	if err != nil {
		return err
	}
	if a.Options.RefersToNodes() {
		// What others use, too, is used on the lane alone. It is a header and tables
		// that are written, mostly: the space has been made with the file.
		err := c.make(ctx)
		c.made = func() error { return err }
	}
	j.Start()
	return nil
}

// Commands returns the command that makes images.
func Commands(g *block.Graph, jobs *job.Manager) []qmp.Command {
	return []qmp.Command{
		qmp.New("blockdev-create", func(ctx *qmp.Context, a *args) (none qmp.None, err error) {
			return none, start(ctx, g, jobs, a)
		}),
	}
}
