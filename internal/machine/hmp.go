package machine

import (
	"context"
	"io"
	"slices"

	"govmd/internal/device"
	"govmd/internal/machine/accel"
	"govmd/internal/memory"
	"govmd/internal/qmp"
)

// HumanCommands returns the human monitor's commands about vCPUs, guest memory and
// ports.
func (m *Machine) HumanCommands() []qmp.HumanCommand {
	return append(slices.Concat(m.memoryHumanCommands(), m.Env.Input.HumanCommands(), m.bootHumanCommands(), absentHumanCommands()),
		qmp.HumanCommand{
			Name: "nmi", Help: "inject an NMI", NoLane: true,
			Run: func(ctx *qmp.Context, _ qmp.HumanArgs, _ io.Writer) error {
				return m.await(ctx, m.injectNMI)
			},
		},
		qmp.HumanCommand{
			Name: "memsave", Args: "val:l,size:i,filename:s", Params: "addr size file", NoLane: true,
			Help: "save to disk virtual memory dump starting at 'addr' of size 'size'",
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				cpu := int64(ctx.CPU())
				args := &memsaveArgs{Val: a.Int("val", 0), Size: a.Int("size", 0), Filename: a.Str("filename"), CPUIndex: &cpu}
				return m.await(ctx, func(done func(error)) { m.memsave(ctx, args, done) })
			},
		},
		qmp.HumanCommand{
			Name: "pmemsave", Args: "val:l,size:i,filename:s", Params: "addr size file", NoLane: true,
			Help: "save to disk physical memory dump starting at 'addr' of size 'size'",
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				args := &pmemsaveArgs{Val: a.Int("val", 0), Size: a.Int("size", 0), Filename: a.Str("filename")}
				return m.await(ctx, func(done func(error)) { m.pmemsave(args, done) })
			},
		},
	)
}

// InfoCommands returns the second words of `info` about the machine.
func (m *Machine) InfoCommands() []qmp.HumanCommand {
	var slot func(memory.Section) bool
	if a, ok := m.Accel.(*accel.KVM); ok {
		slot = a.MapsSection
	}
	return slices.Concat(m.memoryInfoCommands(), m.cpuInfoCommands(), m.boardInfoCommands(), m.pagingInfoCommands(), m.Env.Input.InfoCommands(),
		m.Env.Memory.InfoCommands(slot), m.Env.InfoCommands(func() []*device.Bus { return m.buses }))
}

// await starts on the lane what a command of the protocol does too, for a human one
// that has no lane, and waits for its end.
func (m *Machine) await(ctx *qmp.Context, start func(done func(error))) error {
	done := make(chan error, 1)
	if err := m.Lane.Do(context.Background(), func() { start(func(err error) { done <- err }) }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
