package commit

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/block/blockjob/mirror"
	"govmd/internal/job"
	"govmd/internal/qmp"
)

// startActive begins a job for a top that is written to: base is made like it, and
// takes its place when the client says so. The job is named for the device.
func startActive(ctx context.Context, device, top, base *block.Node, a *args) error {
	if a.BackingFile != nil {
		if top.SkipFilters() == device.SkipFilters() {
			return qmp.Errorf("'backing-file' specified, but 'top' is the active layer")
		}
		return qmp.Errorf("'backing-file' specified, but 'top' has a writer on it")
	}
	o := a.options(0)
	if o.ID == nil {
		name := device.DeviceName()
		o.ID = &name
	}
	return mirror.Start(ctx, a.jobs, mirror.Config{
		Options: o, Type: job.TypeCommit, Source: top, Target: base, Base: base,
		OnSource: a.policy(), OnData: a.policy(), FilterName: a.FilterName,
	})
}
