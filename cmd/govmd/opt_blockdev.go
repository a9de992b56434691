package main

import (
	"fmt"

	"govmd/internal/block"
	"govmd/internal/block/control"
	_ "govmd/internal/block/drivers" // formats and protocols
	"govmd/internal/machine"
	"govmd/internal/option"
	"govmd/internal/qmp"
)

// blockdevSetup is one -blockdev.
type blockdevSetup struct {
	options *qmp.Object
	mode    qmp.Mode
	given   string
}

func applyBlockdev(s *setup, given, text string) error {
	kv, err := option.ParseValue(text, "driver")
	if err != nil {
		return err
	}
	o, ok := qmp.ToAny(kv.Doc.Root()).(*qmp.Object)
	if !ok {
		return fmt.Errorf("Invalid parameter type, expected: object")
	}
	mode := qmp.Keyval
	if kv.JSON {
		mode = qmp.JSON
	}
	s.blockdevs = append(s.blockdevs, blockdevSetup{o, mode, given})
	return nil
}

// openDrives opens what -blockdev and -drive name, before devices look for it, and
// returns the devices that -drive brings along.
func (v *vm) openDrives(g *block.Graph) ([]machine.DeviceConfig, error) {
	v.control = control.New(control.Config{Graph: g, Lane: v.lane, Jobs: v.makeJobs(g), Virtual: v.virtualTime})
	v.makeExports(g)
	ctx := v.starting
	for _, b := range v.setup.blockdevs {
		o, err := block.DecodeOptions(b.options, b.mode)
		if err == nil {
			err = v.control.Add(ctx, o)
		}
		if err != nil {
			return nil, &usageError{b.given, err}
		}
	}
	return v.openLegacyDrives(ctx, g)
}

// virtualTime is the machine's, for snapshots.
func (v *vm) virtualTime() int64 { return v.machine.Env.Clock.Virtual.Now() }
