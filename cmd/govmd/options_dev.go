package main

import (
	"fmt"
	"strings"

	"govmd/internal/chardev"
	"govmd/internal/machine"
	"govmd/internal/machine/smbios"
	"govmd/internal/option"
	"govmd/internal/qmp/qjson"
)

func smbiosPairs(text string) (pairs []smbios.Pair, err error) {
	for _, it := range option.Parse(text, "") {
		pairs = append(pairs, smbios.Pair{Key: it.Key, Value: it.Value})
	}
	return pairs, nil
}

func applyDevice(s *setup, text string) error {
	if strings.HasPrefix(text, "{") {
		return applyDeviceJSON(s, text)
	}
	list := option.Parse(text, "driver")
	driver, _ := list.Get("driver")
	if option.IsHelp(driver) || driver == "" && list.Help() {
		s.help = printDevices
		return nil
	}
	if list.Help() {
		s.help = func() { printProperties(driver) }
		return nil
	}
	c := machine.DeviceConfig{Driver: driver}
	for _, it := range list {
		switch it.Key {
		case "driver":
		case "id":
			if err := option.CheckID("id", it.Value); err != nil {
				return err
			}
			c.ID = it.Value
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
		return fmt.Errorf("Parameter 'driver' is missing")
	}
	if c.Driver != "loader" {
		if _, err := machine.DeviceType(c.Driver); err != nil {
			return err
		}
	}
	s.cfg.Devices = append(s.cfg.Devices, c)
	return nil
}

func applyDeviceJSON(s *setup, text string) error {
	kv, err := option.ParseValue(text, "")
	if err != nil {
		return err
	}
	var c machine.DeviceConfig
	for v := kv.Doc.Root().First(); v.Exists(); v = v.Next() {
		m := member{string(v.Key()), scalar(v)}
		str, isString := m.value.(string)
		switch m.name {
		case "driver", "id", "bus":
			if !isString {
				return fmt.Errorf("Invalid parameter type for '%s', expected: string", m.name)
			}
		}
		switch m.name {
		case "driver":
			c.Driver = str
		case "id":
			c.ID = str
		case "bus":
			c.Bus = str
		default:
			c.Props = append(c.Props, machine.PropSetting{Name: m.name, Value: m.value})
		}
	}
	return s.addDevice(c)
}

type member struct {
	name  string
	value any
}

// scalar is a JSON value as a property takes it; nil for lists and objects.
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
	return nil
}

func applyObject(s *setup, text string) error {
	kv, err := option.ParseValue(text, "qom-type")
	if err != nil {
		return err
	}
	if kv.Help {
		s.help = printObjects
		return nil
	}
	s.objects = append(s.objects, kv)
	return nil
}

func applyChardev(s *setup, text string) error {
	o, err := chardev.Schema.Parse(text)
	if err != nil {
		return err
	}
	if o.Help {
		s.help = func() { fmt.Print("Available chardev backend types:\n  null\n  file\n  stdio\n  socket\n") }
		return nil
	}
	cfg, err := chardev.FromOptions(o)
	if err != nil {
		return err
	}
	s.chardevs = append(s.chardevs, cfg)
	return nil
}

// short adds a character device that an option describes in its short form, and
// returns its ID.
func (s *setup) short(id, text string) (string, error) {
	if existing, ok := strings.CutPrefix(text, "chardev:"); ok {
		return existing, nil
	}
	cfg, mux, err := chardev.ParseShort(id, text)
	if err != nil {
		return "", err
	}
	cfg.Mux = cfg.Mux || mux
	s.chardevs = append(s.chardevs, cfg)
	return id, nil
}

func applySerial(s *setup, text string) error {
	n := len(s.serials)
	if n == 4 {
		return fmt.Errorf("this machine has no more than 4 serial ports")
	}
	id := ""
	if text != "none" {
		var err error
		if id, err = s.short(fmt.Sprintf("serial%d", n), text); err != nil {
			return err
		}
	}
	s.serials = append(s.serials, id)
	return nil
}

func applyDebugCon(s *setup, text string) (err error) {
	s.debugCon, err = s.short("debugcon", text)
	return err
}

func applyQMP(s *setup, text string, pretty bool) error {
	if text == "none" {
		return nil
	}
	id, err := s.short(fmt.Sprintf("compat_monitor%d", len(s.monitors)), text)
	if err != nil {
		return err
	}
	s.monitors = append(s.monitors, monitorConfig{id, pretty})
	return nil
}

var monSchema = &option.Schema{Name: "mon", Implied: "chardev", Keys: []option.Key{
	{Name: "chardev"}, {Name: "mode"}, {Name: "pretty", Type: option.Bool},
}}

func applyMon(s *setup, text string) error {
	o, err := monSchema.Parse(text)
	if err != nil {
		return err
	}
	switch o.Str("mode") {
	case "control":
	case "", "readline":
		return fmt.Errorf("mode 'readline' is not supported yet: mode=control is")
	default:
		return fmt.Errorf("unknown monitor mode \"%s\"", o.Str("mode"))
	}
	if o.Str("chardev") == "" {
		return fmt.Errorf("Parameter 'chardev' is missing")
	}
	s.monitors = append(s.monitors, monitorConfig{o.Str("chardev"), o.Bool("pretty", false)})
	return nil
}
