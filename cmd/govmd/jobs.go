package main

import (
	"slices"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/block/blockjob/backup"
	"govmd/internal/block/blockjob/commit"
	"govmd/internal/block/blockjob/create"
	"govmd/internal/block/blockjob/mirror"
	"govmd/internal/block/blockjob/stream"
	"govmd/internal/job"
	"govmd/internal/qmp"
)

// makeJobs makes what holds the jobs. They are ended before the machine is.
func (v *vm) makeJobs(g *block.Graph) *blockjob.Manager {
	v.jobs = job.NewManager(v.lane, &v.bus)
	v.blockJobs = blockjob.NewManager(g, v.jobs)
	return v.blockJobs
}

// jobCommands are the commands that make jobs and those that steer them.
func (v *vm) jobCommands() []qmp.Command {
	return slices.Concat(v.jobs.Commands(), v.blockJobs.Commands(), stream.Commands(v.control), commit.Commands(v.control),
		backup.Commands(v.control), mirror.Commands(v.control), create.Commands(v.control.Graph(), v.jobs))
}

// jobHumanCommands are the human monitor's commands about jobs.
func (v *vm) jobHumanCommands() []qmp.HumanCommand {
	return slices.Concat(v.blockJobs.HumanCommands(), stream.HumanCommands(v.control), commit.HumanCommands(v.control),
		backup.HumanCommands(v.control), mirror.HumanCommands(v.control))
}

// closeJobs cancels all jobs and waits for their workers. On the lane.
func (v *vm) closeJobs() {
	if v.blockJobs != nil {
		v.blockJobs.Close()
	}
}
