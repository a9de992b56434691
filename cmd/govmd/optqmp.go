package main

import (
	"govmd/internal/chardev"
	"govmd/internal/fd"
	"govmd/internal/machine"
	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/qmp"
)

type paramType string

// EnumValues lists the types of the keys of options.
func (paramType) EnumValues() []string { return []string{"string", "boolean", "number", "size"} }

type paramInfo struct {
	Name    string    `qmp:"name"`
	Type    paramType `qmp:"type"`
	Help    *string   `qmp:"help"`
	Default *string   `qmp:"default"`
}

type optionInfo struct {
	Option     string      `qmp:"option"`
	Parameters []paramInfo `qmp:"parameters"`
}

type optionArgs struct {
	Option *string `qmp:"option"`
}

// optionCommands returns the command about what the command line takes.
func (v *vm) optionCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-command-line-options", func(_ *qmp.Context, a *optionArgs) ([]optionInfo, error) {
			all := optionInfos()
			if a.Option == nil {
				return all, nil
			}
			for _, o := range all {
				if o.Option == *a.Option {
					return []optionInfo{o}, nil
				}
			}
			return nil, qmp.Errorf("invalid option name: %s", *a.Option)
		}, qmp.NoLane, qmp.Preconfig),
	}
}

// optionInfos lists the groups of options that have keys. Those whose keys depend
// on a type or driver (device, object, ...) have none listed, as in QEMU.
func optionInfos() []optionInfo {
	list := []optionInfo{machineInfo()}
	for _, s := range []*option.Schema{
		chardev.Schema, fd.Schema, actionSchema, bootSchema, globalSchema, monSchema, nameSchema, optionROMSchema, rtcSchema, smpSchema, traceSchema,
		memorySchema,
	} {
		o := optionInfo{Option: s.Name, Parameters: []paramInfo{}}
		for _, k := range s.Keys {
			p := paramInfo{Name: k.Name, Type: paramTypes[k.Type]}
			if k.Help != "" {
				p.Help = &k.Help
			}
			if k.Default != "" {
				p.Default = &k.Default
			}
			o.Parameters = append(o.Parameters, p)
		}
		list = append(list, o)
	}
	for _, name := range []string{"accel", "device", "drive", "fw_cfg", "numa", "object", "smbios"} {
		list = append(list, optionInfo{Option: name, Parameters: []paramInfo{}})
	}
	return list
}

var paramTypes = map[option.Type]paramType{
	option.String: "string", option.Bool: "boolean", option.Number: "number", option.Size: "size",
}

// machineInfo lists the properties that any kind of machine has.
func machineInfo() optionInfo {
	o := optionInfo{Option: "machine", Parameters: []paramInfo{}}
	seen := map[string]bool{}
	for _, i := range machine.Boards() {
		b, err := machine.NewBoard(i.Name)
		if err != nil {
			continue
		}
		for _, p := range b.Obj().Properties() {
			if p.Set == nil || seen[p.Name] {
				continue
			}
			seen[p.Name] = true
			info := paramInfo{Name: p.Name, Type: propertyType(p)}
			if p.Description != "" {
				info.Help = &p.Description
			}
			o.Parameters = append(o.Parameters, info)
		}
	}
	return o
}

func propertyType(p object.Property) paramType {
	switch p.Type {
	case "bool":
		return "boolean"
	case "size":
		return "size"
	case "int", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64":
		return "number"
	}
	return "string"
}
