package main

import (
	"errors"
	"fmt"
	"strings"

	"govmd/internal/machine"
	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/qmp/qjson"
)

func applyDevice(s *setup, given, text string) error {
	if strings.HasPrefix(text, "{") {
		return applyDeviceJSON(s, given, text)
	}
	list := option.Parse(text, "driver")
	driver, _ := list.Get("driver")
	switch {
	case option.IsHelp(driver) || driver == "" && list.Help():
		s.help = printDevices
		return nil
	case list.Help():
		s.help = func() error { return printDeviceProperties(driver) }
		return nil
	}
	s.warn(given, list.Warnings()...)
	c := machine.DeviceConfig{Driver: driver, Given: given}
	for _, it := range list {
		switch it.Key {
		case "driver":
		case "id":
			c.ID = it.Value
			if err := option.CheckID("id", c.ID); err != nil {
				return err
			}
		case "bus":
			c.Bus = it.Value
		default:
			c.Props = append(c.Props, machine.PropSetting{Name: it.Key, Text: it.Value})
		}
	}
	return s.addDevice(c)
}

func (s *setup) addDevice(c machine.DeviceConfig) error {
	if c.Driver == "" {
		return errors.New("Parameter 'driver' is missing")
	}
	if err := machine.CheckDevice(c.Driver); err != nil {
		return err
	}
	for _, d := range s.cfg.Devices {
		if c.ID != "" && c.ID == d.ID {
			return fmt.Errorf("Duplicate ID '%s' for device", c.ID)
		}
	}
	s.cfg.Devices = append(s.cfg.Devices, c)
	return nil
}

func applyDeviceJSON(s *setup, given, text string) error {
	kv, err := option.ParseValue(text, "")
	if err != nil {
		return err
	}
	c := machine.DeviceConfig{Given: given}
	for v := kv.Doc.Root().First(); v.Exists(); v = v.Next() {
		name, value := string(v.Key()), scalar(v)
		var field *string
		switch name {
		case "driver":
			field = &c.Driver
		case "id":
			field = &c.ID
		case "bus":
			field = &c.Bus
		default:
			c.Props = append(c.Props, machine.PropSetting{Name: name, Value: value})
			continue
		}
		str, ok := value.(string)
		if !ok {
			return fmt.Errorf("Invalid parameter type for '%s', expected: string", name)
		}
		*field = str
	}
	if c.ID != "" {
		if err := option.CheckID("id", c.ID); err != nil {
			return err
		}
	}
	return s.addDevice(c)
}

// notScalar stands for a JSON list or object, which no property takes.
type notScalar struct{}

// scalar is a JSON value as a property takes it.
func scalar(v qjson.Value) any {
	switch v.Kind() {
	case qjson.String:
		return v.Text()
	case qjson.Bool:
		return v.Bool()
	}
	if n, ok := v.Int(); ok {
		return n
	}
	if n, ok := v.Uint(); ok {
		return n
	}
	if f, ok := v.Float(); ok {
		return f
	}
	return notScalar{}
}

func applyObject(s *setup, given, text string) error {
	kv, err := object.ParseOption(text)
	if err != nil {
		return err
	}
	typeName := kv.Doc.Root().Get("qom-type")
	switch {
	case kv.Help && !typeName.Exists() || typeName.Exists() && option.IsHelp(typeName.Text()):
		s.help = printObjects
		return nil
	case kv.Help:
		name := typeName.Text()
		s.help = func() error { return printObjectProperties(name) }
		return nil
	}
	s.objects = append(s.objects, objectSetup{kv, given})
	return nil
}

var globalSchema = &option.Schema{Name: "global", Keys: []option.Key{{Name: "driver"}, {Name: "property"}, {Name: "value"}}}

func applyGlobal(s *setup, given, text string) error {
	target, value, ok := strings.Cut(text, "=")
	typeName, prop, dotted := strings.Cut(target, ".")
	if ok && dotted && typeName != "" && prop != "" {
		s.cfg.Globals = append(s.cfg.Globals, object.Default{Type: typeName, Prop: prop, Value: value})
		return nil
	}
	o, err := s.parse(globalSchema, given, text)
	if err != nil || o.Help {
		return err
	}
	for _, k := range globalSchema.Keys {
		if !o.Has(k.Name) {
			return errors.New("options 'driver', 'property', and 'value' are required, or TYPE.PROPERTY=VALUE")
		}
	}
	s.cfg.Globals = append(s.cfg.Globals, object.Default{Type: o.Str("driver"), Prop: o.Str("property"), Value: o.Str("value")})
	return nil
}
