package main

import (
	"slices"

	"govmd/internal/iothread"
	"govmd/internal/memory/hostmem"
	"govmd/internal/monitor/human"
	"govmd/internal/qmp"
)

// makeHuman puts the human monitor's commands together. A subsystem that has some
// adds what its HumanCommands and InfoCommands return to the lists here.
func (v *vm) makeHuman() {
	commands := &qmp.HumanRegistry{}
	v.human = human.New(human.Config{
		Commands: commands, Registry: v.registry, Lane: v.lane,
		CPUs: v.machine.CPUs, Register: v.machine.Register,
		Version: "7.2.0 (govmd-" + version + ")", NextID: v.monitor.NextID,
		SessionBegins: v.fds.SessionBegins, SessionEnds: v.fds.SessionEnds,
	})
	v.registry.Add(v.human.Commands()...)
	commands.Add(slices.Concat(
		v.machine.Run.HumanCommands(),
		v.machine.HumanCommands(),
		v.chardevs.HumanCommands(),
		v.fds.HumanCommands(),
		v.traceControl().HumanCommands(),
		v.objects.HumanCommands(v.machine.Root),
		v.net.HumanCommands(),
		v.logCommands(),
	)...)
	if v.control != nil {
		commands.Add(v.control.HumanCommands()...)
		commands.Add(v.jobHumanCommands()...)
		commands.Add(v.nbd.HumanCommands()...)
		v.human.AddInfo(v.control.InfoCommands()...)
		v.human.AddInfo(v.blockJobs.InfoCommands()...)
	}
	v.human.AddInfo(slices.Concat( // second words of `info`
		v.machine.Run.InfoCommands(),
		v.machine.InfoCommands(),
		v.chardevs.InfoCommands(),
		v.net.InfoCommands(),
		v.traceControl().InfoCommands(),
		v.objects.InfoCommands(v.machine.Root),
		iothread.InfoCommands(&v.objects),
		hostmem.InfoCommands(&v.objects),
	)...)
}

// isShared reports whether a character device is a multiplexer.
func (v *vm) isShared(id string) bool {
	return slices.ContainsFunc(v.setup.chardevs, func(c chardevSetup) bool { return c.ID == id && c.Mux })
}
