package main

import (
	"context"
	"time"

	"govmd/internal/block/control"
	"govmd/internal/block/export"
	"govmd/internal/chardev"
	"govmd/internal/job"
	"govmd/internal/machine"
	"govmd/internal/machine/qtest"
	"govmd/internal/monitor"
	"govmd/internal/net"
	"govmd/internal/qmp"
	"govmd/internal/runstate"
)

// flushTime is how long the end waits for clients to read what they are sent.
const flushTime = time.Second

// serveMonitors puts the commands together and attaches the monitors.
func (v *vm) serveMonitors(context.Context) error {
	v.registry = qmp.NewRegistry()
	v.monitor = monitor.New(monitor.Config{
		Registry: v.registry, Lane: v.lane, Bus: &v.bus, Package: "govmd-" + version,
		SessionBegins: v.fds.SessionBegins, SessionEnds: v.sessionEnds,
	})
	v.registry.Add(v.monitor.Commands()...)
	v.registry.Add(v.machine.Commands()...)
	v.registry.Add(v.net.Commands()...)
	v.fds.SetRunning(v.machine.Run.Running)
	v.registry.Add(v.fds.Commands()...)
	v.registry.Add(v.chardevs.Commands()...)
	v.registry.Add(v.machine.Run.Commands()...)
	v.registry.Add(v.objectCommands()...)
	v.registry.Add(v.traceControl().Commands()...)
	v.registry.Add(v.yanks.Commands()...)
	v.registry.Add(v.optionCommands()...)
	if v.control != nil {
		v.registry.Add(v.control.Commands()...)
		v.registry.Add(v.jobCommands()...)
		v.registry.Add(v.exports.Commands()...)
		v.registry.Add(v.nbd.Commands()...)
	}
	v.registry.AddEvents(control.Events()...)
	v.registry.AddEvents(job.Events()...)
	v.registry.AddEvents(export.Events()...)
	v.registry.AddEvents(runstate.Events()...)
	v.registry.AddEvents(machine.Events()...)
	v.registry.AddEvents(net.Events()...)
	v.makeHuman()
	for _, m := range v.setup.monitors {
		fe := v.monitor.Frontend(monitor.Options{Pretty: m.pretty})
		if m.human {
			fe = v.human.Frontend(v.isShared(m.chardev))
		}
		if _, err := v.chardevs.Attach(m.chardev, fe); err != nil {
			return &usageError{m.given, err}
		}
	}
	return nil
}

// sessionEnds lets go of what is a monitor session's.
func (v *vm) sessionEnds(session uint64) {
	v.fds.SessionEnds(session)
	v.machine.SessionEnds(session)
}

func (v *vm) closeMonitors() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	v.human.Close(ctx) // before its commands over QMP, which waits for them
	v.monitor.Close(ctx)
}

// serveQtest attaches the qtest server to the socket that -qtest names.
func (v *vm) serveQtest(ctx context.Context) error {
	text := v.setup.qtest
	if text == "" {
		return nil
	}
	given := "-qtest " + text
	const id = "qtest"
	cfg, _, err := chardev.ParseShort(id, text)
	if err == nil {
		_, err = v.chardevs.Add(ctx, cfg)
	}
	if err == nil {
		_, err = v.chardevs.Attach(id, qtest.Frontend(qtest.New(v.machine.QtestTarget())))
	}
	if err != nil {
		return &usageError{given, err}
	}
	return nil
}
