package blockjob

import (
	"fmt"
	"io"

	"govmd/internal/job"
	"govmd/internal/qmp"
)

// InfoCommands returns what the human monitor's "info" shows of block jobs.
func (m *Manager) InfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "block-jobs", Help: "show progress of ongoing block device operations",
		Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			list := m.Infos()
			if len(list) == 0 {
				fmt.Fprintln(out, "No active jobs")
			}
			for _, i := range list {
				what := fmt.Sprintf("Type %s, device %s", i.Type, i.Device)
				if i.Type == string(job.TypeStream) {
					what = "Streaming device " + i.Device
				}
				fmt.Fprintf(out, "%s: Completed %d of %d bytes, speed limit %d bytes/s\n", what, i.Offset, i.Len, i.Speed)
			}
			return nil
		},
	}}
}

// HumanCommands returns the human monitor's commands that steer block jobs.
func (m *Manager) HumanCommands() []qmp.HumanCommand {
	command := func(name, args, params, help string, do func(b *Base, a qmp.HumanArgs) error) qmp.HumanCommand {
		return qmp.HumanCommand{
			Name: name, Args: args, Params: params, Help: help, Complete: m.completeJob,
			Run: func(_ *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				return m.on(a.Str("device"), func(b *Base) error { return do(b, a) })
			},
		}
	}
	verb := func(name, help string, do func(*job.Job) error) qmp.HumanCommand {
		return command(name, "device:B", "device", help, func(b *Base, _ qmp.HumanArgs) error { return do(b.job) })
	}
	return []qmp.HumanCommand{
		command("block_job_set_speed", "device:B,speed:o", "device speed", "set maximum speed for a background block operation",
			func(b *Base, a qmp.HumanArgs) error { return b.SetSpeed(int64(a.Size("speed", 0))) }),
		command("block_job_cancel", "force:-f,device:B", "[-f] device",
			"stop an active background block operation (use -f if you want to abort the operation immediately instead of keep running until data is in sync)",
			func(b *Base, a qmp.HumanArgs) error { return b.cancel(a.Bool("force")) }),
		verb("block_job_complete", "stop an active background block operation", (*job.Job).Complete),
		verb("block_job_pause", "pause an active background block operation", (*job.Job).UserPause),
		verb("block_job_resume", "resume a paused background block operation", (*job.Job).UserResume),
	}
}

// completeJob completes the ID of a job.
func (m *Manager) completeJob(*qmp.Context, []string) (list []string) {
	for _, i := range m.Infos() {
		list = append(list, i.Device)
	}
	return list
}
