package machine

import (
	"context"
	"io"
	"slices"

	"govmd/internal/device"
	"govmd/internal/machine/accel"
	"govmd/internal/memory"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// HumanCommands returns the human monitor's commands about vCPUs, guest memory and
// ports.
func (m *Machine) HumanCommands() []qmp.HumanCommand {
	return append(m.memoryHumanCommands(),
		qmp.HumanCommand{
			Name: "nmi", Help: "inject an NMI", NoLane: true,
			Run: func(ctx *qmp.Context, _ qmp.HumanArgs, _ io.Writer) error {
				return m.viaQMP(ctx, "inject-nmi", func(*qjson.Builder) {})
			},
		},
		qmp.HumanCommand{
			Name: "memsave", Args: "val:l,size:i,filename:s", Params: "addr size file", NoLane: true,
			Help: "save to disk virtual memory dump starting at 'addr' of size 'size'",
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				return m.viaQMP(ctx, "memsave", func(b *qjson.Builder) {
					saveArguments(b, a)
					b.Key([]byte("cpu-index"))
					b.Int(int64(ctx.CPU()))
				})
			},
		},
		qmp.HumanCommand{
			Name: "pmemsave", Args: "val:l,size:i,filename:s", Params: "addr size file", NoLane: true,
			Help: "save to disk physical memory dump starting at 'addr' of size 'size'",
			Run: func(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				return m.viaQMP(ctx, "pmemsave", func(b *qjson.Builder) { saveArguments(b, a) })
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
	return slices.Concat(m.memoryInfoCommands(), m.cpuInfoCommands(), m.boardInfoCommands(),
		m.Env.Memory.InfoCommands(slot), m.Env.InfoCommands(func() []*device.Bus { return m.buses }))
}

func saveArguments(b *qjson.Builder, a qmp.HumanArgs) {
	b.Key([]byte("val"))
	b.Int(a.Int("val", 0))
	b.Key([]byte("size"))
	b.Int(a.Int("size", 0))
	b.Key([]byte("filename"))
	b.String([]byte(a.Str("filename")))
}

// viaQMP carries out a command of the protocol for a human one that has no lane, and
// waits for its end.
func (m *Machine) viaQMP(ctx *qmp.Context, name string, members func(*qjson.Builder)) error {
	c := ctx.Registry.LookupBytes([]byte(name))
	if c == nil {
		return qmp.CommandNotFound(name)
	}
	var b qjson.Builder
	b.Begin(qjson.Object)
	members(&b)
	b.End()
	doc := b.Finish()
	done := make(chan error, 1)
	if err := m.Lane.Do(context.Background(), func() {
		if !c.Async() {
			_, err := c.Call(ctx, doc.Root(), qmp.JSON, nil)
			done <- err
			return
		}
		c.Start(ctx, doc.Root(), qmp.JSON, func(_ []byte, err error) { done <- err })
	}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
